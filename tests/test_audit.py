"""The audit of dependencies: what it finds, and that what it could not look at never counts as clean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import audit  # noqa: E402

PINNED = ["Jinja2", "ruamel.yaml", "torch"]
CLEAN = [{"name": name, "version": "1", "vulns": []} for name in ("jinja2", "ruamel-yaml", "torch")]
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found and could not be audited: torch (2)"}
KNOWN = {"name": "torch", "version": "2", "vulns": [{"id": "PYSEC-2"}, {"id": "PYSEC-1"}]}


@pytest.mark.parametrize(
    ("found", "known", "unseen"),
    [
        (CLEAN, [], []),
        ([*CLEAN[:2], KNOWN], ["torch 2: PYSEC-1, PYSEC-2"], []),
        ([*CLEAN[:2], SKIPPED], [], ["torch"]),
        (CLEAN[1:], [], ["Jinja2"]),
        ([], [], PINNED),
    ],
)
def test_what_was_not_looked_at_is_named(found, known, unseen):
    assert audit.advisories(json.dumps({"dependencies": found}), PINNED) == (known, unseen)


@pytest.mark.parametrize("said", ["", "Traceback", "[]", "{}", "null"])
def test_no_answer_is_no_clean_answer(said):
    assert audit.advisories(said, PINNED) == ([], PINNED)


def test_out_of_reach_is_told(monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nConnectionError: no network\n")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: failed)
    assert audit.main() == 2
    said = capsys.readouterr().out
    assert "could not be looked up (ConnectionError: no network)" in said and "torch" in said


def test_every_pinned_project_stands_under_a_licence():
    pinned = audit.names(audit.PINNED)
    assert len(pinned) > 100
    found = audit.licences(pinned)
    assert sorted(name for projects in found.values() for name in projects) == sorted(pinned)
    assert "BSD-3-Clause" in " ".join(found) and "torch" not in found.get("none named", [])
