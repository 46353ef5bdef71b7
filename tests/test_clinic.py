"""The clinic: every fault is found by what is seen of it, every repair is taken, and nearly all faults are silent."""

import functools
import linecache
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

import sdlesson
from sdlesson.exercises import Stopped, clinic

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
    return cell.partition("\n\n\ncheck(")[0]


def function(ward, text: str):
    """The function of a cell, whose lines a traceback can read, as in a notebook."""
    names, file = dict(ward), f"<cell {len(linecache.cache)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    exec(compile(text, file, "exec"), names)
    return names.get("script") or names["program"]


def judged(ward, patient: str, script, runs=clinic.RUNS[1:]):
    """The judge's word on one run; the solutions' notebook, whose output is compared, goes through both."""
    return clinic._examine(clinic.CASES[patient], script, ward["sd"], ward["drawing"], runs)


@pytest.mark.parametrize("patient", PATIENTS)
def test_each_fault_is_seen_and_its_repair_is_taken(ward, patient):
    ill = source("clinic.ipynb", patient)
    assert len(ill.splitlines()) <= 25
    mistake = judged(ward, patient, function(ward, ill), clinic.RUNS[:1])
    seen = re.sub("`.*`", "`…`", mistake.hint)  # without the line that an error came out of
    assert not re.search(CURES, seen)  # what is seen, not what to do
    assert mistake.wrong.startswith(mistake.hint) and mistake.wrong != mistake.hint
    assert seen.startswith(f"It stops in `…` with {LOUD.get(patient)}") == (patient in LOUD)  # else it is silent
    mended = source("solutions/clinic_solutions.ipynb", patient)
    assert mended != ill and judged(ward, patient, function(ward, mended)) is None


def test_nearly_all_are_silent():
    assert len(PATIENTS) == 20 and len(LOUD) <= 2


def test_an_error_comes_with_its_line(ward):
    lost = function(ward, "def script(*run):\n    x = noise(run[1])\n    return x.decoded")
    said = judged(ward, "clinic.1", lost).hint
    assert said.startswith("It stops in `return x.decoded` with AttributeError: ")
    bare = judged(ward, "clinic.1", eval("lambda *run: 1 / 0")).hint  # no text of it is kept
    assert bare == "It stops with ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("patient", "old", "new"),
    [
        ("clinic.1", "decode(x.to", "decode((x.double() / sd.vae.config.scaling_factor).to"),
        ("clinic.3", "scale_model_input(x, t)", "scale_model_input(x.repeat(2, 1, 1, 1), t)"),
        ("clinic.6", "uncond, text = unet", "text, uncond = unet"),
        ("clinic.7", "unet(seen, step,", "unet(seen, scheduler.timesteps[step].item(),"),
        ("clinic.8", ".half()", ".bfloat16()"),
        ("clinic.10", ".round().long()", ".round().clamp(0, 255)"),
        ("clinic.11", "return scheduler.step", "return __import__('copy').deepcopy(scheduler).step"),
        ("clinic.15", "(1 + w) * cond - w * empty", "empty + w * (cond - empty)"),
        ("clinic.15", "guide(empty, cond, scale)", "guide(empty, cond, scale - 1)"),
        ("clinic.16", "        return x\n", "        slopes.clear()\n        return x\n"),
        ("clinic.17", ".repeat_interleave(2, dim=0)", "[[0, 1, 0, 1]]"),
        ("clinic.18", "(sigma**2 + 1) ** 0.5", "1"),
        ("clinic.18", "scheduler.scale_model_input(latents, t)", "latents"),
        ("clinic.19", "padding=True", "padding='max_length', max_length=77"),
        ("clinic.20", '0.0001, beta_end=0.02, beta_schedule="', '0.00085, beta_end=0.012, beta_schedule="scaled_'),
    ],
)
def test_other_repairs_are_taken_too(ward, patient, old, new):
    ill = source("clinic.ipynb", patient)
    assert old in ill
    assert judged(ward, patient, function(ward, ill.replace(old, new))) is None


@pytest.mark.parametrize(
    ("patient", "old", "new"),
    [
        ("clinic.8", ".nan_to_num(-1)", ".nan_to_num(0)"),  # grey instead of black
        ("clinic.10", ".round().long()", ".round().clamp(max=255).long()"),  # below 0 there is another edge
        ("clinic.10", ".round().long()", ".round().clamp(min=0).long()"),
        ("clinic.15", "guide(empty, cond, scale)", "guide(cond, empty, scale)"),
        ("clinic.17", "guesses[:2], guesses[2:]", "guesses[2:], guesses[:2]"),
        ("clinic.19", "padding=True", "padding='max_length', max_length=40"),
        ("clinic.20", "beta_start=0.0001, beta_end=0.02", "beta_start=0.00085, beta_end=0.012"),  # linear
    ],
)
def test_half_a_repair_is_none(ward, patient, old, new):
    ill = source("clinic.ipynb", patient)
    assert old in ill
    assert judged(ward, patient, function(ward, ill.replace(old, new)), None)


