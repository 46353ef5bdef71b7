"""The live page in Chromium: what travels, how soon it answers, how near its pictures are to torch's.

    make bench-live                                    the page; needs `make live` before, takes a minute
    make bench-live ARGS="--weights --captions 200"    as they ship, float16, 8 bits: packed size, pictures

A bare script is what ONNX Runtime's own guide shows: sessions, a loop of runs, no worker, no events. It and the page
paint by turns, on the same graphs. Every number is of this run on this machine.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from browser.lab import browser  # noqa: E402
from live_site import BUILT, serve  # noqa: E402

import sdlesson  # noqa: E402
from sdlesson.decoding import paint  # noqa: E402
from sdlesson.tiny import export_onnx, quality  # noqa: E402
from sdlesson.world.classifier import load_classifier  # noqa: E402

PROMPT = "a photograph of an astronaut riding a horse"
ROUNDS = 5

BARE = """async () => {
    const ort = await import('../vendor/ort.js'), { Files, widened } = await import('./files.js');
    const { schedule, scale_model_input, LMS } = await import('./sigmas.js'), { guide } = await import('./guidance.js');
    const { initial_noise } = await import('./noise.js'), { Tokens77 } = await import('./tokens.js');
    const files = new Files(new URL('../model/', location.href)), info = await files.open();
    const json = async name => JSON.parse(new TextDecoder().decode(await files.take(name)));
    const tokens = new Tokens77(await json('tokenizer.json'), await json('tokenizer_config.json'), []);
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = await files.take('ort.wasm');
    const sessions = {};
    for (const part of ['text_encoder', 'vae_decoder', 'unet']) {
        const graph = new Uint8Array(await files.take(`${part}.onnx`));
        const data = new Uint8Array(widened(await files.take(`${part}.weights`)).buffer);
        sessions[part] = await ort.InferenceSession.create(graph, {
            executionProviders: ['wasm'], graphOptimizationLevel: 'disabled',
            externalData: [{ path: `${part}.weights`, data }] });
    }
    window.bare = async prompt => {
        const start = performance.now(), embeddings = [];
        for (const words of ['', prompt]) {
            const input_ids = new ort.Tensor('int64', BigInt64Array.from(tokens.read(words).ids, BigInt), [1, 77]);
            embeddings.push(...(await sessions.text_encoder.run({ input_ids })).text_embeddings.data);
        }
        const text_embeddings = new ort.Tensor('float32', Float32Array.from(embeddings), [2, 77, 128]);
        const { sigmas, timesteps } = schedule(20), memory = new LMS(sigmas);
        let x = initial_noise(info.latents, 42).data.map(value => value * sigmas[0]);
        for (let i = 0; i < 20; i++) {
            const scaled = scale_model_input(x, sigmas[i]), sample = new Float32Array(2 * scaled.length);
            sample.set(scaled);
            sample.set(scaled, scaled.length);
            const inputs = { sample: new ort.Tensor('float32', sample, [2, 4, 16, 16]), text_embeddings,
                timestep: new ort.Tensor('float32', [timesteps[i]], []) };
            const found = await sessions.unet.run(inputs, ['noise_uncond', 'noise_text']);
            x = memory.step(x, guide(found.noise_uncond.data, found.noise_text.data, info.defaults.guidance_scale), i);
        }
        const latents = new ort.Tensor('float32', x.map(value => value / info.scaling_factor), info.latents);
        await sessions.vae_decoder.run({ latents });
        return performance.now() - start;
    };
}"""

MACHINE = """async () => {
    const { openMachine } = await import('./client.js');
    window.machine = openMachine();
    await window.machine.load();
    window.paint = async options => {
        const start = performance.now();
        let picture;
        for await (const event of window.machine.paint(options)) picture = event.picture ?? picture;
        return [performance.now() - start, [...picture.data].filter((_, k) => k % 4 < 3)];
    };
}"""


def travels(folder: Path) -> dict[str, int]:
    """Packed bytes of a visit, by kind: what is not packed already is counted as a server packs it."""
    sizes = {"weights and graphs": 0, "runtime": 0, "page and example": 0}
    for path in (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".LICENSE"):
        content = path.read_bytes()
        packed = path.suffix in (".bin", ".webp")
        runtime = path.name.startswith("ort") or path.parent.name == "vendor"
        kind = "runtime" if runtime else "weights and graphs" if path.parent.name == "model" else "page and example"
        sizes[kind] += len(content) if packed else len(gzip.compress(content, 6))
    return sizes


def renderer() -> float:
    """MB that the largest renderer of the browser's processes has for itself."""
    found = [each for each in psutil.Process().children(recursive=True) if "--type=renderer" in each.cmdline()]
    return max(each.memory_full_info().uss for each in found) / 1e6 if found else float("nan")


