"""Known advisories and licences of the pinned dependencies: `make audit`. It says so where it could not look.

python tools/audit.py       0: looked at all, none found; 1: advisories; 2: what could not be looked at is told
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PINNED = Path(__file__).resolve().parent.parent / "constraints.txt"
AUDIT = ["-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-r"]


def names(file: Path) -> list[str]:
    """The projects that `file` pins."""
    return re.findall(r"^([\w.-]+)==", file.read_text(encoding="utf-8"), flags=re.M)


def advisories(said: str, pinned: list[str]) -> tuple[list[str], list[str]]:
    """From pip-audit's JSON: "name version: advisories", and the pinned names that it did not look at."""
    try:
        found = json.loads(said)["dependencies"]
    except (ValueError, KeyError, TypeError):  # it ended before it could say anything
        return [], list(pinned)
    looked = {each["name"].lower(): each for each in found if "skip_reason" not in each}
    known = [
        f"{each['name']} {each['version']}: {', '.join(sorted(one['id'] for one in each['vulns']))}"
        for each in looked.values()
        if each["vulns"]
    ]
    return known, [name for name in pinned if re.sub(r"[-_.]+", "-", name).lower() not in looked]


def licences(pinned: list[str]) -> dict[str, list[str]]:
    """Licence, as the installed project names it -> the projects; "not installed" and "none named" among them."""
    found = defaultdict(list)
    for name in pinned:
        try:
            about = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            found["not installed"].append(name)
            continue
        classes = [each.split(" :: ")[-1] for each in about.get_all("Classifier", []) if each.startswith("License ::")]
        said = about.get("License-Expression") or ", ".join(classes) or (about.get("License") or "").split("\n")[0]
        found[said.strip()[:60] or "none named"].append(name)
    return dict(sorted(found.items(), key=lambda each: -len(each[1])))


def main() -> int:
    """Print what was found."""
    pinned = names(PINNED)
    for licence, projects in licences(pinned).items():
        print(f"{licence}: {', '.join(projects)}")
    done = subprocess.run([sys.executable, *AUDIT, str(PINNED)], capture_output=True, text=True)
    known, unseen = advisories(done.stdout, pinned)
    print("\n".join(["", *known, f"advisories: {len(known)} of {len(pinned) - len(unseen)} projects have one"]))
    if unseen:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
        why = "the database does not hold them" if done.stdout.strip() else last
        print(f"advisories of {len(unseen)} projects could not be looked up ({why}): {', '.join(unseen)}")
    return 2 if unseen else int(bool(known))


if __name__ == "__main__":
    sys.exit(main())