CHEATS = {
    "paint": "sdlesson.paint(prompt, model=sd, seed=seed, num_inference_steps=steps)",
    "an alias": "brush(prompt, model=sd, seed=seed, num_inference_steps=steps)",
    "a name that is put together": "getattr(sdlesson, 'pa' + 'int')(prompt, model=sd)",
    "denoise": "paint_latents(sd, list(sdlesson.denoise(sd, prompt))[-1].latents)",
    "record": "paint_latents(sd, sdlesson.record(sd, prompt).steps[-1].latents)",
    "img2img": "paint_latents(sd, sdlesson.steering.img2img(sd, prompt, drawing, strength=0.5))",
    "healthy": "healthy(patient, sd, prompt, seed, steps, drawing)",
    "diffusers' pipeline": "[pipeline(prompt)]",
}
WHOLE = "That is the whole way in one word. Walk it yourself."


@pytest.mark.parametrize("patient", [*PATIENTS, "clinic.21"])
@pytest.mark.parametrize("cheat", ["an alias", "healthy"])
def test_no_script_may_call_what_walks_the_whole_way(ward, said, patient, cheat):
    assert_refused(ward, said, patient, cheat)


@pytest.mark.parametrize("cheat", CHEATS)
def test_it_is_known_under_every_name(ward, said, cheat, request):
    ward = ward | {"pipeline": request.getfixturevalue("pipeline")}
    assert_refused(ward, said, "clinic.4", cheat)
    assert_refused(ward, said, "clinic.21", cheat)


def assert_refused(ward, said, patient, cheat):
    names = ward | {"patient": patient, "healthy": clinic.healthy, "brush": sdlesson.paint}
    script = function(names, f"def script(prompt, seed, steps, file=None):\n    return {CHEATS[cheat]}")
    facts = {} if patient == "clinic.21" else {"drawing": ward["drawing"]}
    before = sys.getprofile()
    assert WHOLE in said(patient, script, sd=ward["sd"], **facts)
    assert "It calls" in said(patient, script, sd=ward["sd"], **facts)
    assert sys.getprofile() is before


def test_other_threads_may_paint_while_a_script_is_examined(ward):
    def watched(*_):
        pass

    def brush(steps):
        return sdlesson.paint("a robot", model=ward["sd"], num_inference_steps=steps)

    sys.setprofile(watched)
    try:
        with ThreadPoolExecutor(1) as other, clinic.by_hand():
            assert other.submit(brush, 1).result()
            with pytest.raises(Stopped):
                brush(1)
        assert sys.getprofile() is watched
    finally:
        sys.setprofile(None)
    assert brush(1)


def test_a_function_of_the_learners_may_have_such_a_name(ward):
    mended = source("solutions/clinic_solutions.ipynb", "clinic.18").replace("guess(", "denoise(")
    assert "def denoise(" in mended and judged(ward, "clinic.18", function(ward, mended)) is None


def test_the_minutes_that_are_promised_are_those_of_the_patients():
    cells = nbformat.read(NOTEBOOKS / "clinic.ipynb", as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    told = [int(number) for number in re.findall(r"\*\((\d+) min, difficulty \d of 3\)\*", text)]
    assert len(told) == 21 and int(re.search(r"\*\*Time:\*\* (\d+) minutes", text)[1]) == sum(told)
    for readme in (NOTEBOOKS.parent / "README.md", NOTEBOOKS / "README.md"):
        (row,) = [line for line in readme.read_text(encoding="utf-8").splitlines() if "| [Clinic]" in line]
        assert f"| {sum(told)} min |" in row


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
        ([smooth.point(lambda level: level + 10)], [smooth], "as smooth as it should be"),
        ([smooth.transpose(Image.Transpose.ROTATE_180)], [smooth], "not the picture that is wanted. It is off by more"),
        ([half], [smooth], "left half"),
        ([smooth, rough], [smooth, smooth], "Picture 1 is right. Picture 2"),
        ([rough, black], [smooth, smooth], "None of the pictures is right. The worst is picture 2: "),
    ]:
        assert words in clinic.symptom(got, wanted)


def test_the_blank_page(ward, said):
    mended = source("solutions/clinic_solutions.ipynb", "clinic.21")
    assert "well done" in said("clinic.21", function(ward, mended), sd=ward["sd"])
    assert "writes no file" in clinic._blank_page(lambda *run: None, sd=ward["sd"]).wrong
    pale = mended.replace(" / sd.vae.config.scaling_factor", "")
    assert pale != mended and "255 levels" in clinic._blank_page(function(ward, pale), sd=ward["sd"]).hint
    assert "not answered yet" in said("clinic.21", lambda *run: ..., sd=ward["sd"])
    good = function(ward, mended)
    for name, fixed in {
        "prompt": lambda prompt, seed, steps, file: good("a cartoon of a duck", seed, steps, file),
        "seed": lambda prompt, seed, steps, file: good(prompt, 42, steps, file),
        "steps": lambda prompt, seed, steps, file: good(prompt, seed, 8, file),
    }.items():
        mistake = clinic._blank_page(fixed, sd=ward["sd"])
        assert "change with each argument?" in mistake.hint and f"`{name}` is not used" in mistake.wrong
    black = clinic._blank_page(lambda *run: Image.new("RGB", ward["sd"].size).save(run[-1]), sd=ward["sd"])
    assert "black" in black.hint and "argument" not in black.hint
    words = clinic._blank_page(lambda *run: Path(run[-1]).write_text("a picture") and None, sd=ward["sd"])
    assert "no picture" in words.wrong


def test_a_script_that_gives_nothing_is_told_so(ward, said):
    assert "return" in said("clinic.1", lambda *run: None, sd=ward["sd"])
    assert "PIL" in said("clinic.1", lambda *run: 3, sd=ward["sd"])
