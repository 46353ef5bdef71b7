"""One JupyterLab and one Chromium for all browser tests; without a Chromium they are skipped."""

import shutil
from pathlib import Path

import nbformat
import pytest

from . import lab

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ALL_EXPLORERS = {
    "tokens": 'explore_tokens(sd, "an astronaut riding a horse", "a horse")',
    "steps": "explore_steps(sd, trace)",
    "sigmas": "explore_sigmas()",
    "guidance": "explore_guidance(sd, [mild, trace])",
    "attention": "explore_attention(sd, trace, heat)",
    "unet": "explore_unet(sd, trace, maps)",
    "two prompts": 'explore_two_prompts(sd, "a horse", "a duck")',
}
BEFORE = """\
import sdlesson
from sdlesson.attention import record_attention
from sdlesson.guidance import record
from sdlesson.explorers.attention import explore_attention
from sdlesson.explorers.guidance import explore_guidance
from sdlesson.explorers.prompts import explore_two_prompts
from sdlesson.explorers.sigmas import explore_sigmas
from sdlesson.explorers.steps import explore_steps
from sdlesson.explorers.tokens import explore_tokens
from sdlesson.explorers.unet import explore_unet
from sdlesson.unet import record_maps, stages

sd = sdlesson.load()
with record_attention(sd.unet) as heat, record_maps(stages(sd.unet)) as maps:
    trace = record(sd, "a photograph of an astronaut riding a horse", num_inference_steps=4)
mild = record(sd, "a photograph of an astronaut riding a horse", num_inference_steps=4, guidance_scale=1)
"""


def notebook_of(sources):
    """A notebook with one code cell for each source."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture(scope="session")
def jupyter(chrome, tmp_path_factory):
    """A JupyterLab that serves a copy of the lessons, and explorers.ipynb with one explorer a cell."""
    scratch = tmp_path_factory.mktemp("jupyter")
    folder = scratch / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "out.png"))
    nbformat.write(notebook_of([BEFORE, *ALL_EXPLORERS.values()]), folder / "explorers.ipynb")
    with lab.jupyter_lab(folder, scratch) as running:
        yield running


def _opened(chrome, jupyter, name):
    """A page with the notebook `name`, all cells run; `page.complaints` gathers what the console complains about."""
    page = chrome.new_page(viewport={"width": 1300, "height": 1000})
    page.complaints = []
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    jupyter.open(page, name)
    lab.run_all(page)
    return page


@pytest.fixture(scope="session")
def lesson(chrome, jupyter):
    """The lesson on tokens, all cells run."""
    return _opened(chrome, jupyter, "01_tokens.ipynb")


@pytest.fixture(scope="session")
def explorers(chrome, jupyter):
    """The page with all explorers; `explorers.named` maps their names to their places in the page."""
    page = _opened(chrome, jupyter, "explorers.ipynb")
    places = page.locator(".sdlesson-explorer")
    page.named = {name: places.nth(number) for number, name in enumerate(ALL_EXPLORERS)}
    return page
