"""Run notebooks from top to bottom, each in a fresh kernel, and store their outputs: `make lessons`.

    python tools/run_lessons.py [NOTEBOOK ...]      without a name: every notebook under notebooks/

The same notebook gives the same file again: progress bars and all that differs from run to run are left out.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from sdlesson.loading.writing import write_whole

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
_WIDGET = "application/vnd.jupyter.widget-view+json"  # a random id, of no use without the kernel
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def lessons() -> list[Path]:
    """Every notebook of the project, solutions included, in order."""
    return sorted(path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def run(path: Path) -> None:
    """Execute the notebook at `path` in place; raises CellExecutionError and leaves the file alone if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder, coalesce_streams=True).execute()
    write_whole(path, f"{nbformat.writes(tidy(notebook))}\n")


def tidy(notebook):
    """The notebook without what differs from run to run: stderr (progress bars), versions, the state of widgets."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                output.get("data", {}).pop(_WIDGET, None)  # its words stay
    return notebook


def main(names: list[str]) -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # no threads that spin on a busy machine
    os.environ.pop("SDLESSON_MODEL", None)  # what is stored was made by the bundled model
    for path in map(Path, names) if names else lessons():
        start = time.perf_counter()
        run(path)
        print(f"{path.name}: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
