"""The built book in a real Chromium: nothing in the way of screen readers, nothing wider than a phone."""

from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "build" / "book"
PAGES = ["index.html", "notebooks/06_guidance.html", "notebooks/symptoms.html"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_by_all(chrome, name, width, scheme):
    if not BOOK.is_dir():
        pytest.skip("The book is not built: make book.")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = chrome.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    page.goto((BOOK / name).as_uri())
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")  # no half-way colours
    page.evaluate("document.fonts.ready")
    found = axe.run(page).response["violations"]
    bad = {each["id"]: each["nodes"] for each in found if each["impact"] in ("serious", "critical")}
    assert {name: [node["failureSummary"] for node in nodes] for name, nodes in bad.items()} == {}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(page.locator("main img").evaluate_all("images => images.map(image => image.alt.length > 10)"))
    page.close()
