"""The built book in a real Chromium: nothing in the way of screen readers, nothing wider than a phone."""

from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "build" / "book"
PAGES = ["index.html", "notebooks/06_guidance.html", "notebooks/symptoms.html"]


LOOKS = [(1300, "light"), (390, "dark")]
OTHER_LOOKS = [pytest.param(*look, marks=pytest.mark.full) for look in [(1300, "dark"), (390, "light")]]


@pytest.mark.parametrize(("width", "scheme"), LOOKS + OTHER_LOOKS)
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


ON_A_PHONE = [*PAGES, "notebooks/03_latents.html", "notebooks/10_samplers.html", "GLOSSARY.html", "TEACHING.html"]
ON_A_PHONE += ["api/tiny.html", "genindex.html"]
SIDEWAYS = """() => [...document.querySelectorAll("main *")].filter(
  (each) => each.scrollWidth > each.clientWidth + 1
    && /auto|scroll|hidden|clip/.test(getComputedStyle(each).overflowX))"""
MAY = ".highlight pre, .wide-figure, .pst-scrollable-table-container"


@pytest.mark.parametrize("name", ON_A_PHONE)
def test_on_a_phone_only_code_charts_and_tables_are_moved_sideways(chrome, name):
    if not BOOK.is_dir():
        pytest.skip("The book is not built: make book.")
    page = chrome.new_page(viewport={"width": 390, "height": 844}, color_scheme="light")
    page.goto((BOOK / name).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    kinds = page.evaluate(f"({SIDEWAYS})().map((each) => [each.outerHTML.slice(0, 99), each.matches('{MAY}')])")
    assert [words for words, may in kinds if not may] == []
    outputs = page.evaluate(f"({SIDEWAYS})().filter((each) => each.matches('.cell_output pre')).length")
    hints = page.evaluate(f"({SIDEWAYS})().map((each) => getComputedStyle(each).backgroundAttachment)")
    assert outputs == 0 and {*hints} <= {"local, scroll, scroll"}
    if name == "notebooks/10_samplers.html":
        assert page.locator(".cell_output pre").count() > 10 and page.locator(".wide-figure").count() > 2
        assert len(hints) > 20
    page.close()


def test_imports_are_folded_and_what_the_cell_prints_is_not(chrome):
    if not BOOK.is_dir():
        pytest.skip("The book is not built: make book.")
    page = chrome.new_page(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    page.goto((BOOK / "notebooks" / "10_samplers.html").as_uri())
    imports = page.locator("details.hide pre", has_text="import torch")
    assert imports.is_hidden() and page.get_by_text("The model on this page: tiny").is_visible()
    page.get_by_text("Show the imports").click()
    assert imports.is_visible()
    page.close()


def test_a_search_finds_lessons_before_functions(chrome):
    if not BOOK.is_dir():
        pytest.skip("The book is not built: make book.")
    page = chrome.new_page()
    page.goto((BOOK / "search.html").as_uri() + "?q=sigma")
    # results come one by one, the functions last
    page.wait_for_function("/finished/i.test(document.querySelector('#search-results .search-summary')?.innerText)")
    found = page.locator("#search-results li > a").evaluate_all("links => links.map((each) => each.href)")
    kinds = [
        "lesson" if "/notebooks/" in each else "function" for each in found if "/api/" in each or "/notebooks/" in each
    ]
    assert "04_sigmas" in found[0] and kinds == sorted(kinds, reverse=True) and {*kinds} == {"lesson", "function"}
    page.close()
