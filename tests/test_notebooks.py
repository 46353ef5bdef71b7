"""The lessons are true of any model and need no network. (That they give what they show is nbval's to compare.)"""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))

NO_NETWORK = """
import socket as _socket

def _forbid(real):
    def guarded(self, address, *rest):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a lesson reaches for the network: {address}")
        return real(self, address, *rest)
    return guarded

_socket.socket.connect = _forbid(_socket.socket.connect)
_socket.socket.connect_ex = _forbid(_socket.socket.connect_ex)
def _no_lookup(host, *rest, **named):
    raise AssertionError(f"a lesson looks up {host}")
_socket.getaddrinfo = _no_lookup
"""


def run(path: Path, folder: Path, model: Path):
    """Run the notebook at `path` in `folder` with another model, its network forbidden; returns it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(NO_NETWORK))
    environment = dict(os.environ, SDLESSON_MODEL=str(model))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_a_lesson_runs_on_a_model_of_other_sizes_and_without_network(path, tmp_path, toy_folder):
    done = run(path, tmp_path, toy_folder)
    text = "".join(o.get("text", "") for cell in done.cells if cell.cell_type == "code" for o in cell.outputs)
    assert str(toy_folder) in text  # it was that model and not the bundled one
    if path.name.startswith("00"):
        assert (tmp_path / "out.png").is_file()
