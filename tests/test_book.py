"""The book: every page has its place, figures keep their words, an explorer is a sentence, and a bad link is found."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import build_book  # noqa: E402
from check_book import check  # noqa: E402
from run_lessons import lessons  # noqa: E402

from sdlesson import notebook_name  # noqa: E402

WORDS = "A curve that falls from 14.61 to 0."
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+M8AAQAB+gFAsyoAAAAASUVORK5CYII="
EXPLORER = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "Step explorer: 20 steps."}
STILL = {"text/plain": "Two prompts.", "text/html": "<figure>two pictures</figure>"}
PREDICT = "> **Predict.** What comes out?"
GLOSSARY = """# Glossary

```{glossary}
group norm
group norms
  One thing.

norm
  Another, see [toy](notebooks/toy.ipynb).

VAE
  A third.
```
"""
TERMS = "## A norm above\n\nA `norm` of code, two *group norms*, a group norm, a norm, a Norm, abnorm, vae, the VAE."
IMPORTS = "import numpy\nfrom torch import (\n    nn,\n)\n\nsd = load()\nimport late"
TEXT = "# Toy\n\nSee [solutions](solutions), [this](#A-heading), [code](../README.md) and $\\sigma^2$.\n\n## A heading"


def toy_pages(folder: Path) -> Path:
    """Pages with all that the book's extension is for."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    about = {"image/png": {"alt": WORDS, "width": 40, "height": 20}}
    figure = new_output("display_data", data={"image/png": PIXEL, "text/plain": WORDS}, metadata=about)
    wide = new_output("display_data", data=figure.data, metadata={"image/png": {"width": 600, "height": 20}})
    explorer = new_output("execute_result", data=EXPLORER, execution_count=1)
    stored = new_output("execute_result", data=STILL, execution_count=2)
    answer = new_output("stream", text="the answer is 42")
    cells = [
        new_markdown_cell("# Toy\n\n" + PREDICT),
        new_code_cell("print(answer)", outputs=[answer], execution_count=3),
        new_markdown_cell("**Explain.** It is 42.\n\nA second paragraph.\n\n" + PREDICT),
        new_code_cell("print(again)", outputs=[answer], execution_count=4),
        new_markdown_cell("Not an explanation.\n\n## Later"),
        new_code_cell("print(third)", outputs=[answer], execution_count=5),
        new_markdown_cell(TEXT.removeprefix("# Toy")),
        new_markdown_cell(TERMS),
        new_code_cell("figure()", outputs=[figure, explorer], execution_count=1),
        new_code_cell("explore_two_prompts()", outputs=[stored], execution_count=2),
        new_markdown_cell("## Widths\n\nGive `make --quiet`, or `NAME=a-word-of-more-than-thirty-signs`."),
        new_code_cell("figure_strip(sd)", outputs=[wide], execution_count=6),
        new_code_cell("figure_curves(rows)", outputs=[wide], execution_count=7),
    ]
    (folder / "notebooks").mkdir(parents=True)
    language = {"language_info": {"name": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=language), folder / "notebooks" / "toy.ipynb")
    (folder / "SOLUTIONS.md").write_text("# Solutions\n")
    (folder / "GLOSSARY.md").write_text(GLOSSARY)
    (folder / "index.md").write_text("# Index\n\n```{toctree}\nnotebooks/toy\nSOLUTIONS\nGLOSSARY\n```\n")
    return folder


@pytest.fixture(scope="module")
def toy_book(tmp_path_factory):
    missing = [name for name in ("sphinx", "myst_nb", "sphinx_book_theme") if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"the extra `book` is not installed ({', '.join(missing)}); `make book` installs it")
    folder = tmp_path_factory.mktemp("book")
    assert build_book.build(toy_pages(folder / "pages"), folder / "site") == 0
    return folder / "site"


def test_every_notebook_and_text_is_laid_out():
    places = {str(place) for place in build_book.sources().values()}
    assert {str(path.relative_to(ROOT)) for path in lessons()} <= places
    assert {"index.md", "README.md", "SOLUTIONS.md", "GLOSSARY.md", "notebooks/README.md"} <= places


def test_every_page_is_in_a_table_of_contents(tmp_path):
    build_book.lay_out(tmp_path)

    def patterns(name):
        block = re.findall(r"```\{toctree\}(.*?)```", (tmp_path / name).read_text(), flags=re.S)
        return [line for line in "\n".join(block).splitlines() if line and line[0] != ":"]

    named = {path for each in patterns("index.md") + patterns("SOLUTIONS.md") for path in tmp_path.glob(f"{each}.*")}
    pages = {path for suffix in ("md", "ipynb") for path in tmp_path.rglob(f"*.{suffix}")}
    assert pages - named <= {tmp_path / "index.md", tmp_path / "README.md"}  # the index takes the README in


def test_figures_keep_their_words(toy_book):
    page = (toy_book / "notebooks" / "toy.html").read_text()
    assert f'alt="{WORDS}"' in page and check(toy_book) == 0


def test_what_is_too_wide_for_a_phone_is_marked(toy_book):
    page = (toy_book / "notebooks" / "toy.html").read_text()
    assert page.count('"wide-figure ') == 1 and '"wide-figure ' in page.partition("figure_curves")[2]
    assert re.findall(r'<code class="([^"]*)"><span class="pre">(?:make|NAME)', page) == [
        "docutils literal notranslate",
        "long docutils literal notranslate",
    ]


