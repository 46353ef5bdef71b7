"""sdlesson against diffusers' StableDiffusionPipeline, both measured in this one run, by turns: `make bench`.

Same checkpoint, prompt, seed, steps, guidance scale and scheduler. Measured are one picture in a warm process, a whole
cold process from its start to out.png (time and peak memory), and the scheduler's own share of a picture. The pictures'
largest difference is printed too: a speed without the same picture counts for nothing. Each has the threads that it
takes by itself: sdlesson one for a small model, the pipeline torch's. A warm picture is measured twice: with threads
that spin while they wait for each other, as torch's do, and with such that sleep, as in the lessons.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import sdlesson
from sdlesson.loading import fit

PROMPT = "a photograph of an astronaut riding a horse"
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}

#: What someone without sdlesson would write for the same picture.
PEER = """
import sys
import torch
from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline

folder, prompt, steps, scale, seed, out = sys.argv[1:]
scheduler = LMSDiscreteScheduler({schedule})
pipe = StableDiffusionPipeline.from_pretrained(folder, scheduler=scheduler, safety_checker=None)
pipe.set_progress_bar_config(disable=True)
generator = torch.Generator("cpu").manual_seed(int(seed))
pipe(prompt, num_inference_steps=int(steps), guidance_scale=float(scale), generator=generator).images[0].save(out)
""".format(schedule=", ".join(f"{name}={value!r}" for name, value in SCHEDULE.items()))


def by_turns(ours, peer, times: int) -> tuple[list[float], list[float]]:
    """Seconds of `times` calls of each, by turns, the order changed every time."""
    spent = {ours: [], peer: []}
    for turn in range(times):
        for call in (ours, peer) if turn % 2 else (peer, ours):
            start = time.perf_counter()
            call()
            spent[call].append(time.perf_counter() - start)
    return spent[ours], spent[peer]


def report(name: str, ours: list[float], peer: list[float], unit: str = "s") -> None:
    """One line: both medians and what the peer needs for each second (or MiB) of ours."""
    a, b = statistics.median(ours), statistics.median(peer)
    digits = 0 if unit == "MiB" else 3
    low, high = min(y / x for x, y in zip(ours, peer, strict=True)), max(y / x for x, y in zip(ours, peer, strict=True))
    print(
        f"{name:<34} ours {a:8.{digits}f} {unit:<3}  peer {b:8.{digits}f} {unit:<3}  "
        f"peer/ours {b / a:5.2f}  ({low:.2f}–{high:.2f})  ours/peer {a / b:4.2f}"
    )


def warm(args) -> None:
    """One picture in a process that has painted before."""
    import numpy as np
    import torch
    from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline

    threads = torch.get_num_threads()
    sd = sdlesson.load(args.model)
    own = torch.get_num_threads()
    scale = sd.guidance_scale if args.guidance is None else args.guidance
    pipe = StableDiffusionPipeline.from_pretrained(
        args.model, scheduler=LMSDiscreteScheduler(**SCHEDULE), safety_checker=None
    )
    pipe.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": args.steps, "guidance_scale": scale}

    def ours():
        torch.set_num_threads(own)
        return sdlesson.paint(PROMPT, model=sd, seed=args.seed, **settings)[0]

    def peer():
        torch.set_num_threads(threads)
        return pipe(PROMPT, generator=torch.Generator("cpu").manual_seed(args.seed), **settings).images[0]

    difference = np.abs(np.asarray(ours(), dtype=int) - np.asarray(peer(), dtype=int))  # warms both up, too
    print(f"{'largest difference of the pictures':<34} {difference.max()} of 255 (mean {difference.mean():.4f})")
    how = "sleep" if os.environ.get("OMP_WAIT_POLICY") == "PASSIVE" else "spin"
    report(f"one picture, warm, threads {how}", *by_turns(ours, peer, args.repeat))


def scheduler_share(args) -> None:
    """The coefficients of all steps: exact integrals of Lagrange's basis against scipy's quadrature in diffusers."""
    from diffusers import LMSDiscreteScheduler

    from sdlesson.sigmas import lms_coefficients

    scheduler = LMSDiscreteScheduler(**SCHEDULE)
    scheduler.set_timesteps(args.steps)
    sigmas = scheduler.sigmas.tolist()

    def ours():
        for i in range(args.steps):
            lms_coefficients(sigmas, i, 4)

    def peer():
        for i in range(args.steps):
            order = min(i + 1, 4)
            [scheduler.get_lms_coefficient(order, i, back) for back in range(order)]

    ours(), peer()
    report("LMS coefficients of one picture", *by_turns(ours, peer, args.repeat))


def cold(args, scale: float) -> None:
    """A whole process, from its start to out.png: seconds and peak resident memory."""
    with tempfile.TemporaryDirectory() as out:
        numbers = {"steps": str(args.steps), "guidance": str(scale), "seed": str(args.seed)}
        flags = [word for name, value in numbers.items() for word in (f"--{name}", value)]
        mine = [
            sys.executable,
            "-m",
            "sdlesson",
            "paint",
            PROMPT,
            "--model",
            args.model,
            *flags,
            "-o",
            f"{out}/ours.png",
        ]
        peers = [sys.executable, "-c", PEER, args.model, PROMPT, *numbers.values(), f"{out}/peer.png"]
        seconds, memory = ([], []), ([], [])
        for turn in range(args.cold_repeat + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                spent, peak = process(mine if which == 0 else peers)
                if turn:  # the first turn fills the disk's cache
                    seconds[which].append(spent)
                    memory[which].append(peak)
        _compare_files(f"{out}/ours.png", f"{out}/peer.png")
    report("a whole process, cold", *seconds)
    report("its peak memory", *memory, unit="MiB")


def process(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident MiB of one child process; raises CalledProcessError if it fails."""
    start = time.perf_counter()
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}  # each takes its own
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=plain)
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.stderr.write(said.decode())
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _compare_files(ours: str, peer: str) -> None:
    import numpy as np
    from PIL import Image

    a, b = (np.asarray(Image.open(name).convert("RGB"), dtype=int) for name in (ours, peer))
    print(f"{'largest difference of the files':<34} {np.abs(a - b).max()} of 255")


def _quiet() -> None:
    """No advice and no progress bars of the libraries among the figures."""
    import diffusers
    import transformers

    warnings.simplefilter("ignore")
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a folder in Diffusers layout (default: the bundled model)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, help="guidance scale (default: the model's own)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeat", type=int, default=8, help="warm pictures of each")
    parser.add_argument("--warm", action="store_true", help="warm pictures alone, in this process, as its threads wait")
    parser.add_argument("--cold-repeat", type=int, default=3, help="cold processes of each")
    args = parser.parse_args()
    args.model = args.model or str(sdlesson.checkpoint_path())
    _quiet()
    if args.warm:
        warm(args)
        return
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for policy in ({}, {"OMP_WAIT_POLICY": "PASSIVE"}):
        subprocess.run([sys.executable, *sys.argv, "--warm"], env=plain | policy, check=True)
    scheduler_share(args)
    recommended = fit.recommended(Path(args.model)).get("guidance_scale", 8.0)
    cold(args, recommended if args.guidance is None else args.guidance)


if __name__ == "__main__":
    main()
