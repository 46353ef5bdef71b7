"""load() on a hub id: a local server stands in for the hub, and breaks in every way in which the real one can.

Each download runs in a process of its own, as a learner's does: the hub's client reads its settings once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

import sdlesson
from sdlesson import models
from sdlesson.loading import hub, weights
from sdlesson.loading.errors import ModelError
from sdlesson.loading.weights import _new_name

COMMIT = "c" * 40
UNET = "unet/diffusion_pytorch_model.safetensors"


class Hub(ThreadingHTTPServer):
    """The hub's endpoints for one repository, org/toy: its description, its list of files, the files.

    As on the real one, big files lie in a store with another address, to which the hub sends on.

    `files` is what it holds (name -> bytes); `asked` what it was asked for, as (method, file, first byte). `broken`
    says what goes wrong with a file: "slow" (it stops after the first half, open), "cut" (it closes there), "other"
    (as many bytes, but others), "short" (half of it, as if that were all), "endless" (it goes on and on). `lies` are
    told of a file (name -> what its description says instead), `fields` of the repository; `page` is sent in place of
    every answer (status, text).
    """

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        self.asked: list[tuple[str, str, int]] = []
        self.broken: dict[str, str] = {}
        self.refused: str | None = None
        self.lies: dict[str, dict] = {}
        self.fields: dict = {}
        self.page: tuple[int, str] | None = None
        self.told_the_store: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def gets(self) -> dict[str, list[int]]:
        """The files that were sent: the first byte of each answer."""
        sent: dict[str, list[int]] = {}
        for method, name, start in self.asked:
            if method == "GET":
                sent.setdefault(name, []).append(start)
        return sent


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does, as far as its client looks."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.partition("?")[0]
        if self.server.page:
            self.show(*self.server.page)
        elif match := re.fullmatch(r"/api/models/org/toy(?:/revision/(\w+)|/tree/(\w+))?", path):
            if self.known(match[1] or match[2] or "main"):
                about = {"id": "org/toy", "sha": COMMIT, "siblings": self.siblings()} | self.server.fields
                self.tell(self.tree() if match[2] else about)
        elif match := re.fullmatch(r"/org/toy/resolve/(\w+)/(.+)", path):
            if self.known(match[1]):
                self.send(match[2])
        elif match := re.fullmatch(r"/store/(.+)", path):
            self.server.told_the_store += self.headers.get_all("Authorization", [])
            self.send(match[1], stored=True)
        else:
            self.refuse(404, "RepoNotFound")

    def known(self, revision: str) -> bool:
        if self.server.refused:
            self.refuse(403, self.server.refused)
        elif revision not in ("main", COMMIT):
            self.refuse(404, "RevisionNotFound")
        else:
            return True
        return False

    def show(self, status: int, text: str):
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Error-Message", "Invalid credentials in Authorization header")
        self.end_headers()
        self.wfile.write(text.encode())

    def refuse(self, status: int, code: str):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def tell(self, content):
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def facts(self):
        """Name, size, checksum and whether it is a big file (kept in Git LFS), of every file."""
        for name, data in self.server.files.items():
            big = name.endswith((".safetensors", ".bin", ".ckpt"))
            git = hashlib.sha1(b"blob %d\0" % len(data) + data)
            yield name, len(data), hashlib.sha256(data).hexdigest() if big else git.hexdigest(), big

    def siblings(self):
        return [
            {"rfilename": name, "size": size, "blobId": sha[:40]}
            | ({"lfs": {"sha256": sha, "size": size, "pointerSize": 134}} if big else {})
            | self.server.lies.get(name, {})
            for name, size, sha, big in self.facts()
        ]

    def tree(self):
        return [
            {"type": "file", "path": name, "size": size, "oid": sha[:40]}
            | ({"lfs": {"oid": sha, "size": size, "pointerSize": 134}} if big else {})
            for name, size, sha, big in self.facts()
        ]

    def send(self, name: str, stored: bool = False):
        data = self.server.files.get(name)
        if data is None:
            self.refuse(404, "EntryNotFound")
            return
        _, size, sha, big = next(fact for fact in self.facts() if fact[0] == name)
        if big and not stored:
            self.send_on(name, size, sha)
            return
        start = int(re.search(r"\d+", self.headers.get("Range") or "0")[0])
        self.server.asked.append((self.command, name, start))
        trouble = self.server.broken.get(name) if self.command == "GET" else None
        body = bytes(size) if trouble == "other" else data[: size // 2] if trouble == "short" else data
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha[:40]}"')
        if trouble != "endless":
            self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.command == "GET":
            self.send_body(body, start, trouble)

    def send_on(self, name: str, size: int, sha: str):
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/store/{name}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{sha}"')
        self.send_header("X-Linked-Size", str(size))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_body(self, body: bytes, start: int, trouble: str | None):
        if trouble == "endless":
            self.close_connection = True
            with contextlib.suppress(OSError):
                for _ in range(10_000):
                    self.wfile.write(bytes(2**16))
            return
        if trouble not in ("slow", "cut"):
            self.wfile.write(body[start:])
            return
        self.close_connection = True
        self.wfile.write(body[start : max(start, len(body) // 2)])
        self.wfile.flush()
        if trouble == "slow":
            time.sleep(60)


@pytest.fixture
def server(toy_folder):
    """The hub, with the toy and beside it what must not be downloaded."""
    with Hub(toy_folder) as server:
        extra = ["unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors", "toy.ckpt"]
        extra += ["unet/diffusion_pytorch_model.non_ema.safetensors", "safety_checker/model.safetensors", "README.md"]
        server.files |= dict.fromkeys(extra, b"not needed")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def start(server, tmp_path):
    """Start a process that finds org/toy, in an empty cache; it prints the folder or the sentence of the error."""
    running = []

    def run(revision: str | None = None, **settings: str) -> subprocess.Popen:
        code = (
            "import sys; from huggingface_hub import constants; from sdlesson.models import ModelError, find\n"
            "constants.DOWNLOAD_CHUNK_SIZE = 2**14\n"  # 10 MB for real: the toy would come in one bite
            "import time; time.sleep = lambda _: None\n"  # the client waits a second before each of five tries
            f"try: print(find('org/toy', revision={revision!r}))\n"
            "except ModelError as error: sys.exit(f'refused: {error}')"
        )
        place = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
        place |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen([sys.executable, "-c", code], env=os.environ | place | settings, **pipes))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def ask(server, tmp_path, monkeypatch):
    """As `start`, but in this process, which is quicker: finds org/toy; returns the folder or the error's sentence."""
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DOWNLOAD_TIMEOUT": 5,
        "DOWNLOAD_CHUNK_SIZE": 2**14,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setattr("time.sleep", lambda _: None)

    def run(**settings) -> Path | str:
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        try:
            return models.find("org/toy")
        except ModelError as error:
            assert "\n" not in str(error)
            return str(error)

    return run


