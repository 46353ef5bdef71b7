"""Walk the built book: each link within it leads somewhere, nothing is loaded from the web, each picture has words.

    python tools/check_book.py build/book

Links to other sites are for a reader to follow, and are not fetched.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"src", "srcset", "poster", "data"}  # attributes that make a browser fetch a file; of <link> also href
NAMED = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")


class Page(HTMLParser):
    """What one page links to, loads, and can be linked to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loads, self.anchors, self.wordless = [], [], set(), []
        self._style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = {name: value or "" for name, value in attributes}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        self._style = tag == "style"
        self.loads += [attributes[name] for name in LOADED & attributes.keys()]
        self.loads += named(attributes.get("style", ""))
        if "href" in attributes:
            (self.loads if tag == "link" else self.links).append(attributes["href"])
        if tag == "img" and attributes.get("aria-hidden") != "true" and not attributes.get("alt", "").strip():
            self.wordless.append(attributes.get("src", ""))

    def handle_data(self, text):
        if self._style:
            self.loads += named(text)


def named(style: str) -> list[str]:
    """The files that CSS names."""
    return [url or imported for url, imported in NAMED.findall(style)]


def check(site: Path) -> int:
    """Say what is wrong with the book in the folder `site`; 0 if nothing is."""
    written = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]  # there lie templates
    pages = {path: Page(path) for path in written}
    wrong = [f"{path.name}: a picture without words: {source}" for path in pages for source in pages[path].wordless]
    for path, page in pages.items():
        wrong += [f"{path.name}: loads {url}" for url in page.loads if not local(url)]
        targets = [url for url in page.links + page.loads if local(url)]
        wrong += [f"{path.name}: {url} leads nowhere" for url in targets if not leads(url, path, pages)]
    for path in sorted(site.rglob("*.css")):
        urls = named(path.read_text(encoding="utf-8"))
        wrong += [f"{path.name}: loads {url}" for url in urls if not local(url)]
        wrong += [f"{path.name}: {url} is missing" for url in urls if local(url) and not leads(url, path, pages)]
    counted = sum(len(page.links) + len(page.loads) for page in pages.values())
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(*wrong, f"{len(pages)} pages, {counted} links, {size / 1e6:.1f} MB, {len(wrong)} faults: {site}", sep="\n")
    return 1 if wrong or not pages else 0


def local(url: str) -> bool:
    """Whether the address leads to no other site; `data:` carries the file itself."""
    parts = urlsplit(url)
    return parts.scheme == "data" or not (parts.scheme or parts.netloc)


def leads(url: str, path: Path, pages: dict[Path, Page]) -> bool:
    """Whether there is such a file, seen from the page `path`, and such an anchor in it."""
    parts = urlsplit(url)
    if parts.scheme == "data":
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return False
    if target.parent.name == "live":  # what stands behind the live page's # is a state
        return True
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].anchors


if __name__ == "__main__":
    sys.exit(check(Path(sys.argv[1]).resolve()))
