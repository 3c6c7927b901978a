"""A process that says its number and asks N questions, for tests that kill it: `asking.py CONFIG.json N FILE`."""

import os
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Ask
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.store import ReplyStore


class Stakes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    explanation: str
    stakes: int = Field(ge=1, le=10)


def main(config: str, count: str, record_file: str) -> None:
    asks = [Ask(str(i), (Message("user", f"row {i}"),), Stakes) for i in range(int(count))]
    store = ReplyStore(record_file=Path(record_file))
    ask_all(asks, config=LLMConfig.model_validate_json(Path(config).read_text()), store=store, what="asking")
    store.write_record_file()


if __name__ == "__main__":
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