def found(process: subprocess.Popen | Path) -> Path:
    if isinstance(process, Path):
        return process
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return Path(out.strip())


def refused(process: subprocess.Popen | str, *words: str) -> str:
    """The one sentence with which the process ended."""
    if isinstance(process, str):
        assert all(word in process for word in words), process
        return process
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == "", err
    sentence = err[err.rindex("refused: ") + 9 :]
    assert sentence.count("\n") == 1 and "Traceback" not in err
    for word in words:
        assert word in sentence
    return sentence


def blobs(cache: Path) -> list[str]:
    """What the cache holds of the files, whole and broken, by name."""
    return sorted(file.name for file in cache.glob("hub/models--org--toy/blobs/*"))


def wait_for(server: Hub, name: str, cache: Path) -> None:
    """Wait until about half of the file has come."""
    half, end = len(server.files[name]) // 2, time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            sizes = [part.stat().st_size for part in cache.glob("hub/models--org--toy/blobs/*.incomplete")]
            if any(size > half - 2**14 for size in sizes):
                return
        time.sleep(0.02)
    raise AssertionError("the download did not begin")


def test_only_the_needed_files_come_and_then_no_network_is_needed(server, start, tmp_path, toy):
    folder = found(start(HF_TOKEN="hf_of_the_learner"))
    assert server.told_the_store == []  # the learner's token is for the hub alone
    needed = {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "vae/config.json", UNET}
    needed |= {"text_encoder/config.json", "text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"}
    needed |= {"tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"}
    assert set(server.gets()) == {name for _, name, _ in server.asked} == needed
    assert all(starts == [0] for starts in server.gets().values())
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == needed
    assert folder.name == COMMIT
    assert not [name for name in blobs(tmp_path) if "incomplete" in name]

    server.asked.clear()
    assert found(start(HF_HUB_OFFLINE="1")) == folder
    assert found(start(revision=COMMIT, HF_ENDPOINT="http://127.0.0.1:9")) == folder
    assert server.asked == []
    weights = sdlesson.load(folder).unet.state_dict()
    assert all(torch.equal(values, weights[name]) for name, values in toy.unet.state_dict().items())


