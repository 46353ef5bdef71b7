"""A whole picture of the real size, ours against diffusers' StableDiffusionPipeline, in one run: `make bench-full`.

    make bench-full                                     writes the stand-in of v1.4 (2.1 GB) first, if it is not there
    make bench-full ARGS="--model FOLDER --steps 20"    a stand-in, or v1.4 itself, in FOLDER

Each picture is painted by a process of its own, from its start to the PNG, by turns: `sdlesson paint` (on a CPU by
OpenVINO, where that is installed), the same in little memory, OpenVINO alone (a short script on the same converted
files), the pipeline with its defaults, and the pipeline as its documentation advises (the device's fast dtype,
channels_last). Same files, prompt, seed, steps, guidance scale and K-LMS; the model is converted before the first one.
Printed are seconds for each UNet call and for the VAE, the whole time, peak resident memory, the pictures' difference,
and what share of this machine's matrix rate the steps reach. The table goes to sdlesson/engine/full_size.json, where
the lesson on the full size reads it; other machines' rows stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from against_pipeline import PROMPT, process
from stand_in import write_stand_in

from sdlesson import BadInput
from sdlesson.engine.conversion import converted
from sdlesson.engine.lean import fast_dtype
from sdlesson.engine.measured import MEASURED, Measured, keep_measured, read_measured
from sdlesson.engine.openvino import computes_in, is_installed
from sdlesson.fullsize import GIB, empty_parts, flops, matmul_rate
from sdlesson.loading.writing import check_writable

#: Before the work: clocks on the UNet and the VAE, the same for all. argv: the file for the times, then the rest.
CLOCKS = """
import atexit, json, sys, time
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
times, spent = sys.argv.pop(1), {"unet": [], "vae": []}

def clock(kind, name, into):
    inner = getattr(kind, name)
    def timed(*args, **options):
        start = time.perf_counter()
        output = inner(*args, **options)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        into.append(time.perf_counter() - start)
        return output
    setattr(kind, name, timed)

clock(UNet2DConditionModel, "forward", spent["unet"])
clock(AutoencoderKL, "decode", spent["vae"])
if "sdlesson" in sys.argv[-1]:
    from sdlesson.engine.openvino import CompiledUNet, CompiledVAE
    clock(CompiledUNet, "__call__", spent["unet"])
    clock(CompiledVAE, "decode", spent["vae"])
atexit.register(lambda: open(times, "w").write(json.dumps(spent)))
"""

OURS = """
from sdlesson.cli import main
folder, prompt, steps, scale, seed, out, dtype, way = sys.argv[1:]
more = ["--dtype", dtype] + ["--low-memory"] * ("lean" in way)
main(["paint", prompt, "--model", folder, "--steps", steps, "--guidance", scale, "--seed", seed, "-o", out, *more])
"""

#: The least that paints with OpenVINO: the converted files, the text encoder of transformers, K-LMS of diffusers.
ALONE = """
from pathlib import Path
from diffusers import LMSDiscreteScheduler
from diffusers.models.embeddings import Timesteps
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer
from sdlesson.engine.conversion import converted
from sdlesson.engine.openvino import core
folder, prompt, steps, scale, seed, out, dtype, _ = sys.argv[1:]
place, options = converted(Path(folder)), {"PERFORMANCE_HINT": "LATENCY"}
options["INFERENCE_PRECISION_HINT"] = {"float32": "f32", "bfloat16": "bf16"}[dtype]
tokenizer = CLIPTokenizer.from_pretrained(folder + "/tokenizer")
ids = tokenizer(["", prompt], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
with torch.no_grad():
    texts = CLIPTextModel.from_pretrained(folder + "/text_encoder", dtype=torch.float32)(ids)[0].numpy()
about = UNet2DConditionModel.load_config(folder + "/unet")
shape = [1, about["in_channels"], about["sample_size"], about["sample_size"]]
width, scaling = about["block_out_channels"][0], AutoencoderKL.load_config(folder + "/vae")["scaling_factor"]
waves = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)

