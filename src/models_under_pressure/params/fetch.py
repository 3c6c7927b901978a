"""Section `fetch` of params.yaml."""

from pydantic import BaseModel, ConfigDict


class FetchParams(BaseModel):
    """Where the sources come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """`demo` (the corpus in data/demo), `hub` (download), or the path of a folder that holds one folder per source."""