def test_it_says_what_it_downloads_and_how_much(server, start):
    _, err = start().communicate(timeout=60)
    assert re.match(r"sdlesson: downloading org/toy: 10 files, \d+\.\d MB, to .*models--org--toy\n", err)


@pytest.mark.parametrize("way", ["kill", "cut"])
def test_a_broken_download_goes_on_where_it_stopped(server, start, tmp_path, way):
    server.broken[UNET] = {"kill": "slow", "cut": "cut"}[way]
    process = start()
    if way == "kill":
        wait_for(server, UNET, tmp_path)
        process.kill()
        process.communicate()
    else:
        refused(process, "broke off", "goes on from there")
    half = len(server.files[UNET]) // 2
    assert [name for name in blobs(tmp_path) if "incomplete" in name]
    assert not list(tmp_path.glob(f"hub/models--org--toy/snapshots/*/{UNET}"))

    server.asked.clear()
    server.broken.clear()
    folder = found(start())
    assert len(server.gets()[UNET]) == 1 and half - 2**15 < server.gets()[UNET][0] <= half
    assert (folder / UNET).read_bytes() == server.files[UNET]
    assert not [name for name in blobs(tmp_path) if "incomplete" in name]


def test_a_file_that_is_shorter_than_told(server, start, tmp_path):
    server.broken[UNET] = "short"
    refused(start(), "broke off")
    assert not list(tmp_path.glob(f"hub/models--org--toy/snapshots/*/{UNET}"))


def test_a_file_that_was_damaged_on_its_way(server, start, tmp_path):
    server.broken[UNET] = "other"
    refused(start(), UNET, "damaged on its way", "run this again")
    assert not [name for name in blobs(tmp_path) if "incomplete" in name]


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(server, start):
    folder = found(start())
    (folder / UNET).resolve().write_bytes(server.files[UNET][:1000])
    assert (found(start()) / UNET).read_bytes() == server.files[UNET]


def lies(checksum: object, size: object = 134) -> dict:
    return {"size": size, "blobId": checksum, "lfs": {"sha256": checksum, "size": size, "pointerSize": 134}}


@pytest.fixture
def precious(tmp_path):
    """A file outside the cache, where a lie may lead; it is as it was, and nothing stands beside the cache."""
    file = tmp_path / "thesis.tex"
    file.write_text("years of work")
    yield file
    assert file.read_text() == "years of work"
    assert {each.name for each in tmp_path.iterdir()} <= {"thesis.tex", "hub"}
    assert {each.name for each in tmp_path.glob("hub/*")} <= {"models--org--toy", ".locks", "CACHEDIR.TAG"}


UP = "../../../thesis.tex"  # from where the cache keeps a file


@pytest.mark.parametrize("name", [UNET, "unet/config.json"])
@pytest.mark.parametrize(
    "checksum",
    [
        UP,
        "{precious}",
        "..",
        "",
        None,
        7,
        [],
        "A" * 64,
        "a" * 63,
        "a" * 64 + "\n",
        "a" * 61 + "/..",
        f"{'a' * 64}/{UP}",
    ],
    ids=range(12),
)
def test_a_checksum_that_is_none(server, ask, precious, name, checksum):
    """It names the file in the cache: 64 hexadecimal digits, or nothing is fetched."""
    checksum = str(precious) if checksum == "{precious}" else checksum
    server.lies[name] = lies(checksum) if name == UNET else {"blobId": checksum}
    refused(ask(), "What the hub says of org/toy cannot be right", f"{name} has checksum")
    assert server.asked == [] and not blobs(precious.parent)


