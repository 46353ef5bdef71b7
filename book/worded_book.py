"""A Sphinx extension: figures keep their words, explorers are a page, answers wait, formulas need no script.

With `live_page`, lessons and explorers lead to the live page, each to its own place there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from sdlesson import LESSONS, PAGES, notebook_name

ROOT = Path(__file__).resolve().parent.parent
_PHONE = 520  # pixels: a wider chart's words, 9 pixels high, would shrink on a phone's 358 to less than 6
_WORD = 30  # characters: a longer word of code may break on a phone, a shorter one moves to the next line
_WHOLE = re.compile(r"figure_(strip|machine|latents|pictures)\(")  # told by their shapes: a phone shows them whole
WIDGET = "application/vnd.jupyter.widget-view+json"

#: Where the live page (live/index.html) shows what a lesson is about: what stands behind its #.
LIVE = {
    "onepage": "tour=0",
    "tokens": "at=words",
    "embeddings": "at=vectors",
    "latents": "at=noise",
    "sigmas": "at=levels",
    "unet": "at=unet&step=5",
    "guidance": "at=guidance&step=5",
    "decoding": "at=picture",
    "attention": "at=attention&step=5",
    "samplers": "at=levels&order=1",
    "symptoms": "at=unet&breaks=no_scaling",
}


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
            if WIDGET in forms or "image" not in "".join(forms) and shows_explorer(bundle):
                page = forms["text/html"].children if "text/html" in forms else []
                bundle.replace_self([explorer_note(words, self.app, self.env.docname), *page])
            for picture in bundle.findall(nodes.image):
                picture["alt"] = words
                wide = float(re.sub("[^0-9.]", "", str(picture.get("width", ""))) or 0) > _PHONE
                if wide and not _WHOLE.search(code_of(bundle)):
                    picture.replace_self(nodes.container("", picture.copy(), classes=["wide-figure"]))
        for picture in self.document.findall(nodes.image):
            picture["classes"].append("dark-light")  # in the dark our style dims it: the theme would shift its colours
            if not picture.get("alt"):
                logging.getLogger(__name__).warning("a picture without words", location=picture)
        for code in self.document.findall(nodes.literal):
            if max(map(len, code.astext().split()), default=0) > _WORD:
                code["classes"].append("long")


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


def code_of(bundle: nodes.container) -> str:
    """The code of the cell that an output belongs to."""
    return bundle.parent.parent[0].astext().strip()


def shows_explorer(bundle: nodes.container) -> bool:
    """Whether the last line of the cell's code opens an explorer. (`make lessons` stores only its words.)"""
    return code_of(bundle).splitlines()[-1].startswith("explore_")


def explorer_note(words: str, app, page: str) -> nodes.note:
    """What a page without a kernel says where an explorer runs, and where the live page shows the like."""
    told = nodes.paragraph(text=f"An explorer runs here in JupyterLab. {words}")
    link = live_link(app, page, "Turn it here, in the live page.")
    return nodes.note("", told, *([link] if link else []))


def live_link(app, page: str, words: str) -> nodes.paragraph | None:
    """A paragraph that leads from a page of the book to its place in the live page; None where there is none."""
    states = {f"notebooks/{notebook_name(topic)}": LIVE[topic] for topic in LESSONS | PAGES if topic in LIVE}
    states["index"] = ""
    if not app.config.live_page or page not in states:
        return None
    address = f"{'../' * page.count('/')}live/index.html" + (f"#{states[page]}" if states[page] else "")
    return nodes.paragraph("", "", nodes.reference("", words, refuri=address, internal=True))


class LiveLinks(SphinxPostTransform):
    """Under its title, a page leads to where the live page shows the same thing."""

    default_priority = 91

    def run(self, **kwargs) -> None:
        title = next(iter(self.document.findall(nodes.title)), None)
        link = live_link(self.app, self.env.docname, "See it alive in your browser: nothing to install.")
        if title is not None and link:
            title.parent.insert(title.parent.index(title) + 1, link)


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
    app.add_post_transform(LiveLinks)
    app.add_config_value("live_page", False, "html", bool)
    app.add_node(guess, html=(open_guess, close_guess))
    app.connect("doctree-read", settle_links)
    app.connect("doctree-read", link_terms)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))  # no script, no network
    return {"parallel_read_safe": True, "parallel_write_safe": True}