def test_the_imports_are_folded_and_the_rest_of_their_cell_stays(tmp_path):
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    said = new_output("stream", text="tiny")
    cells = [new_markdown_cell("# Toy"), new_code_cell(IMPORTS, outputs=[said]), new_code_cell("import more")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    build_book.fold_imports(tmp_path / "a.ipynb")
    _, folded, rest, more = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells
    assert folded.metadata["tags"] == ["hide-input"] and folded.source + "\n\n" + rest.source == IMPORTS
    assert (folded.outputs, rest.outputs) == ([], [said]) and "tags" not in {*rest.metadata, *more.metadata}

    nbformat.write(new_notebook(cells=[new_code_cell("import numpy", outputs=[said])]), tmp_path / "b.ipynb")
    build_book.fold_imports(tmp_path / "b.ipynb")
    (only,) = nbformat.read(tmp_path / "b.ipynb", as_version=4).cells
    assert only.metadata["tags"] == ["hide-input"] and only.outputs == [said]

    nbformat.write(new_notebook(cells=[new_code_cell("sd = load()\nimport numpy")]), tmp_path / "c.ipynb")
    before = (tmp_path / "c.ipynb").read_bytes()
    build_book.fold_imports(tmp_path / "c.ipynb")
    assert (tmp_path / "c.ipynb").read_bytes() == before


def test_an_explorer_is_a_sentence(toy_book):
    page = (toy_book / "notebooks" / "toy.html").read_text()
    assert "An explorer runs here in JupyterLab. Step explorer: 20 steps." in page
    assert "<figure>two pictures</figure>" in page.partition("JupyterLab. Two prompts.</p>")[2]
    assert "widget-view" not in page and "requirejs" not in page


def test_what_answers_a_predict_is_folded_and_nothing_else(toy_book):
    page = (toy_book / "notebooks" / "toy.html").read_text()
    folds = re.findall(r'<details class="guess"><summary>I have guessed</summary>(.*?)</details>', page, flags=re.S)
    first, second = folds
    assert "the answer is 42" in first and "It is 42." in first and "A second paragraph." in first
    assert "the answer is 42" in second and "Not an explanation" not in second
    assert "print(" not in first + second and "What comes out?" not in first + second  # the code and the question stay
    assert page.count("the answer is 42") == 3


def test_the_first_use_of_a_term_leads_to_the_glossary(toy_book):
    page = (toy_book / "notebooks" / "toy.html").read_text()
    found = re.findall(r'<a class="reference internal" href="([^"]*)"[^>]*><span class="term">([^<]*)</span>', page)
    assert found == [
        ("../GLOSSARY.html#term-group-norms", "group norms"),  # the longest that fits, and one for each entry
        ("../GLOSSARY.html#term-norm", "norm"),
        ("../GLOSSARY.html#term-VAE", "VAE"),
    ]
    assert 'class="term"' not in (toy_book / "SOLUTIONS.html").read_text()


def entries() -> list[tuple[list[str], str, str]]:
    """The glossary's entries: the forms of the term, its sentence, its lesson's topic."""
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    listed = re.search(r"```{glossary}\n(.*?)\n```", text, flags=re.S)[1]
    found = [block.rpartition("\n") for block in listed.split("\n\n")]
    return [(terms.split("\n"), *re.fullmatch(r"  (.*) \{(\w+)\}", text).groups()) for terms, _, text in found]


def test_each_term_of_the_glossary_stands_in_the_lesson_that_explains_it():
    sys.path.insert(0, str(ROOT / "book"))
    from worded_book import terms

    uses = terms((ROOT / "book" / "glossary.md").read_text(encoding="utf-8"))
    assert len(entries()) >= 60
    for forms, sentence, topic in entries():
        cells = nbformat.read(ROOT / "notebooks" / f"{notebook_name(topic)}.ipynb", as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert any(uses[form].search(text) for form in forms), (forms, topic)
        assert sentence.endswith(".") and len(sentence) < 260, forms
    assert [forms[0].lower() for forms, *_ in entries()] == sorted(forms[0].lower() for forms, *_ in entries())


def test_on_paper_every_fold_is_open(toy_book):
    style, script = ((toy_book / "_static" / name).read_text() for name in ("custom.css", "book.js"))
    assert (
        "details:is(.guess, .hide)::details-content" in style.partition("@media print")[2] and "beforeprint" in script
    )


def test_formulas_and_links_need_no_network(toy_book):
    page = (toy_book / "notebooks" / "toy.html").read_text()
    assert "<math" in page and not re.search("<script[^>]*mathjax", page, flags=re.I)
    assert 'href="../SOLUTIONS.html"' in page and "README.md" not in page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('<a href="gone.html">x</a>', "gone.html leads nowhere"),
        ('<a href="#gone">x</a>', "#gone leads nowhere"),
        ('<img src="a.png">', "a picture without words"),
        ('<script src="https://a.example/b.js"></script>', "loads https://a.example/b.js"),
        ('<link rel="stylesheet" href="//a.example/b.css">', "loads //a.example/b.css"),
        ("<style>p {background: url('https://a.example/b.png')}</style>", "loads https://a.example/b.png"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(tmp_path, capsys, wrong, said):
    (tmp_path / "a.png").touch()
    (tmp_path / "page.html").write_text(f'<h1 id="top">x</h1><a href="#top">y</a>{wrong}')
    assert check(tmp_path) == 1
    assert said in capsys.readouterr().out


def test_a_page_without_faults_passes(tmp_path, capsys):
    (tmp_path / "page.html").write_text(
        '<h1 id="top">x</h1><a href="page.html#top">y</a><a href="https://a.example">z</a>'
    )
    assert check(tmp_path) == 0
    assert "0 faults" in capsys.readouterr().out