@pytest.mark.parametrize("name", [UNET, "unet/config.json"])
@pytest.mark.parametrize("size", [None, -1, "1000", 1e3, True, [], {}, float("inf")], ids=range(8))
def test_a_size_that_is_none(server, ask, precious, name, size):
    server.lies[name] = {"size": size}
    refused(ask(), "What the hub says of org/toy cannot be right", f"the size of {name} is")
    assert server.asked == [] and not blobs(precious.parent)


@pytest.mark.parametrize("size", [10, 10**7])
def test_a_size_that_is_another(server, ask, precious, size):
    for name in ("unet/config.json", UNET):
        server.lies = {name: {"size": size}}
        refused(ask(), *(["longer than the hub said"] if size == 10 else ["broke off"]))
        assert not list(precious.parent.glob(f"hub/models--org--toy/snapshots/*/{name}"))


def test_a_size_beyond_all_disks(server, ask, precious):
    server.lies[UNET] = {"size": 10**30}
    refused(ask(), "more on the disk", "make room")
    assert server.asked == []


def test_a_file_without_end(server, ask, precious):
    for name in ("unet/config.json", UNET):
        server.broken = {name: "endless"}
        refused(ask(), name, "longer than the hub said")
        assert sum(file.stat().st_size for file in precious.parent.rglob("*") if file.is_file()) < 2**22


@pytest.mark.parametrize(
    "evil",
    [
        "unet/../../../../thesis.tex",
        "unet/diffusion_pytorch_model/../../../../../thesis.safetensors",
        "tokenizer/../../../../evil.json",
        "/tokenizer/evil.json",
        "tokenizer/./evil.json",
        "tokenizer\\..\\evil.json",
        "../tokenizer/evil.json",
        "tokenizer/evil\n.json",
        "",
    ],
)
def test_names_that_lead_out_of_the_folder(server, ask, precious, evil):
    """Beside a whole model they are left alone; in the place of a part, that part is missing."""
    server.files[evil] = b"{}"
    folder = found(ask())
    assert not any(evil.split("/")[-1] == file.name for file in folder.rglob("*") if evil)
    assert evil not in server.gets()
    shutil.rmtree(precious.parent / "hub")
    server.files[f"unet/{UP}.safetensors"] = server.files.pop(UNET)
    server.files.pop("unet/diffusion_pytorch_model.fp16.safetensors")
    server.files.pop("unet/diffusion_pytorch_model.bin")
    refused(ask(), "lacks the unet's weights")


@pytest.mark.parametrize(
    "commit", [None, 7, "", UP, "../../..", "c" * 39, "C" * 40, "c" * 40 + "/..", "main", []], ids=range(10)
)
def test_a_commit_that_is_none(server, ask, precious, commit):
    server.fields = {"sha": commit}
    words = ("its commit is",) if isinstance(commit, str) else ("is not the hub",)
    refused(ask(), *words)
    assert server.asked == [] and not blobs(precious.parent)


@pytest.mark.parametrize(
    "fields",
    [
        {"siblings": None},
        {"siblings": "all of them"},
        {"siblings": [{"size": 3}]},
        {"siblings": [{"rfilename": 3}]},
        {"siblings": [{"rfilename": ["unet/config.json"]}]},
        {"siblings": [{"rfilename": UNET, "lfs": {"size": 3}}]},
        {"siblings": [{"rfilename": UNET, "lfs": "yes"}]},
        {"siblings": {"unet": 3}},
    ],
    ids=range(8),
)
def test_a_description_of_the_wrong_shape(server, ask, precious, fields):
    server.fields = fields
    refused(ask(), "not the hub")


