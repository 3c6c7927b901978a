"""Prompts are text files in the rooms that ask."""

from importlib.resources import files


def load_prompt(package: str, name: str) -> str:
    """Text of `prompts/<name>.txt` in a package.

    Raises:
        FileNotFoundError: the package has no such prompt.
    """
    return files(package).joinpath(f"prompts/{name}.txt").read_text("utf-8")
