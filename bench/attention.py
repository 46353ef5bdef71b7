"""What recording attention costs: a whole run with and without the recorder, by turns: `make bench-attention`.

Same prompt, seed, steps and guidance scale. The latents' largest difference is printed too: it has to be 0.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import sdlesson

PROMPT = "a photograph of an astronaut riding a horse"


def by_turns(calls, times: int) -> list[list[float]]:
    """Seconds of `times` calls of each, by turns, the order reversed every time."""
    spent = [[] for _ in calls]
    for turn in range(times):
        for which in sorted(range(len(calls)), reverse=bool(turn % 2)):
            start = time.perf_counter()
            calls[which]()
            spent[which].append(time.perf_counter() - start)
    return spent


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="tiny, a hub id or a folder in Diffusers layout (default: the bundled model)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeat", type=int, default=8, help="runs of each")
    args = parser.parse_args()

    from sdlesson.attention import record_attention
    from sdlesson.guidance import denoise

    sd = sdlesson.load(args.model)

    def plain():
        *_, end = denoise(sd, PROMPT, num_inference_steps=args.steps, seed=args.seed)
        return end.latents

    def recorded(**options):
        with record_attention(sd.unet, **options) as heat:
            latents = plain()
        return latents, sum(each.nbytes for kept in heat.layers.values() for each in kept) / 2**20

    def each_head():
        return recorded(heads=True, keep="all")

    difference = (plain() - recorded()[0]).abs().max().item()  # warms both up, too
    print(f"{'largest difference of the latents':<38} {difference:g}")
    kept = {"with the recorder": recorded()[1], "with it, each head and both halves": each_head()[1]}
    without, *others = by_turns([plain, recorded, each_head], args.repeat)
    base = statistics.median(without)
    print(f"{'without the recorder':<38} {base:6.3f} s")
    for (name, size), spent in zip(kept.items(), others, strict=True):
        ratios = [x / y for x, y in zip(spent, without, strict=True)]
        print(
            f"{name:<38} {statistics.median(spent):6.3f} s  ratio {statistics.median(ratios):.2f}  "
            f"({min(ratios):.2f}–{max(ratios):.2f})  keeps {size:.1f} MiB"
        )


if __name__ == "__main__":
    main()