@pytest.mark.parametrize("piece", [UP, "/thesis.safetensors", "../vae/diffusion_pytorch_model.safetensors", 7])
def test_an_index_on_the_hub_that_leads_elsewhere(server, ask, precious, piece):
    server.files[f"{UNET}.index.json"] = json.dumps({"weight_map": {"a": piece}}).encode()
    server.files["unet/diffusion_pytorch_model-00001-of-00001.safetensors"] = server.files.pop(UNET)
    refused(ask(), "must say in weight_map which safetensors file beside it")


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ((200, "<html>Welcome to the airport! Log in.</html>"), "what answers in the hub's place is not the hub"),
        ((200, ""), "what answers in the hub's place is not the hub"),
        ((200, "[1, 2]"), "what answers in the hub's place is not the hub"),
        ((200, "[" * 100_000), "what answers in the hub's place is not the hub"),
        ((200, '"text"'), "what answers in the hub's place is not the hub"),
        ((401, "no"), "does not accept your token (401)"),
        ((403, "no"), "forbids it (403)"),
        ((429, "no"), "asked too often (429)"),
        ((500, "no"), "out of order (500)"),
        ((503, "<html>maintenance</html>"), "out of order (503)"),
    ],
    ids=range(10),
)
def test_answers_that_are_not_the_hubs(server, ask, precious, monkeypatch, page, words):
    server.page = page
    monkeypatch.setenv("HF_TOKEN", "hf_of_last_year")
    refused(ask(), words)


@pytest.mark.parametrize("address", ["localhost:8000", "127.0.0.1", "//127.0.0.1:9", "ftp://127.0.0.1", "htp://x"])
def test_an_address_without_http(ask, precious, address):
    refused(ask(ENDPOINT=address), f"HF_ENDPOINT is '{address}'; it must begin with https:// or http://")


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("unet/config.json", {"in_channels": 9}, "is an inpainting model"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "latent consistency models"),
        ("vae/config.json", {"latent_channels": 16}, "its VAE makes 16"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "K-LMS cannot have"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 512}, "512 tokens"),
    ],
)
def test_no_weight_comes_of_a_model_that_does_not_fit(server, ask, precious, file, changes, words):
    """The small files come first, and tell."""
    server.files[file] = json.dumps(json.loads(server.files[file]) | changes).encode()
    refused(ask(), words)
    assert server.gets() and not [name for name in server.gets() if name.endswith(".safetensors")]


@pytest.mark.parametrize("parts", [["unet"], ["unet", "vae", "text_encoder"]])
@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_a_repository_with_weights_in_16_bits_only(server, ask, toy, parts, variant):
    """They come where there is nothing else."""
    server.files.pop("unet/diffusion_pytorch_model.fp16.safetensors")
    plain = [name for name in server.files if name.startswith(tuple(parts)) and name.endswith("l.safetensors")]
    second = {name: name.replace("l.safetensors", f"l.{variant}.safetensors") for name in plain}
    for name in plain:
        server.files[second[name]] = server.files.pop(name)
    folder = found(ask())
    assert {name for name in server.gets() if name.endswith(".safetensors")} >= set(second.values())
    assert sum(name.endswith(".safetensors") for name in server.gets()) == 3
    server.asked.clear()
    assert found(ask(HF_HUB_OFFLINE=True)) == folder and server.asked == []
    assert torch.equal(sdlesson.load(folder).unet.conv_in.weight, toy.unet.conv_in.weight)


def test_a_repository_with_pieces_in_16_bits(server, ask):
    del server.files["unet/diffusion_pytorch_model.fp16.safetensors"]
    piece = "diffusion_pytorch_model.fp16-00001-of-00001.safetensors"
    server.files[f"unet/{piece}"] = server.files.pop(UNET)
    index = "unet/diffusion_pytorch_model.safetensors.index.fp16.json"
    server.files[index] = json.dumps({"weight_map": {"conv_in.weight": piece}}).encode()
    found(ask())
    assert {f"unet/{piece}", index} <= set(server.gets())


