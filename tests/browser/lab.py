"""A real JupyterLab server and a real Chromium, for the browser tests and for bench/explorers.py."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: What keeps Chromium quiet and off the network.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

#: All cells stand in the page at once, and nothing asks or tells anything: a test sees the whole notebook.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def chromium() -> str | None:
    """Where Chromium is installed, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address, and the token that it asks for."""

    address: str
    token: str

    def open(self, page, name: str) -> None:
        """Open the notebook `name` in a workspace of its own, and wait until its kernel has answered."""
        with page.expect_websocket(lambda socket: "/channels" in socket.url, timeout=60_000) as kernel:
            page.goto(f"{self.address}/lab/workspaces/{Path(name).stem}/tree/{name}?token={self.token}")
        kernel.value.wait_for_event("framereceived", timeout=60_000)  # now it has answered: it takes cells to run
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(timeout=60_000)


@contextlib.contextmanager
def jupyter_lab(notebooks: Path, scratch: Path) -> Iterator[Lab]:
    """Serve `notebooks` from a JupyterLab of its own; everything else that it writes is in `scratch`."""
    for name, values in SETTINGS.items():
        file = scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0"]
    command += [f"--notebook-dir={notebooks}", f"--LabApp.user_settings_dir={scratch / 'settings'}"]
    kept = {name: str(scratch / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    with (scratch / "lab.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | kept)
        try:
            yield _started(server, Path(kept["JUPYTER_RUNTIME_DIR"]), scratch / "lab.log")
        finally:
            server.terminate()
            server.wait(30)


def _started(server: subprocess.Popen, runtime: Path, log: Path, seconds: float = 60) -> Lab:
    """Wait until the server has told its address and answers; raises RuntimeError with its log where it does not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        # URLError: it does not listen yet; ValueError: its file is half written
        with contextlib.suppress(urllib.error.URLError, ConnectionError, ValueError):
            for file in runtime.glob("jpserver-*.json"):
                told = json.loads(file.read_text())
                lab = Lab(f"http://127.0.0.1:{told['port']}", told["token"])
                urllib.request.urlopen(f"{lab.address}/api", timeout=5).close()
                return lab
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def browser() -> Iterator:
    """A headless Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield chrome
        chrome.close()


_STARTED = "prompts.some(p => !/\\[ \\]/.test(p))"
_DONE = "prompts.some(p => /\\d/.test(p)) && !prompts.some(p => p.includes('*'))"


def run_all(page, *, seconds: float = 200) -> None:
    """Run All Cells, from the menu, and wait until nothing runs any more."""
    from playwright.sync_api import TimeoutError

    for _ in range(5):  # a kernel that is not ready yet loses what it is asked: then ask again
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        with contextlib.suppress(TimeoutError):
            _wait_until(page, _STARTED, 5)
            break
        page.keyboard.press("Escape")
    _wait_until(page, _DONE, seconds)


def _wait_until(page, condition: str, seconds: float) -> None:
    """Wait until `condition` holds for `prompts`, what stands beside the cells: [ ], [*] or [number]."""
    prompts = "[...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map(p => p.textContent)"
    page.wait_for_function(f"() => {{ const prompts = {prompts}; return {condition}; }}", timeout=1000 * seconds)
