"""The lessons are true of any model and need no network. (That they give what they show is nbval's to compare.)

Every lesson runs on the toy, whose sizes are all other than the tiny model's. All but two also run on two cousins of
the real size: the configurations of v1.4 and v2.1-base, with fewer channels and random weights. And every lesson runs
on v1.4's cousin in 16 bits: loaded as a big model is (see engine/lean.py) in the two dtypes that a CPU computes such a
model in, float32 and bfloat16 (torch is made to report units for it, whatever the machine has), and in float16, which
the lesson asks for (a smaller cousin: CPUs are slow in it). So do the solutions in 16 bits. One kernel runs them all,
emptied in between, so that the libraries are imported once. (nbval runs every lesson in a kernel of its own.)

`make test` runs the lessons of DAILY alone; all the others are marked `full`, and `make test-all` runs them, too.
"""

import os
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

from sdlesson import models
from sdlesson.engine import lean

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LOADING = [path for path in sorted(NOTEBOOKS.rglob("*.ipynb")) if "sdlesson.load()" in path.read_text(encoding="utf-8")]
LESSONS = [path for path in LOADING if path.parent == NOTEBOOKS]  # all but the page before them, which needs no model
SOLUTIONS = [path for path in LOADING if path.parent.name == "solutions"]
NARROW = {"training", "full_size"}  # of the other lessons, each also runs on the cousins
COUSINS = ["v1.4", "v2.1-base"]
DTYPES = ["big float32", "big bfloat16", "float16"]
RUNS = [
    (path, model)
    for path in LESSONS
    for model in ["toy", *DTYPES, *(COUSINS if not NARROW & {path.stem.partition("_")[2]} else [])]
]
RUNS += [(path, model) for path in SOLUTIONS for model in DTYPES[1:]]
#: Lesson -> what it runs on each time. 00 calls each network by hand, 11 asks for gradients.
DAILY = {"00_one_page": ["big bfloat16"], "03_latents": ["toy"], "11_training": ["toy", "big bfloat16"]}


def marked(path: Path, model: str):
    """One run as a parameter; it is `full` unless it is daily."""
    marks = [] if model in DAILY.get(path.stem, []) else [pytest.mark.full, pytest.mark.timeout(1200)]
    return pytest.param(path, model, marks=marks, id=f"{path.name}-{model}")


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

#: What makes a kernel as good as new for a lesson; of the lesson before it keeps what that imported.
AFRESH = """
%reset -f
import os as _os, torch as _torch
_os.chdir({folder!r})
_os.environ["SDLESSON_MODEL"] = {model!r}
_torch.set_grad_enabled(True)  # the lesson on embeddings switches it off for its page
_torch.cpu._is_amx_tile_supported = _torch.cpu._is_avx512_bf16_supported = lambda: {units}  # for bfloat16
import sdlesson.models as _models, sdlesson.engine.lean as _lean
_models._BIG, _lean._SMALL = {limits}
"""

COMPUTED_IN = "print(sd.dtype, sd.unet.dtype, sd.vae.dtype)"  # the last words of a lesson's output


def run(kernel, path: Path, folder: Path, model: Path, dtype: str, big: bool):
    """Run the notebook at `path` in `folder` with another model in `dtype`, perhaps a big one; returns it."""
    notebook = nbformat.read(path, as_version=4)
    if dtype == "float16":  # nothing chooses it by itself on a CPU
        for cell in notebook.cells:
            cell.source = cell.source.replace("sdlesson.load()", 'sdlesson.load(dtype="float16")')
    limits = (20 * 2**20, 2400) if big else (models._BIG, lean._SMALL)  # the tiny model's UNet has 11 MiB
    afresh = AFRESH.format(folder=str(folder), model=str(model), limits=limits, units=dtype == "bfloat16")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(afresh))
    notebook.cells.append(nbformat.v4.new_code_cell(COMPUTED_IN))
    execute(kernel, notebook)
    return notebook


def execute(kernel, notebook, **options):
    """Execute the cells in `kernel`, which is started with `options` if it does not run, and goes on running."""
    client = NotebookClient(notebook, km=kernel, timeout=300)
    try:
        client.execute(**options)
    finally:
        client.kc.stop_channels()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel for many lessons, without network; one thread, as these models' tensors are too small to share.

    A big model's load takes all the threads that there were: two, without which OpenVINO cannot compute in bfloat16.
    """
    manager = AsyncKernelManager(kernel_name="python3")
    first = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NO_NETWORK)])
    options = {"cwd": str(tmp_path_factory.mktemp("kernel")), "env": dict(os.environ, OMP_NUM_THREADS="2")}
    try:
        execute(manager, first, **options)
        yield manager
    finally:
        run_sync(manager.shutdown_kernel)(now=True)


@pytest.fixture(scope="session")
def folders(toy_folder, cousins):
    """A function "toy", "big ...", "float16", "v1.4" or "v2.1-base" -> folder."""

    def folder(name):
        if name in COUSINS:
            return cousins(name)
        return toy_folder if name == "toy" else cousins("v1.4", "float16", divide=8 if name.startswith("big") else 16)

    return folder


@pytest.mark.parametrize("path, model", [marked(*each) for each in RUNS])
def test_a_lesson_runs_on_a_model_of_other_sizes_and_without_network(path, model, folders, kernel, tmp_path):
    folder = folders(model)
    dtype = model.removeprefix("big ") if model in DTYPES else "float32"
    done = run(kernel, path, tmp_path, folder, dtype, big=model.startswith("big"))
    text = "".join(o.get("text", "") for cell in done.cells if cell.cell_type == "code" for o in cell.outputs)
    assert text.splitlines()[-1].split() == [f"torch.{dtype}"] * 3
    if path in SOLUTIONS:
        return
    assert str(folder) in text  # it was that model and not the bundled one
    if path.name.startswith("00"):
        assert (tmp_path / "out.png").is_file()


def test_two_lessons_run_in_a_forced_dtype_each_time_and_all_of_them_in_every_dtype_now_and_then():
    assert sum("big bfloat16" in models for models in DAILY.values()) == 2
    assert all((path, model) in RUNS for path in LESSONS for model in DTYPES)
    assert {(NOTEBOOKS / f"{lesson}.ipynb", model) for lesson in DAILY for model in DAILY[lesson]} <= set(RUNS)