def test_what_the_cache_holds_is_what_the_hubs_own_client_finds(server, start, tmp_path):
    """Blobs by checksum, links to them, the branch's commit: as huggingface_hub would have it."""
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    folder = found(start())
    place = try_to_load_from_cache("org/toy", UNET, cache_dir=tmp_path / "hub")
    assert Path(place) == folder / UNET and folder.name == COMMIT
    report = scan_cache_dir(tmp_path / "hub")
    assert not report.warnings and [repo.repo_id for repo in report.repos] == ["org/toy"]
    assert (folder / UNET).is_symlink() and (folder / UNET).resolve().parent.name == "blobs"


def test_no_such_revision_or_model(server, start):
    refused(start(revision="wrong"), "no revision 'wrong'")
    server.refused = "GatedRepo"
    refused(start(), "licence")
    server.refused = "RepoNotFound"
    refused(start(), "no such model")
    assert server.asked == []


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Names of files -> the sentence with which a repository of them is refused, before any of it is downloaded."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def refuse(names, size=1000) -> str:
        siblings = [{"rfilename": name, "size": size, "lfs": None, "blobId": "0" * 40} for name in names]
        info = hub_info(siblings)
        monkeypatch.setattr("huggingface_hub.HfApi.repo_info", lambda *_, **__: info)
        with pytest.raises(ModelError) as caught:
            models.find("org/toy")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    yield refuse
    assert not (tmp_path / "cache" / "models--org--toy" / "blobs").exists()


def hub_info(siblings):
    from huggingface_hub.hf_api import ModelInfo

    return ModelInfo(id="org/toy", sha=COMMIT, siblings=siblings)


def names_of(folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]


def test_a_repository_of_pickles_is_not_downloaded(listed, toy_folder):
    sentence = listed([name.replace(".safetensors", ".bin") for name in names_of(toy_folder)])
    assert "pickle (text_encoder/model.bin)" in sentence and "safetensors only" in sentence


def test_a_repository_that_is_no_stable_diffusion_is_not_downloaded(listed, toy_folder):
    names = names_of(toy_folder)
    text = listed(["config.json", "model.safetensors", "tokenizer.json", "vocab.json"])
    assert "org/toy is not a whole Stable Diffusion" in text and "the vae's configuration" in text
    without = listed([name for name in names if not name.startswith(("text_encoder", "tokenizer"))])
    assert "lacks the tokenizer" in without and "the text encoder's configuration" in without
    assert "two text encoders" in listed([*names, "text_encoder_2/config.json"])


def test_a_folder_of_words_or_of_pictures_only(toy_folder, tmp_path):
    for kind, parts in {"words": ("text_encoder", "tokenizer"), "pictures": ("unet", "vae")}.items():
        for part in parts:
            shutil.copytree(toy_folder / part, tmp_path / kind / part)
    (tmp_path / "words/config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="lacks the unet's configuration .* and the vae's configuration "):
        models.find(str(tmp_path / "words"))
    with pytest.raises(ModelError, match="lacks the tokenizer .* and the text encoder's configuration "):
        models.find(str(tmp_path / "pictures"))


def test_a_cache_that_cannot_be_written_to(server, start, tmp_path):
    (tmp_path / "hub").write_text("a file where the cache should be")
    refused(start(), "blobs cannot be written")


def test_a_disk_without_room(listed, toy_folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 9 * 10**9, 10**9))
    sentence = listed(names_of(toy_folder), size=430_000_000)
    assert "needs 4.3 GB more" in sentence and "1.0 GB free" in sentence and "HF_HOME" in sentence


def test_a_disk_that_fills_up_on_the_way(tmp_path, monkeypatch):
    def full(url, stream, **_):
        stream.write(b"first bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    home = tmp_path / "models--org--toy"
    with pytest.raises(OSError, match="No space left") as caught:
        hub._fetch("org/toy", COMMIT, hub._File(UNET, 100, "0" * 64), home)
    assert not list(home.rglob("*.incomplete"))
    assert "the disk is full" in hub._reason(caught.value, None, begun=True)


def test_space_that_a_broken_download_takes_is_not_asked_for_again(tmp_path, monkeypatch):
    files = [hub._File(UNET, 10**9, "0" * 64)]
    part = hub._part(tmp_path, files[0])
    part.parent.mkdir()
    with open(part, "wb") as stream:
        stream.truncate(9 * 10**8)  # a hole: it takes no space
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 0, 2 * 10**8))
    hub._check_space("org/toy", tmp_path, files)
    part.unlink()
    with pytest.raises(ModelError, match=r"needs 1\.0 GB more"):
        hub._check_space("org/toy", tmp_path, files)


