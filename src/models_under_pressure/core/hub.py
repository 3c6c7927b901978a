"""What the Hugging Face Hub answers, as one line with the remedy."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from models_under_pressure.core.errors import UserError, disk_error

Kind = Literal["model", "dataset", "probe"]


@contextmanager
def hub_errors(kind: Kind, name: str, revision: str | None = None) -> Generator[None]:
    """Turn the hub's refusals into one line.

    Args:
        kind: what is asked for.
        name: `owner/name` of its repository.
        revision: the commit, tag or branch that is asked for; None is the main branch.

    Raises:
        UserError: the repository or revision does not exist, is private or gated, or the hub cannot be asked.
    """
    from httpx2 import TransportError
    from huggingface_hub import get_token
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    has_token = get_token() is not None
    try:
        yield
    except GatedRepoError:
        problem = f"the {kind} is gated, and HF_TOKEN " + ("has no access" if has_token else "is not set")
        page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
        remedy = f"accept the licence at {page} and set HF_TOKEN in .env"
    except RevisionNotFoundError:
        problem, remedy = f"there is no revision {revision}", "use a commit, tag or branch of the repository"
    except (RepositoryNotFoundError, HFValidationError, LocalTokenNotFoundError):
        problem = f"there is no such {kind}" + ("" if has_token else ", or it is private and HF_TOKEN is not set")
        remedy = "correct the name" + ("" if has_token else ", or set HF_TOKEN in .env")
    except HfHubHTTPError as error:
        problem, remedy = f"the hub cannot be asked (status {error.response.status_code})", "try again later"
        if error.response.status_code in (401, 403):
            problem, remedy = "HF_TOKEN has no right to do this", "set one in .env that may write there"
    except (OSError, TransportError) as error:  # OfflineModeIsEnabled and LocalEntryNotFoundError among them
        if isinstance(error, OSError) and disk_error(error) is not None:
            raise
        problem = f"the hub cannot be asked ({type(error).__name__}), and there is no copy in the cache"
        remedy = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE"
    else:
        return
    where = f"hf://{name}" + (f"@{revision}" if revision else "")
    raise UserError(f"{problem}.", where=where, remedy=f"{remedy}.")
