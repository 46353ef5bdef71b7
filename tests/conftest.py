"""What the tests share: no network, a toy Stable Diffusion with random weights, and the bundled tiny one."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client is imported: it reads this once
os.environ.pop("SDLESSON_MODEL", None)

import pytest
from toy import SCHEDULE, make_pipeline, write_toy


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fail the test that opens a connection to anywhere but this machine."""
    tried, connect = [], socket.socket.connect

    def guarded(self, address):
        local = self.family == socket.AF_UNIX or (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1"))
        if not local:
            tried.append(address)
            raise OSError(f"tests must not reach the network: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
    assert not tried, f"the test tried to reach {tried}"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """What is converted for OpenVINO goes where these tests' other files go; all workers share it."""
    base = tmp_path_factory.getbasetemp()
    os.environ["SDLESSON_CACHE"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    """A folder with the toy model; tests that change files copy it first."""
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_half(tmp_path_factory):
    """A folder with the toy model, its weights stored in float16."""
    folder = write_toy(tmp_path_factory.mktemp("half"))
    from safetensors.torch import load_file, save_file

    for file in folder.rglob("*.safetensors"):
        save_file({name: values.half() for name, values in load_file(file).items()}, file, {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def toy(toy_folder):
    """The toy model, loaded."""
    import sdlesson

    return sdlesson.load(toy_folder, device="cpu")


@pytest.fixture(scope="session")
def tiny():
    """The bundled tiny model, loaded; a test that needs it fails where it is missing."""
    import sdlesson

    return sdlesson.load("tiny", device="cpu")


@pytest.fixture(scope="session")
def chrome():
    """A headless Chromium, one for all: Playwright starts only once in a process."""
    pytest.importorskip("playwright", reason="Playwright is not installed: pip install playwright")
    from browser import lab

    if not lab.chromium():
        pytest.skip("No Chromium is installed: the browser tests need Debian's package chromium, or Chrome.")
    with lab.browser() as running:
        yield running


@pytest.fixture(scope="session")
def stand_in():
    """The script bench/stand_in.py, as a module."""
    file = Path(__file__).resolve().parent.parent / "bench" / "stand_in.py"
    spec = importlib.util.spec_from_file_location("stand_in", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def cousins(stand_in, tmp_path_factory):
    """A function (model, dtype, divide) -> folder: the model's configuration, its widths divided, 64 x 64 pictures."""
    place = tmp_path_factory.mktemp("cousins")

    def made(model, dtype="float32", divide=16):
        folder = place / f"{model}-{dtype}-{divide}"
        return folder if folder.exists() else stand_in.write_stand_in(folder, model, dtype, divide=divide, size=64)

    return made


@pytest.fixture(scope="session")
def one_pipeline(toy_folder):
    return make_pipeline(toy_folder)


@pytest.fixture
def pipeline(one_pipeline):
    """The peer: StableDiffusionPipeline on the toy's files, with a fresh K-LMS for each test."""
    from diffusers import LMSDiscreteScheduler

    one_pipeline.scheduler = LMSDiscreteScheduler(**SCHEDULE)
    return one_pipeline


@pytest.fixture(autouse=True)
def one_thread_for_the_toy(request):
    """The toy's tensors are too small to share: on a busy machine two threads wait for each other most of the time."""
    if not {"toy", "toy_folder"} & set(request.fixturenames):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """What `check` prints, as a function (name, answer, **facts) -> text; no tries were made, no progress is kept."""
    from sdlesson import exercises

    monkeypatch.chdir(tmp_path)
    exercises._tries.clear()

    def run(*args, **facts) -> str:
        exercises.check(*args, **facts)
        return capsys.readouterr().out

    return run
