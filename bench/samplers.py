"""The samplers on the UNet: error against 1000 steps of Heun, calls and seconds; and ours against diffusers' own.

    make bench-samplers                          the whole table, some minutes
    make bench-samplers ARGS="--reference 100"   a shorter reference

Every line prints what was measured in this run. The last lines paint one picture with ours and with diffusers'
scheduler, by turns, with the same UNet, and print the ratio of their times.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from functools import partial

import diffusers
import torch

import sdlesson
from sdlesson import samplers
from sdlesson.latents import initial_noise, seeded
from sdlesson.models import ARTICLE_SCHEDULE
from sdlesson.sigmas import schedule, training_sigmas

PROMPT = "a photograph of an astronaut riding a horse"
SAMPLERS = {
    "Euler": samplers.euler,
    "Heun": samplers.heun,
    "LMS 2": partial(samplers.lms, order=2),
    "LMS 3": partial(samplers.lms, order=3),
    "LMS 4": samplers.lms,
    "LMS 4, landing": partial(samplers.lms, land=True),
    "DPM++ 2M": samplers.dpmpp_2m,
    "DDIM": samplers.ddim,
    "Euler ancestral": samplers.euler_ancestral,  # its "error" does not fall: it has no end to come nearer to
}
PEERS = {
    "Euler": "EulerDiscreteScheduler",
    "Heun": "HeunDiscreteScheduler",
    "LMS 4": "LMSDiscreteScheduler",
    "DPM++ 2M": "DPMSolverMultistepScheduler",
}


class Run:
    """One model, one prompt, one noise: a walk with any sampler and any levels, timed."""

    def __init__(self, sd, seed: int, guidance: float | None):
        self.model = samplers.Denoiser(sd, PROMPT, guidance_scale=guidance)
        self.noise = initial_noise(1, *sd.size, generator=seeded(seed), factor=sd.vae_factor).to(sd.device)
        all_sigmas = training_sigmas(sd.scheduler.alphas_cumprod)
        self.levels = {
            "default": partial(schedule, all_sigmas=all_sigmas),
            "Karras": partial(samplers.karras_sigmas, sigma_max=all_sigmas[-1], sigma_min=all_sigmas[0]),
        }
        self.model(self.noise, 1.0)  # warm

    def walk(self, sampler, steps: int, levels: str):
        """The last latents, the calls and the seconds."""
        sigmas = self.levels[levels](steps).tolist()
        options = {"generator": seeded(1)} if sampler is samplers.euler_ancestral else {}
        model, start = samplers.Counted(self.model), time.perf_counter()
        x = samplers.end(sampler(model, self.noise * sigmas[0], sigmas, **options))
        return x, model.calls, time.perf_counter() - start


def table(run: Run, reference: int, counts: list[int]) -> None:
    """Sampler, levels, steps, calls, error, seconds a picture."""
    truth, calls, seconds = run.walk(samplers.heun, reference, "default")
    print(f"reference: Heun, {reference} steps, default levels, {calls} calls, {seconds:.0f} s")
    short, calls, seconds = run.walk(samplers.dpmpp_2m, 50, "Karras")
    print(
        f"the lesson's reference: DPM++ 2M, {calls} calls, error {samplers.error(short, truth):.5f}, {seconds:.1f} s\n"
    )
    print(f"{'sampler':16} {'levels':8} {'steps':>5} {'calls':>5} {'error':>8} {'s a picture':>12}")
    for levels in run.levels:
        for name, sampler in SAMPLERS.items():
            for budget in counts:
                steps = (budget + 1) // 2 if name == "Heun" else budget
                x, calls, seconds = run.walk(sampler, steps, levels)
                print(f"{name:16} {levels:8} {steps:5} {calls:5} {samplers.error(x, truth):8.4f} {seconds:12.2f}")


def by_diffusers(run: Run, scheduler, steps: int):
    """The last latents of diffusers' scheduler, with the same denoiser's UNet."""
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    model, x = run.model, run.noise * float(scheduler.init_noise_sigma)
    texts = model.embeddings
    for t in scheduler.timesteps:
        twice = scheduler.scale_model_input(torch.cat([x] * len(texts)), t)
        with torch.no_grad():
            output = model.sd.unet(twice.to(model.sd.dtype), t, encoder_hidden_states=texts).sample.float()
        if len(texts) == 2:
            uncond, text = output.chunk(2)
            output = uncond + model.scale * (text - uncond)
        x = scheduler.step(output, t, x, return_dict=False)[0]
    return x


def against_diffusers(run: Run, steps: int, repeat: int) -> None:
    """Seconds of ours and of diffusers' scheduler, by turns, and their ratio."""
    print(f"\n{steps} steps, median of {repeat} by turns: ours, diffusers' scheduler, diffusers/ours (lowest-highest)")
    for name, kind in PEERS.items():
        peer = getattr(diffusers, kind)(**ARTICLE_SCHEDULE)
        works = [partial(run.walk, SAMPLERS[name], steps, "default"), partial(by_diffusers, run, peer, steps)]
        spent = ([], [])
        for turn in range(repeat + 1):  # the first one warms up
            for which in (0, 1) if turn % 2 else (1, 0):
                start = time.perf_counter()
                works[which]()
                if turn:
                    spent[which].append(time.perf_counter() - start)
        ours, theirs = map(statistics.median, spent)
        ratios = [b / a for a, b in zip(*spent, strict=True)]
        print(f"{name:16} {ours:6.3f} s {theirs:6.3f} s   {theirs / ours:5.2f}  ({min(ratios):.2f}-{max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--reference", type=int, default=1000, help="steps of Heun that stand for the true end")
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20, 40], help="budgets of UNet calls")
    parser.add_argument("--guidance", type=float, help="guidance scale (default: the model's own)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeat", type=int, default=5, help="timed pictures of each in the comparison")
    args = parser.parse_args()
    run = Run(sdlesson.load(args.model), args.seed, args.guidance)
    table(run, args.reference, args.counts)
    against_diffusers(run, 20, args.repeat)


if __name__ == "__main__":
    main()
