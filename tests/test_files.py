"""What is written to the disk: whole or not at all, only over plain files, and nothing is lost to a kill."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest
from kill import kills

from sdlesson import BadInput
from sdlesson.loading import writing as files

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is killed")


def write(path, content=b"after"):
    with files.whole_file(path) as stream:
        stream.write(content)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` and what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def filler(**content):
    """A `write` for `replace_folder`: files of these names, some of them in a folder."""

    def fill(part):
        (part / "sub").mkdir()
        for name, text in content.items():
            (part / "sub" / name).write_text(text)
            (part / name).write_text(text)

    return fill


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755, 0o200])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    path.chmod(mode)
    files.check_writable(path)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert path.read_bytes() == b"after" and os.listdir(tmp_path) == ["a"]


def test_what_is_written_over_a_private_file_is_private_from_its_first_byte(tmp_path):
    path = tmp_path / "a"
    path.touch(0o600)
    with files.whole_file(path) as stream:
        assert stat.S_IMODE(os.fstat(stream.fileno()).st_mode) == 0o600


def refused(path, words):
    for write_or_check in (files.check_writable, write):
        with pytest.raises(BadInput, match=words) as told:
            write_or_check(path)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o555, 0o000])
def test_a_protected_file_is_refused(tmp_path, mode):
    path = tmp_path / "a"
    path.write_bytes(b"before")
    path.chmod(mode)
    refused(path, "is write-protected")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe", "device", "link to a device"])
def test_only_plain_files_are_replaced(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    real = Path("/dev/null") if "device" in kind else Path("real")
    if "pipe" in kind:
        os.mkfifo(real)
    if kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(real))
    path = real
    if "link" in kind:
        path = Path("link")
        path.symlink_to(real)
    before = os.lstat(real)
    refused(path, "is no plain file but a device, a pipe or a socket")
    assert os.lstat(real).st_ino == before.st_ino and os.lstat(real).st_mode == before.st_mode
    assert set(os.listdir()) <= {"real", "link"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("options", [["--trace", "pipe"], ["-o", "pipe.png"], ["--trace", "kept"], ["-o", "kept.png"]])
def test_the_command_says_so_before_it_computes(tmp_path, monkeypatch, capsys, options):
    from sdlesson import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "load", lambda *_, **__: pytest.fail("a model is loaded"))
    for name in ("pipe", "pipe.png"):
        os.mkfifo(name)
    for name in ("kept", "kept.png"):
        Path(name).touch(0o444)
    with pytest.raises(SystemExit) as left:
        cli.main(["paint", "a horse", *options])
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.startswith(f"sdlesson: {options[1]} is ") and said.count("\n") == 1
    assert sorted(os.listdir()) == ["kept", "kept.png", "pipe", "pipe.png"]


@pytest.mark.parametrize("name", ["a\0b", "\udce9\ud800"])
def test_what_no_file_can_be_called(tmp_path, name):
    refused(f"{tmp_path}/{name}", "cannot be the name of a file")


def test_links_that_lead_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refused(tmp_path / "a", "cannot be written")


def test_other_names_of_a_file_keep_what_they_had(tmp_path):
    (tmp_path / "a").write_bytes(b"before")
    for name in ("b", "c"):
        os.link(tmp_path / "a", tmp_path / name)
    write(tmp_path / "b")
    assert tree(tmp_path) == {"a": b"before", "b": b"after", "c": b"before"}


def test_behind_links_the_file_itself_is_replaced(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/real").write_bytes(b"before")
    (tmp_path / "deep/real").chmod(0o600)
    (tmp_path / "one").symlink_to("deep/real")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "dangling").symlink_to("deep/new")
    write(tmp_path / "two")
    write(tmp_path / "dangling")
    assert all((tmp_path / name).is_symlink() for name in ("one", "two", "dangling"))
    assert tree(tmp_path / "deep") == {"real": b"after", "new": b"after"}
    assert stat.S_IMODE((tmp_path / "deep/real").stat().st_mode) == 0o600


@fork
@pytest.mark.parametrize("before", [None, b"before"])
def test_a_killed_write_leaves_the_old_file_and_its_rest_is_removed(tmp_path, before):
    path = tmp_path / "a"

    def prepare():
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if before:
            path.write_bytes(before)

    left = 0
    for _ in kills(prepare, lambda: write(path)):
        rest = [name for name in os.listdir(tmp_path) if name != "a"]
        left += len(rest)
        assert (path.read_bytes() if path.exists() else None) in (before, b"after")
        write(tmp_path / "b")  # at once: it could be somebody's write of this moment
        assert set(rest) <= set(os.listdir(tmp_path))
        for name in rest:
            os.utime(tmp_path / name, (0, 0))
        write(tmp_path / "b")
        assert set(os.listdir(tmp_path)) <= {"a", "b"}
    assert left > 0


@pytest.mark.parametrize("name", [".0123456789abcdef.part", ".sdlesson-thesis.part", "sdlesson-0123456789abcdef.part"])
def test_only_its_own_rests_are_removed(tmp_path, name):
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    write(tmp_path / "a")
    assert set(os.listdir(tmp_path)) == {"a", name}


@fork
def test_a_replaced_folder_survives_a_kill_at_every_change(tmp_path):
    folder = tmp_path / "home" / "model"
    old, new = {"a": "old", "b": "old"}, {"a": "new", "c": "new"}
    wholes = []
    for content in (old, new):
        files.replace_folder(folder, filler(**content))
        wholes.append(tree(folder))

    def prepare():
        shutil.rmtree(folder.parent)
        files.replace_folder(folder, filler(**old))

    seen = []
    for _ in kills(prepare, lambda: files.replace_folder(folder, filler(**new))):
        killed = tmp_path / "killed"
        shutil.copytree(folder.parent, killed)
        files.recover_all(killed)  # one way on: put right what is there
        seen.append(tree(killed / "model"))
        assert seen[-1] in wholes and os.listdir(killed) == ["model"]
        shutil.rmtree(killed)

        def again(part):  # the other way: the next replacement, which may look at what was there
            assert tree(folder) in wholes
            (part / "d").touch()

        files.replace_folder(folder, again)
        assert tree(folder.parent) == {"model/d": b""}
    assert all(whole in seen for whole in wholes)


@fork
def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "home" / "model"
    for _ in kills(lambda: shutil.rmtree(folder.parent, True), lambda: files.replace_folder(folder, filler(a="a"))):
        if folder.parent.exists():
            files.recover_all(folder.parent)
            assert tree(folder.parent) in ({}, {"model/a": b"a", "model/sub/a": b"a"})
            assert set(os.listdir(folder.parent)) <= {"model"}


def test_a_replacement_that_fails_changes_nothing(tmp_path):
    folder = tmp_path / "model"
    files.replace_folder(folder, filler(a="old"))
    before = tree(tmp_path)
    for error, raised in ((OSError(28, "No space left on device"), BadInput), (KeyboardInterrupt(), KeyboardInterrupt)):

        def fail(part, error=error):
            filler(a="new")(part)
            raise error

        with pytest.raises(raised):
            files.replace_folder(folder, fail)
        assert tree(tmp_path) == before and os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("kind", ["file", "link to a file", "in a file", "protected"])
def test_what_no_folder_can_replace(tmp_path, kind):
    (tmp_path / "file").write_text("thesis")
    (tmp_path / "link to a file").symlink_to("file")
    (tmp_path / "protected").mkdir(0o555)
    path = tmp_path / "file" / "model" if kind == "in a file" else tmp_path / kind
    with pytest.raises(BadInput, match="but a file|Not a directory|write-protected"):
        files.replace_folder(path, filler(a="new"))
    assert tree(tmp_path) == {"file": b"thesis", "link to a file": b"thesis"}
    assert len(os.listdir(tmp_path)) == 3


def test_a_folder_behind_a_link_is_replaced_and_keeps_its_permissions(tmp_path):
    real, link = tmp_path / "deep" / "real", tmp_path / "link"
    files.replace_folder(real, filler(a="old"))
    real.chmod(0o700)
    link.symlink_to(real)
    files.replace_folder(link, filler(a="new"))
    assert link.is_symlink() and tree(real) == {"a": b"new", "sub/a": b"new"}
    assert stat.S_IMODE(real.stat().st_mode) == 0o700 and os.listdir(real.parent) == ["real"]


@pytest.mark.parametrize("name", [".model.part", ".model.old", ".part"])
def test_other_peoples_hidden_folders_stay(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis").touch()
    for text in ("old", "new"):
        files.replace_folder(tmp_path / "model", filler(a=text))
    assert (tmp_path / name / "thesis").exists()