def test_what_lies_in_the_cache_and_is_no_stable_diffusion_is_told_offline(tmp_path, monkeypatch):
    (tmp_path / "model_index.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE forbids the network: .* is not a whole Stable Diffusion"):
        hub.from_hub("org/other")


def test_v1_4_and_v1_5_are_pinned_and_others_are_not(monkeypatch):
    asked = []

    def cached(name, revision, **_):
        asked.append(revision)
        raise FileNotFoundError

    monkeypatch.setattr("huggingface_hub.snapshot_download", cached)
    for name in (*hub.PINNED, "org/toy"):
        for revision in (None, "main"):
            with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
                hub.from_hub(name, revision)
    assert asked == [*(each for pin in hub.PINNED.values() for each in (pin, "main")), None, "main"]
    assert all(re.fullmatch("[0-9a-f]{40}", pin) for pin in hub.PINNED.values())


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("wished", [torch.bfloat16, torch.float32])
def test_weights_go_straight_into_the_wished_dtype(tmp_path, monkeypatch, stored, wished):
    """In pieces of the file, each closed again; whole numbers stay what they are."""
    numbers = {f"weight{n}": torch.randn(7, 5).to(stored) for n in range(9)} | {"ids": torch.arange(77)}
    save_file(numbers, tmp_path / "a.safetensors")
    monkeypatch.setattr(weights, "_MAPPED", 200)
    read = weights.read_weights([tmp_path / "a.safetensors"], wished)
    assert read.keys() == numbers.keys() and torch.equal(read["ids"], numbers["ids"])
    for name in numbers.keys() - {"ids"}:
        assert read[name].dtype == wished and torch.equal(read[name], numbers[name].to(wished))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read off Linux's /proc")
def test_no_copy_of_the_whole_file_is_in_memory(tmp_path):
    """200 MB of float32 become 100 MB of bfloat16: with the file beside them, the peak would rise by 300 MB."""
    file = tmp_path / "big.safetensors"
    save_file({f"weight{n}": torch.zeros(5_000_000) for n in range(10)}, file)
    code = f"""
import re, torch
from pathlib import Path
from sdlesson.loading import weights
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
weights._MAPPED, before = 2**24, peak()
tensors = weights.read_weights([Path({str(file)!r})], torch.bfloat16)
assert len(tensors) == 10
print(peak() - before)
"""
    assert float(subprocess.check_output([sys.executable, "-c", code])) < 200


def public(config) -> dict:
    settings = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {name: value for name, value in settings.items() if name[0] != "_"}


def test_the_parts_equal_those_of_from_pretrained(toy_folder):
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    sd = sdlesson.load(toy_folder, dtype="bfloat16")
    peers = [CLIPTextModel.from_pretrained(toy_folder / "text_encoder", dtype=torch.bfloat16)]
    for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        peers.append(kind.from_pretrained(toy_folder / part, torch_dtype=torch.bfloat16))
    for ours, peer in zip((sd.text_encoder, sd.unet, sd.vae), peers, strict=True):
        mine, theirs = (dict(each.named_parameters()) | dict(each.named_buffers()) for each in (ours, peer))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        assert {name for name in mine if mine[name].device.type != "cpu"} == set()
        assert public(ours.config) == public(peer.config)
        assert not ours.training


def test_the_names_of_2022(toy_folder):
    names = load_file(toy_folder / "vae/diffusion_pytorch_model.safetensors")
    assert all(_new_name(name) == name for name in names)
    assert _new_name("encoder.mid_block.attentions.0.proj_attn.bias") == (
        "encoder.mid_block.attentions.0.to_out.0.bias"
    )