def compiled(part, shapes):
    model = core().read_model(f"{place}/{part}.xml")
    model.reshape(dict(zip(model.inputs, shapes)))
    return core().compile_model(model, "CPU", options)

def timed(into, work, *given):
    start = time.perf_counter()
    output = work(given)[0]
    into.append(time.perf_counter() - start)
    return output

scheduler = LMSDiscreteScheduler.from_pretrained(folder + "/scheduler")
scheduler.set_timesteps(int(steps))
latents = torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) * scheduler.init_noise_sigma
guess = compiled("unet", [[2, *shape[1:]], [2, width], list(texts.shape)])
for t in scheduler.timesteps:
    x = scheduler.scale_model_input(torch.cat([latents] * 2), t)
    given = x.numpy(), waves(t.expand(2)).numpy(), texts
    plain, text = torch.from_numpy(timed(spent["unet"], guess, *given)).chunk(2)
    latents = scheduler.step(plain + float(scale) * (text - plain), t, latents).prev_sample
del guess
decode = compiled("vae", [shape])
picture = timed(spent["vae"], decode, latents.numpy() / scaling)[0].transpose(1, 2, 0)
Image.fromarray(((picture / 2 + 0.5).clip(0, 1) * 255).round().astype("uint8")).save(out)
"""

#: What someone without sdlesson would write; the last argument is the advised dtype, or empty.
PEER = """
from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline
folder, prompt, steps, scale, seed, out, advised, _ = sys.argv[1:]
dtype = getattr(torch, advised or "float32")  # without it files of 16 bits give a text encoder that fits no UNet
pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=dtype)
pipe.scheduler = LMSDiscreteScheduler.from_config(pipe.scheduler.config)  # K-LMS, with what the folder says of it
pipe = pipe.to("cuda" if torch.cuda.is_available() else "cpu")
if advised:
    for part in (pipe.unet, pipe.vae):
        part.to(memory_format=torch.channels_last)
pipe.set_progress_bar_config(disable=True)
generator = torch.Generator("cpu").manual_seed(int(seed))
pipe(prompt, num_inference_steps=int(steps), guidance_scale=float(scale), generator=generator).images[0].save(out)
"""

WAYS = {
    "sdlesson": OURS,
    "sdlesson, lean": OURS,
    "OpenVINO alone": ALONE,
    "pipeline, defaults": PEER,
    "pipeline, as advised": PEER,
}


def device_name(device: torch.device, dtype: torch.dtype) -> str:
    """The machine in words: its GPU, or the CPU's threads and units, and whether `dtype` is not its own choice."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    kind = torch.backends.cpu.get_cpu_capability()
    units = " and bfloat16 units" if fast_dtype(device) == torch.bfloat16 else ""
    told = "" if dtype == fast_dtype(device) else f", told to compute in {str(dtype).removeprefix('torch.')}"
    return f"{torch.get_num_threads()} threads of a {platform.machine()} CPU with {kind}{units}{told}"


def paint(way: str, args, dtype: torch.dtype, folder: Path) -> tuple[dict, Path]:
    """Paint one picture in a process of its own; its seconds and its peak memory in GiB, and the picture's file."""
    out, times = folder / f"{way}.png", folder / f"{way}.json"
    given = "" if way.endswith("defaults") else str(dtype).removeprefix("torch.")
    numbers = [str(args.steps), str(args.guidance), str(args.seed)]
    code = CLOCKS + WAYS[way]
    whole, mib = process(
        [sys.executable, "-c", code, str(times), str(args.model), PROMPT, *numbers, str(out), given, way]
    )
    spent = json.loads(times.read_text())
    step, vae = statistics.median(spent["unet"]), sum(spent["vae"])
    print(f"{way:<22} {whole:7.1f} s   step {step:6.2f} s   VAE {vae:6.2f} s   peak {mib * 2**20 / GIB:5.2f} GiB")
    return {"seconds": whole, "step_seconds": step, "vae_seconds": vae, "gib": mib * 2**20 / GIB}, out