def page() -> None:
    """Print the table of the page."""
    sizes = travels(BUILT)
    rows = [(f"travels: {kind}", f"{size / 1e6:.2f} MB") for kind, size in sizes.items()]
    rows.append(("travels: all (at most 22 MB with float16)", f"{sum(sizes.values()) / 1e6:.2f} MB"))
    with tempfile.TemporaryDirectory() as work, serve(Path(work)) as site, browser() as chrome:
        seen = {"view": [], "ready": []}
        for _ in range(3):
            context = chrome.new_context()  # nothing kept from before
            tab = context.new_page()
            start = time.perf_counter()
            tab.goto(site.address, wait_until="commit")
            tab.locator("#film canvas").first.wait_for()
            seen["view"].append(time.perf_counter() - start)
            tab.get_by_text("The model is live").first.wait_for()
            seen["ready"].append(time.perf_counter() - start)
            context.close()
        rows.append(("first view (at most 1 s)", f"{statistics.median(seen['view']):.2f} s"))
        rows.append(("model ready (at most 3 s)", f"{statistics.median(seen['ready']):.2f} s"))

        tab = chrome.new_page()
        tab.goto(f"{site.address}core/errors.js")
        tab.evaluate(MACHINE)
        first, given = tab.evaluate("options => paint(options)", {"prompt": PROMPT})
        alone = renderer()
        tab.evaluate(BARE)
        tab.evaluate("prompt => bare(prompt)", PROMPT)
        pairs = [
            (tab.evaluate("prompt => bare(prompt)", PROMPT), tab.evaluate("o => paint(o)", {"prompt": PROMPT})[0])
            for _ in range(ROUNDS)
        ]
        bare, plain = (statistics.median(each) / 1000 for each in zip(*pairs, strict=True))
        shown = {"prompt": PROMPT, "previews": ["picture", "attention", "features"]}
        few = {"prompt": PROMPT, "previews": ["attention", "features"]}
        every, inner = (
            statistics.median(tab.evaluate("o => paint(o)", options)[0] for _ in range(3)) / 1000
            for options in (shown, few)
        )
        rows += [
            ("20 guided steps, bare script", f"{bare:.2f} s"),
            ("20 guided steps, the page's machine, first time", f"{first / 1000:.2f} s"),
            ("20 guided steps, the page's machine (aim 1.2 s)", f"{plain:.2f} s"),
            ("machine / bare (at most 1.15)", f"{plain / bare:.2f}"),
            ("with attention and features", f"{inner:.2f} s"),
            ("with all previews, each step decoded (at most 2.5 s)", f"{every:.2f} s"),
            ("tab's memory after a picture (at most 400 MB)", f"{alone:.0f} MB"),
        ]
        expected = np.asarray(paint(PROMPT, model="tiny", seed=42)[0]).ravel().astype(int)
        far = np.abs(expected - np.array(given))
        rows.append(("picture against torch, float32 (at most 2 levels)", f"{far.max()}, mean {far.mean():.3f}"))
    table(rows)


def in_float16(weight: torch.Tensor) -> torch.Tensor:
    """A weight in float16, as float32."""
    return weight.half().float()


def as_it_ships(weight: torch.Tensor) -> torch.Tensor:
    """A weight as the page's files hold it: in float16 where that loses nothing, else in 24 bits."""
    return torch.from_numpy(export_onnx.widened(export_onnx.packed(weight.numpy().ravel()))).view(weight.shape)


def in_8_bits(weight: torch.Tensor) -> torch.Tensor:
    """A weight in 8 bits with one scale a row (output channel), as float32; what has one side stays in float16."""
    if weight.dim() < 2:
        return in_float16(weight)
    scale = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12).view(-1, *[1] * (weight.dim() - 1)) / 127
    return (weight / scale).round() * scale


def packed_size(parts, bits: int) -> int:
    """Bytes of the weights of `parts` in 8, 16 or, as the page's files are, 16 and 24 bits (0), packed by gzip."""
    content = b""
    for weight in (each.detach() for part in parts for each in part.parameters()):
        if bits == 0:
            content += export_onnx.packed(weight.numpy().ravel())
        elif bits == 8 and weight.dim() > 1:
            scale = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12).view(-1, *[1] * (weight.dim() - 1)) / 127
            content += (weight / scale).round().to(torch.int8).numpy().tobytes() + scale.half().numpy().tobytes()
        else:
            content += weight.half().numpy().view(np.uint8).reshape(-1, 2).T.tobytes()
    return len(gzip.compress(content, 9))


def weights(captions: int) -> None:
    """Print the table that tells float16 from 8 bits, by `captions` pictures of each."""
    sd, classifier = sdlesson.load("tiny", device="cpu"), load_classifier()
    scenes = quality.exam_scenes(captions, heldout=False)
    setting, rows, expected = quality.Setting(sd.guidance_scale), [], None
    ways = {"float32": (None, 32), "as it ships": (as_it_ships, 0), "float16": (in_float16, 16)}
    for name, (rounding, bits) in (ways | {"8 bits": (in_8_bits, 8)}).items():
        kind = copy.deepcopy(sd)
        parts = [kind.text_encoder, kind.unet, kind.vae.decoder, kind.vae.post_quant_conv]
        size = packed_size(parts, bits) / 1e6 if bits < 32 else float("nan")
        with torch.no_grad():
            for weight in (each for part in parts for each in part.parameters() if rounding):
                weight.copy_(rounding(weight))
        pictures = quality.paint_scenes(kind, scenes, setting)
        expected = expected or pictures
        levels, right = (np.stack([np.asarray(each, int) for each in drawn]) for drawn in (pictures, expected))
        far = np.abs(levels - right)
        told = quality.adherence(classifier, scenes, pictures)
        means = far.mean(axis=(1, 2, 3))
        line = f"{size:6.2f} MB, levels: mean {means.mean():.3f} (worst picture {means.max():.2f}), most {far.max()}"
        rows.append((name, f"{line}; follows: {', '.join(f'{key} {value:.3f}' for key, value in told.items())}"))
    table(rows)


def table(rows) -> None:
    """Print names and values in two columns."""
    wide = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{wide}}  {value}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--weights", action="store_true", help="as they ship, in float16 and in 8 bits, in Python")
    options.add_argument("--captions", type=int, default=20, help="pictures of each kind (default 20)")
    given = options.parse_args()
    print(f"{os.cpu_count()} cores, torch {torch.__version__}")
    weights(given.captions) if given.weights else page()


if __name__ == "__main__":
    main()
