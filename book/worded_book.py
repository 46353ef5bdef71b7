"""A Sphinx extension: figures keep their words, explorers are a page, answers wait, formulas need no script."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

ROOT = Path(__file__).resolve().parent.parent
_PHONE = 420  # pixels: a wider figure would be squeezed on a phone until nobody can read its words
WIDGET = "application/vnd.jupyter.widget-view+json"


class Words(SphinxPostTransform):
    """Give each figure its words as alt text, and put a note in place of each explorer, before MyST-NB picks a form.

    Both stand in the stored output as its plain text; see `sdlesson.figures.worded` and `sdlesson.explorers.base`.
    """

    default_priority = 3  # MyST-NB's SelectMimeType has 4

    def run(self, **kwargs) -> None:
        for bundle in list(self.document.findall(nodes.container)):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            forms = {form["mime_type"]: form for form in bundle.children}
            words = forms["text/plain"].astext() if "text/plain" in forms else ""
            if WIDGET in forms or "image" not in "".join(forms) and shows_explorer(bundle.parent.parent):
                page = forms["text/html"].children if "text/html" in forms else []
                bundle.replace_self([explorer_note(words), *page])
            for picture in bundle.findall(nodes.image):
                picture["alt"] = words
                if float(re.sub("[^0-9.]", "", str(picture.get("width", ""))) or 0) > _PHONE:
                    picture["classes"].append("wide-figure")
        for picture in self.document.findall(nodes.image):
            picture["classes"].append(
                "dark-light"
            )  # the theme would dim it in the dark, but its colours mean something
            if not picture.get("alt"):
                logging.getLogger(__name__).warning("a picture without words", location=picture)


class guess(nodes.General, nodes.Element):
    """What answers a question: folded until the reader has guessed."""


class Guesses(SphinxPostTransform):
    """Fold what answers a *Predict*: the outputs of the code behind it, and the *Explain* that follows them.

    The code stays in sight: one guesses from it. So does all from the next code, heading or Predict on.
    """

    default_priority = 90  # the outputs have their forms by then

    def run(self, **kwargs) -> None:
        for quote in list(self.document.findall(nodes.block_quote)):
            if quote.astext().startswith("Predict."):
                fold(quote)


def fold(quote: nodes.block_quote) -> None:
    """Fold what answers the Predict `quote`, up to the next one or the end of its section."""
    last, explains = None, False
    for node in quote.parent.children[quote.parent.index(quote) + 1 :]:
        if isinstance(node, nodes.container) and node.get("nb_element") == "cell_code" and not explains:
            for output in [each for each in node.children if "cell_output" in each["classes"]]:
                last = guess()
                output.replace_self(last)
                last += output
        elif isinstance(node, nodes.Structural | nodes.container) or is_predict(node):
            return
        elif last is not None:
            explains = explains or node.astext().startswith("Explain.")
            if not explains:
                return
            node.parent.remove(node)
            last += node


def is_predict(node: nodes.Node) -> bool:
    return isinstance(node, nodes.block_quote) and node.astext().startswith("Predict.")


def open_guess(self, node: guess) -> None:
    self.body.append('<details class="guess"><summary>I have guessed</summary>')


def close_guess(self, node: guess) -> None:
    self.body.append("</details>")


def settle_links(app, document: nodes.document) -> None:
    """Lead links to the folder of solutions to their page, and make text of those to files that are no page."""
    for link in list(document.findall(addnodes.pending_xref)):
        if link["reftype"] != "myst" or link["refdomain"]:
            continue  # it has its page
        place = posixpath.normpath(posixpath.join(posixpath.dirname(link["refdoc"]), link["reftarget"]))
        if place == "notebooks/solutions":
            link.attributes |= {"refdomain": "doc", "reftarget": "SOLUTIONS", "reftargetid": None}
        elif (ROOT / place).exists():
            link.replace_self(link.children)


def terms(glossary: str) -> dict[str, re.Pattern]:
    """The glossary's terms, longest first -> where one is used; capitals count where the term has any."""
    listed = re.search(r"```{glossary}\n(.*?)```", glossary, flags=re.S)[1]
    names = sorted((line for line in listed.splitlines() if line and line[0] != " "), key=len, reverse=True)
    flags = {name: re.IGNORECASE if name.islower() else 0 for name in names}
    return {name: re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", flags[name]) for name in names}


def link_terms(app, document: nodes.document) -> None:
    """Lead the first use of each entry on a lesson's page to the glossary; headings, code and links stay."""
    glossary = Path(app.srcdir) / "GLOSSARY.md"
    if not glossary.is_file() or not re.fullmatch(r"notebooks/\w+", app.env.docname):
        return
    text = glossary.read_text(encoding="utf-8")
    entry = {name: block for block in text.split("\n\n") for name in block.splitlines()}
    open_terms = terms(text)
    for node in list(document.findall(nodes.Text)):
        if in_prose(node):
            node.parent.replace(node, linked(node.astext(), open_terms, entry))


def in_prose(node: nodes.Node) -> bool:
    """Is this text in a paragraph, and in no heading, link, code, formula or table?"""
    kept = (nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.table, nodes.raw)
    kept += (addnodes.pending_xref, nodes.figure)
    above = []
    while node := node.parent:
        above.append(type(node))
    return nodes.paragraph in above and not any(issubclass(each, kept) for each in above)


def linked(text: str, open_terms: dict[str, re.Pattern], entry: dict[str, str]) -> list[nodes.Node]:
    """The text as nodes, with a link at the first use of each entry; what is linked is taken from `open_terms`."""
    found = [(use.start(), -len(name), name, use) for name, at in open_terms.items() if (use := at.search(text))]
    if not found:
        return [nodes.Text(text)]
    *_, name, use = min(found, key=lambda each: each[:2])
    for other in [other for other in open_terms if entry[other] == entry[name]]:
        del open_terms[other]
    link = addnodes.pending_xref("", refdomain="std", reftype="term", reftarget=name, refexplicit=True, refwarn=True)
    link += nodes.inline("", use[0], classes=["term"])
    before = [nodes.Text(text[: use.start()])] if use.start() else []
    return [*before, link, *linked(text[use.end() :], open_terms, entry)] if text[use.end() :] else [*before, link]


def shows_explorer(cell: nodes.container) -> bool:
    """Whether the last line of the cell's code opens an explorer. (`make lessons` stores only its words.)"""
    return cell[0].astext().strip().splitlines()[-1].startswith("explore_")


def explorer_note(words: str) -> nodes.note:
    """What a page without a kernel says where an explorer runs."""
    return nodes.note("", nodes.paragraph(text=f"An explorer runs here in JupyterLab. {words}"))


def plain_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Read docstrings as they are written: `names` in backticks, every other sign as itself."""
    for number, line in enumerate(lines):
        words = line.split("`")
        words[::2] = [re.sub(r"([\\*_|<>])", r"\\\1", word) for word in words[::2]]
        lines[number] = "``".join(words)


def anchor(title: str) -> str:
    """The anchor that JupyterLab gives a heading, so that one link leads there in both."""
    return title.replace(" ", "-")


def inline_formula(self, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def block_formula(self, node: nodes.math_block) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app) -> dict[str, bool]:
    app.add_post_transform(Words)
    app.add_post_transform(Guesses)
    app.add_node(guess, html=(open_guess, close_guess))
    app.connect("doctree-read", settle_links)
    app.connect("doctree-read", link_terms)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))  # no script, no network
    return {"parallel_read_safe": True, "parallel_write_safe": True}