def differences(one: Path, other: Path) -> tuple[float, float]:
    """The largest and the mean difference of two pictures, in levels of 255."""
    from PIL import Image

    from sdlesson.decoding import level_differences

    levels = level_differences(Image.open(one), Image.open(other)).double()
    return float(levels.max()), round(float(levels.mean()), 4)


def measure(args) -> list[Measured]:
    """All ways by turns, `args.turns` times; the medians of each as one row."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, args.dtype) if args.dtype else fast_dtype(device)
    name = device_name(device, dtype)
    dtypes = {way: torch.float32 if way.endswith("defaults") else dtype for way in WAYS}
    work = sum(flops(empty_parts())["unet"].values())
    rates = {kind: matmul_rate(kind, device, size=2048, least=2) for kind in set(dtypes.values())}
    for kind, rate in rates.items():
        print(f"{name}: {rate / 1e9:.0f} GFLOP/s in {kind}; a guided step has {work / 1e9:.0f} GFLOP")
    if device.type == "cpu" and is_installed() and computes_in(dtype):
        converted(args.model)
    else:
        args.ways = [way for way in args.ways if way != "OpenVINO alone"]
    took, files = {way: [] for way in args.ways}, {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.turns):
            for way in args.ways if turn % 2 == 0 else reversed(args.ways):
                numbers, files[way] = paint(way, args, dtype, Path(folder))
                took[way].append(numbers)
        base = files.get("pipeline, defaults") or next(iter(files.values()))
        apart = {way: differences(file, base) for way, file in files.items()}
    rows = []
    for way, each in took.items():
        median = {key: round(statistics.median(one[key] for one in each), 3) for key in each[0]}
        label, limit = str(dtypes[way]).removeprefix("torch."), round(work / rates[dtypes[way]], 3)
        rows.append(Measured(way, name, label, args.steps, **median, limit_seconds=limit, levels=apart[way]))
    return rows


def report(rows: list[Measured]) -> None:
    """The ratios to the first row, ours, and each one's share of the machine's matrix rate."""
    ours = rows[0]
    for row in rows:
        print(
            f"{row.way:<22} {row.dtype:<9} picture {row.seconds:7.1f} s   step {row.step_seconds:6.2f} s = "
            f"{row.limit_seconds / row.step_seconds:4.0%} of the limit   {row.gib:5.2f} GiB   "
            f"levels apart: {row.levels[0]:.0f} at most, {row.levels[1]:.3f} on average"
        )
        if row is not ours:
            print(
                f"    ours/{row.way}: picture {ours.seconds / row.seconds:.2f}, step "
                f"{ours.step_seconds / row.step_seconds:.2f}, VAE {ours.vae_seconds / row.vae_seconds:.2f}, "
                f"memory {ours.gib / row.gib:.2f}"
            )


def main() -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sdlesson"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=home / "stand-in-v1.4", help="a folder in Diffusers layout")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="as on a processor that is fast in this one")
    parser.add_argument("--turns", type=int, default=1, help="pictures of each way")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument(
        "-o", type=Path, default=MEASURED, help="the table (default: the one that the lesson on the full size reads)"
    )
    args = parser.parse_args()
    if args.o == MEASURED and (args.ways != list(WAYS) or args.steps != parser.get_default("steps")):
        parser.error("the lesson's table is for all ways and their usual steps: name another one with -o")
    try:  # told before the measuring, not after it
        check_writable(args.o)
        read_measured(args.o)
    except BadInput as error:
        parser.error(str(error))
    if not args.model.exists():
        args.model.parent.mkdir(parents=True, exist_ok=True)
        print(f"writing the stand-in of v1.4 to {args.model}")
        write_stand_in(args.model, "v1.4", "float16")
    rows = measure(args)
    report(rows)
    keep_measured(rows, args.o)


if __name__ == "__main__":
    main()
