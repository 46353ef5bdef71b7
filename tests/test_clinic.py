"""The clinic: every fault is found by what is seen of it, every repair is taken, and nearly all faults are silent."""

import functools
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from sdlesson.exercises import clinic

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PATIENTS = list(clinic.CASES)
LOUD = {"clinic.3": "RuntimeError", "clinic.11": "IndexError"}
CURES = r"clamp|init_noise_sigma|timesteps\b|generator|chunk|repeat|scaling|max_length|swap|invert|float32|from_config"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These tensors are too small to share; and no gradients, as in the notebook."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ward(tiny):
    """The names that the notebook's first cell defines, on the tiny model, which is loaded once."""
    source = code("clinic.ipynb")[0].source.partition("\nrun = ")[0]
    names = {"given": tiny}
    with torch.no_grad():
        exec(source.replace("sdlesson.load()", "given"), names)
        torch.set_grad_enabled(False)  # the page switches gradients off; here they come back when its tests are over
        yield names


@pytest.fixture(scope="module", autouse=True)
def once(ward):
    """Sound pictures are painted once for each kind of case."""
    patch = pytest.MonkeyPatch()
    for name, case in clinic.CASES.items():
        patch.setitem(clinic.CASES, name, case._replace(paints=painted_once(case.paints)))
    patch.setattr(clinic, "_plain", painted_once(clinic._plain))
    yield
    patch.undo()


@functools.cache
def painted_once(paints):
    kept = {}

    def painted(sd, *run, **options):  # prompt, seed, steps, and the drawing, which is always the same
        key = (*run[:3], *options.items())
        if key not in kept:
            kept[key] = paints(sd, *run, **options)
        return kept[key]

    return painted


def code(name: str):
    return [cell for cell in nbformat.read(NOTEBOOKS / name, as_version=4).cells if cell.cell_type == "code"]


def source(name: str, patient: str) -> str:
    (cell,) = [cell.source for cell in code(name) if f'check("{patient}"' in cell.source]
    return cell.partition("\n\n\n")[0]


def function(ward, text: str):
    names = dict(ward)
    exec(text, names)
    return names.get("script") or names["program"]


def judged(ward, patient: str, script, runs=clinic.RUNS[1:]):
    """The judge's word on one run; the solutions' notebook, whose output is compared, goes through both."""
    return clinic._examine(clinic.CASES[patient], script, ward["sd"], ward["drawing"], runs)


@pytest.mark.parametrize("patient", PATIENTS)
def test_each_fault_is_seen_and_its_repair_is_taken(ward, patient):
    ill = source("clinic.ipynb", patient)
    assert len(ill.splitlines()) <= 25
    mistake = judged(ward, patient, function(ward, ill), clinic.RUNS[:1])
    assert mistake and not re.search(CURES, mistake.hint)  # what is seen, not what to do
    assert mistake.wrong.startswith(mistake.hint) and mistake.wrong != mistake.hint
    assert mistake.hint.startswith(f"It stops with {LOUD.get(patient)}") == (patient in LOUD)  # else it is silent
    mended = source("solutions/clinic_solutions.ipynb", patient)
    assert mended != ill and judged(ward, patient, function(ward, mended)) is None


def test_nearly_all_are_silent():
    assert len(PATIENTS) == 20 and len(LOUD) <= 5


@pytest.mark.parametrize(
    ("patient", "old", "new"),
    [
        ("clinic.1", "decode(x.to", "decode((x.double() / sd.vae.config.scaling_factor).to"),
        ("clinic.3", "scale_model_input(x, t)", "scale_model_input(x.repeat(2, 1, 1, 1), t)"),
        ("clinic.6", "uncond, text = unet", "text, uncond = unet"),
        ("clinic.8", ".half()", ".bfloat16()"),
        ("clinic.10", ".round().long()", ".round().clamp(0, 255)"),
        ("clinic.15", "text + scale *", "text + (scale - 1) *"),
        ("clinic.18", "(sigma**2 + 1) ** 0.5", "1"),
    ],
)
def test_other_repairs_are_taken_too(ward, patient, old, new):
    ill = source("clinic.ipynb", patient)
    assert old in ill
    assert judged(ward, patient, function(ward, ill.replace(old, new))) is None


def test_a_picture_may_come_as_several_things():
    picture = Image.new("RGB", (8, 8), "red")
    pixels = np.asarray(picture)
    for given in (picture, [picture], (picture,), pixels, pixels[None], torch.tensor(pixels)):
        (got,) = clinic.pictures(given)
        assert got.tobytes() == picture.tobytes()
    for given in (None, [], 3, pixels / 255.0, torch.zeros(1, 3, 8, 8), "out.png"):
        assert clinic.pictures(given) is None


def test_what_is_seen_is_named():
    noise = np.random.default_rng(0)
    rough = Image.fromarray(noise.integers(60, 200, (32, 32, 3)).astype("uint8"))
    smooth = Image.fromarray(np.tile(np.linspace(40, 200, 32).astype("uint8")[:, None, None], (1, 32, 3)))
    black, wide = Image.new("RGB", (32, 32)), Image.new("RGB", (64, 32))
    half = smooth.copy()
    half.paste(black.crop((0, 0, 16, 32)))
    assert clinic.symptom([smooth], [smooth]) is None
    for got, wanted, words in [
        ([black], [smooth], "black"),
        ([wide], [smooth], "64 × 32"),
        ([smooth], [smooth] * 2, "2 pictures"),
        ([rough], [smooth], "rougher"),
        ([smooth], [rough], "blurred"),
        ([smooth.transpose(Image.Transpose.ROTATE_180)], [smooth], "as smooth as it should be"),
        ([half], [smooth], "left half"),
        ([smooth, rough], [smooth, smooth], "Picture 1 is right. Picture 2"),
    ]:
        assert words in clinic.symptom(got, wanted)


def test_the_blank_page(ward, said):
    mended = source("solutions/clinic_solutions.ipynb", "clinic.21")
    assert "well done" in said("clinic.21", function(ward, mended), sd=ward["sd"])
    lazy = function(ward, "def program(prompt, seed, steps, file):\n    sdlesson.paint(prompt)[0].save(file)")
    assert "It calls paint" in clinic._blank_page(lazy, sd=ward["sd"]).wrong
    assert "writes no file" in clinic._blank_page(lambda *run: None, sd=ward["sd"]).wrong
    pale = mended.replace(" / sd.vae.config.scaling_factor", "")
    assert pale != mended and "255 levels" in clinic._blank_page(function(ward, pale), sd=ward["sd"]).hint
    assert "not answered yet" in said("clinic.21", lambda *run: ..., sd=ward["sd"])


def test_a_script_that_gives_nothing_is_told_so(ward, said):
    assert "return" in said("clinic.1", lambda *run: None, sd=ward["sd"])
    assert "PIL" in said("clinic.1", lambda *run: 3, sd=ward["sd"])
