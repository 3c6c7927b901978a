"""docs/python.md as an executed notebook, docs/python.ipynb: the page's text and code, and what the code prints.

python scripts/notebook.py
"""

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs/python.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
SETUP = """\
import tempfile
from pathlib import Path

import models_under_pressure as mup

place = Path(tempfile.mkdtemp())
folder, new_folder, new_file = place / "probe", place / "new", place / "new.jsonl"
known = ["He has chest pain.", "The house is on fire.", "Sing a song.", "Bake a cake."]
activations = mup.extract(known, "smollm2-135m", layer=11)
validation = activations, [True, True, False, False]
mup.save_probe(mup.fit(*validation, validation=validation, family="mean"), folder)
"""
"""The page's reader has a probe and names for new files; here they are made."""


def cells(page: str) -> list[tuple[str, str]]:
    """Kind (markdown or code) and source of each cell; the first is SETUP."""
    parts = re.split(r"```python\n(.*?)```\n?", page, flags=re.DOTALL)
    kinds = [("code" if number % 2 else "markdown", part.strip()) for number, part in enumerate(parts)]
    return [("code", SETUP.strip()), *((kind, source) for kind, source in kinds if source)]


def notebook(page: str) -> Any:
    """The page's cells, not executed."""
    from nbformat import v4

    made = v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for number, (kind, source) in enumerate(cells(page)):
        cell = v4.new_code_cell(source) if kind == "code" else v4.new_markdown_cell(source)
        cell["id"] = f"cell-{number}"  # random by default: the same page would give other bytes
        made["cells"].append(cell)
    return made


def executed(page: str) -> Any:
    """The cells with what they print; an error in one ends the run."""
    from nbclient import NotebookClient

    made = notebook(page)
    NotebookClient(made, timeout=600, record_timing=False).execute()
    for cell in made["cells"]:
        if cell["cell_type"] == "code":  # progress and warnings go to stderr, and name this machine
            cell["outputs"] = [one for one in cell["outputs"] if one.get("name") != "stderr"]
    made["metadata"] = {"kernelspec": made["metadata"]["kernelspec"]}
    return made


def main() -> None:
    """Write the notebook."""
    import nbformat

    nbformat.write(executed(PAGE.read_text("utf-8")), NOTEBOOK)


if __name__ == "__main__":
    main()
