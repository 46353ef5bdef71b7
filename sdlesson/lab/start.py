"""JupyterLab on a learner's copies: the first lesson open, nothing else asking for attention."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from .. import notebook_name
from ..loading.errors import BadInput
from ..loading.writing import replace_folder

_FIRST = f"{notebook_name('onepage')}.ipynb"
#: JupyterLab's settings of the first visit; from then on they are the learner's, as is the layout.
_CALM = {
    "notification": {"fetchNews": "false", "checkForUpdates": False},
    # What goes to stderr, progress bars among it, stands on grey: on red each would look like a failure.
    "themes": {"overrides": {"rendermime-error-background": {"light": "#f3f4f6", "dark": "#2b2f36"}}},
}
_LARGE = {"code-font-size": "20px", "content-font-size1": "22px", "ui-font-size1": "16px"}
_FIGURES = "1.5"  # times as large on a projector: a row of four pictures still fits beside 1366 pixels of screen
#: The layout of the first visit: no file browser over a third of a small screen.
_LAYOUT = {
    "data": {"layout-restorer:data": {"left": {"collapsed": True, "visible": True, "widgets": []}}},
    "metadata": {"id": "default"},
}
HOW = """\
JupyterLab opens on the first lesson in your browser; if it does not, copy the address below into one.
Shift + Enter runs a cell and goes to the next. The folder at the top left lists the other lessons.
Your copies are in {folder}
To end: save in the browser (Ctrl + S), then press Ctrl + C here, twice.
"""


def check_user(more: Sequence[str]) -> None:
    """Raise BadInput for the administrator of a Unix system, whom JupyterLab refuses."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in more:
        raise BadInput(
            "JupyterLab does not start for the administrator (root), as its pages could then change the whole system; "
            "log in as another user, or, in a container of your own, add --allow-root."
        )


def prepare(folder: Path, *, projector: bool = False) -> list[str]:
    """Lay calm settings and a calm layout beside the copies, where none are yet; JupyterLab's arguments for them."""
    from jupyterlab_server.workspaces_handler import WorkspacesManager

    home = folder / ".jupyterlab" / ("projector" if projector else "screen")
    settings, workspaces = home / "settings", home / "workspaces"

    def write(part: Path) -> None:
        calm = _CALM | {"themes": {"overrides": _CALM["themes"]["overrides"] | (_LARGE if projector else {})}}
        place = part / settings.relative_to(home) / "@jupyterlab" / "apputils-extension"
        place.mkdir(parents=True)
        for name, values in calm.items():
            (place / f"{name}.jupyterlab-settings").write_text(json.dumps(values, indent=1), encoding="utf-8")
        WorkspacesManager(str(part / workspaces.relative_to(home))).save("default", json.dumps(_LAYOUT))

    if not home.is_dir():
        replace_folder(home, write)
    return [f"--LabApp.user_settings_dir={settings}", f"--LabApp.workspaces_dir={workspaces}"]


def arguments(folder: Path, more: Sequence[str]) -> list[str]:
    """JupyterLab's other arguments; `more` comes last, so that a learner's own word wins."""
    ours = ["--ServerApp.log_level=ERROR", "--LabApp.log_level=ERROR"]  # the address is told at every level
    return [*ours, f"--ServerApp.root_dir={folder}", f"--LabApp.default_url=/lab/tree/{_FIRST}", *more]


def start(folder: Path, more: Sequence[str], *, projector: bool = False) -> int:
    """Serve `folder` until Ctrl + C; 0 when it ended in peace."""
    from jupyterlab.labapp import LabApp

    if projector:
        os.environ.setdefault("SDLESSON_FIGURE_SCALE", _FIGURES)  # the kernels inherit it
    LabApp.launch_instance([*prepare(folder, projector=projector), *arguments(folder, more)])
    return 0
