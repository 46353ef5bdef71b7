"""How soon the explorers open and answer, in a real JupyterLab in Chromium: `make bench-explorers`.

Opening: from the moment that the cell is run until its explorer stands on the page. Answering: from an arrow key on a
slider until the page shows its new value's picture or numbers; each value is visited twice, since the first visit may
decode a picture. The aims are under 2 s and under 100 ms.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from browser.conftest import ALL_EXPLORERS, BEFORE, notebook_of
from browser.lab import browser, jupyter_lab, run_all

#: explorer -> the label of the slider that is moved
SLIDERS = {"steps": "step", "sigmas": "steps", "guidance": "guidance", "attention": "step", "unet": "step"}

_OPEN = """([cell, at]) => new Promise(done => {
    const places = document.querySelectorAll('.jp-CodeCell');
    const start = performance.now();
    const look = () => {
        const page = places[at].querySelector('.sdlesson-explorer');
        const whole = page && [...page.querySelectorAll('img')].every(image => image.complete);
        if (whole && page.textContent.length > 20) done(performance.now() - start); else requestAnimationFrame(look);
    };
    look();
})"""

_ANSWER = """([slider, key]) => new Promise(done => {
    const explorer = slider.closest('.sdlesson-explorer'), page = [...explorer.querySelectorAll('.widget-html')].at(-1);
    const watch = new MutationObserver(() => requestAnimationFrame(() => {
        watch.disconnect();
        done(performance.now() - start);
    }));
    watch.observe(page, {childList: true, subtree: true, characterData: true});
    slider.value = Number(slider.value) + (key === 'ArrowRight' ? 1 : -1);
    const start = performance.now();
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    setTimeout(() => { watch.disconnect(); done(null); }, 5000);
})"""


def answers(page, explorer, label: str) -> tuple[list[float], list[float]]:
    """Milliseconds that each place of a slider takes to be shown: on the first visit, and on the second."""
    slider = explorer.get_by_role("slider", name=label, exact=True).element_handle()
    slider.evaluate("s => { s.value = 0; s.dispatchEvent(new Event('input', {bubbles: true})); }")
    page.wait_for_timeout(500)
    last = min(int(slider.get_attribute("max")), 19)
    ways = []
    for key in ("ArrowRight", "ArrowLeft"):
        ways.append([page.evaluate(_ANSWER, [slider, key]) for _ in range(last)])
        page.wait_for_timeout(300)
    if None in ways[0] + ways[1]:
        raise RuntimeError(f"The slider {label!r} got no answer within 5 s.")
    return ways[0], ways[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "notebooks").mkdir()
        nbformat.write(
            notebook_of([BEFORE.replace("=4", "=20"), *ALL_EXPLORERS.values()]), scratch / "notebooks/all.ipynb"
        )
        with jupyter_lab(scratch / "notebooks", scratch) as lab, browser() as chrome:
            page = chrome.new_page(viewport={"width": 1300, "height": 1000})
            lab.open(page, "all.ipynb")
            run_all(page)
            for number, name in enumerate(ALL_EXPLORERS):
                cell = page.locator(".jp-CodeCell").nth(number + 1)
                cell.locator(".jp-InputArea-editor").click()
                page.keyboard.press("Escape")
                cell.locator(".jp-OutputArea-output").first.evaluate("output => output.remove()")
                page.keyboard.press("Control+Enter")
                opened = page.evaluate(_OPEN, [None, number + 1])
                print(f"{name:12} opens in {opened / 1000:.2f} s", end="")
                if name in SLIDERS:
                    first, again = answers(page, cell.locator(".sdlesson-explorer"), SLIDERS[name])
                    for visit, spent in (("first visit", first), ("again", again)):
                        print(f"; {visit}: median {statistics.median(spent):.0f}, at most {max(spent):.0f} ms", end="")
                print()


if __name__ == "__main__":
    main()
