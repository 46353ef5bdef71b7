"""What ships: a wheel is built from the checkout, and paints outside of it, trained model and all."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sdlesson

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what a wheel of this checkout installs, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed, *arguments):
    """A Python that finds the wheel's package first, in a folder beside the checkout."""
    given = os.environ | {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    given.pop("SDLESSON_MODEL", None)
    call = [sys.executable, *arguments]
    return subprocess.run(call, cwd=installed.parent, env=given, check=True, capture_output=True, text=True).stdout


def test_a_wheel_holds_the_whole_package(installed):
    kept = subprocess.run(["git", "ls-files", "sdlesson"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert [name for name in kept if not (installed / name).is_file()] == []
    assert (installed / "sdlesson" / "py.typed").is_file() and (installed / "sdlesson" / "__init__.pyi").is_file()


def test_a_wheel_paints_the_checkouts_picture(installed):
    where = run(installed, "-c", "import sdlesson; print(sdlesson.__file__, sdlesson.checkpoint_path())")
    assert all(Path(each).is_relative_to(installed) for each in where.split())
    prompt = "a cartoon of a penguin riding a turtle"
    run(installed, "-m", "sdlesson", "paint", prompt, "--steps", "2", "-o", "out.png")
    (ours,) = sdlesson.paint(prompt, num_inference_steps=2)
    painted = np.asarray(Image.open(installed.parent / "out.png"), dtype=int)
    assert np.abs(painted - np.asarray(ours, dtype=int)).max() <= 1  # another number of threads may round otherwise
