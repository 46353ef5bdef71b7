"""The live page as a site on this machine: its sources beside what `make live` built, served with faults on demand."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE, BUILT = ROOT / "book" / "live", ROOT / "build" / "book" / "live"
OWN, MADE = ("index.html", "live.css", "types.js", "core", "page"), ("vendor", "model", "example")


@dataclass
class Site:
    """A running server: its address, and what goes wrong with files whose path holds a name."""

    address: str
    faults: dict[str, str] = field(default_factory=dict)  # name -> "missing", "cut" or "slow"


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}
    site: Site

    def log_message(self, *args):
        pass

    def do_GET(self):
        fault = next((kind for name, kind in self.site.faults.items() if name in self.path), None)
        if fault == "missing":
            return self.send_error(404)
        if fault == "slow":
            time.sleep(1)
        if fault != "cut":
            return super().do_GET()
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) // 2))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    def handle(self):
        with contextlib.suppress(ConnectionError):  # a page that is closed does not wait for its files
            super().handle()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serve the page from below a path, as a site does; skips where it is not built."""
    if not (BUILT / "model" / "manifest.json").is_file():
        pytest.skip("The live page is not built: make live.")
    live = folder / "some" / "where" / "live"
    live.mkdir(parents=True)
    for base, names in ((SOURCE, OWN), (BUILT, MADE)):
        for name in names:
            (live / name).symlink_to(base / name)
    handler = type("Handler", (_Handler,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as server:
        handler.site = Site(f"http://127.0.0.1:{server.server_port}/some/where/live/")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler.site
        server.shutdown()
