"""The real size: what Stable Diffusion v1.4 weighs, what it computes, and how a machine carries it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .figures import BLUE, GREEN, INK, ORANGE, PALE, PINK, new_figure, open_axes
from .files import whole_file
from .models import BadInput, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.nn import Module

#: What the configurations on the hub hold, as far as it shapes the parts.
SHAPES = {
    "v1.4": {
        "text": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu"},
        "unet": {"attention_head_dim": 8},
        "pad": "<|endoftext|>",
        "parameters": {"unet": 859_520_964, "text_encoder": 123_060_480, "vae": 83_653_863},
    },
    "v2.1-base": {
        "text": {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"},
        "unet": {"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
        "pad": "!",
        "parameters": {"unet": 865_910_724, "text_encoder": 340_387_840, "vae": 83_653_863},
    },
}
VOCABULARY = 49408
GIB = 2**30

#: Times and memory of whole pictures, as `make bench-full` measured them, one entry for each machine and way.
MEASURED = Path(__file__).parent / "full_size.json"

#: GiB of Python with torch, diffusers and transformers before any weight is there (Linux, torch 2.13 for the CPU).
LIBRARIES = 0.45

_COLOURS = {"libraries": PALE, "text_encoder": BLUE, "unet": ORANGE, "vae": GREEN, "working": PINK}
_NAMES = {"text_encoder": "text encoder", "unet": "UNet", "vae": "VAE"}
_KINDS = {"convolution": "convolutions", "addmm": "matrices", "mm": "matrices"}  # torch's name -> ours; else attention


@dataclass(frozen=True)
class Measured:
    """One whole picture of the real size: who painted it, where, how, and what it took.

    `step_seconds` is the median of the UNet calls, `gib` the process's peak resident memory, `limit_seconds` the FLOPs
    of one guided step by the matrix rate of the same machine and dtype, `levels` the largest and the mean difference
    to the peer's float32 picture, of 255.
    """

    way: str
    device: str
    dtype: str
    steps: int
    seconds: float
    step_seconds: float
    vae_seconds: float
    gib: float
    limit_seconds: float
    levels: tuple[float, float]


def empty_parts(model: str = "v1.4", divide: int = 1, size: int = 512) -> dict[str, Module]:
    """The text encoder, UNet and VAE of `model` ("v1.4", "v2.1-base") without memory: on the device "meta".

    `divide` divides every width; `size` is the side of the pictures in pixels, a multiple of 64.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    shapes = SHAPES[model]
    text, unet = dict(shapes["text"]), dict(shapes["unet"])
    text["hidden_size"] //= divide
    text["num_attention_heads"] = math.gcd(text["num_attention_heads"], text["hidden_size"])
    wide, narrow = ([width // divide for width in widths] for widths in ((320, 640, 1280, 1280), (128, 256, 512, 512)))
    if isinstance(heads := unet["attention_head_dim"], int):  # by its name a width; it counts the heads
        unet["attention_head_dim"] = math.gcd(heads, wide[0])
    else:
        unet["attention_head_dim"] = [math.gcd(each, width) for each, width in zip(heads, wide, strict=True)]
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}  # odd, and so on the hub
    with torch.device("meta"), quiet():
        return {
            "text_encoder": CLIPTextModel(
                CLIPTextConfig(vocab_size=VOCABULARY, intermediate_size=4 * text["hidden_size"], **text, **ids)
            ),
            "unet": UNet2DConditionModel(
                sample_size=size // 8,
                block_out_channels=wide,
                cross_attention_dim=text["hidden_size"],
                norm_num_groups=math.gcd(32, wide[0]),
                **unet,
            ),
            "vae": AutoencoderKL(
                sample_size=size,
                block_out_channels=narrow,
                down_block_types=["DownEncoderBlock2D"] * 4,
                up_block_types=["UpDecoderBlock2D"] * 4,
                layers_per_block=2,
                norm_num_groups=math.gcd(32, narrow[0]),
            ),
        }


def count(parts: Mapping[str, Module]) -> dict[str, int]:
    """The number of parameters of each part."""
    return {name: sum(each.numel() for each in part.parameters()) for name, part in parts.items()}


def weights_gib(numbers: Mapping[str, int], dtype: torch.dtype) -> dict[str, float]:
    """What so many numbers of each part fill in `dtype`, in GiB (2^30 bytes)."""
    return {name: number * dtype.itemsize / GIB for name, number in numbers.items()}


def flops(parts: Mapping[str, Module]) -> dict[str, dict[str, int]]:
    """Additions and multiplications of one call, part -> kind of layer -> number, counted on the shapes alone.

    The UNet's call is a guided one (two pictures), the text encoder's has two texts, the VAE decodes one picture. Kinds
    are convolutions, matrices (linear layers) and attention. `parts` are those of `empty_parts`.
    """
    return {name: _counted(call) for name, call in _calls(parts).items()}


def _calls(parts: Mapping[str, Module]) -> dict:
    """What each part does for one picture, as functions of no arguments, on shapes alone."""
    unet, vae, text = parts["unet"], parts["vae"], parts["text_encoder"]
    side, width = unet.config.sample_size, unet.config.cross_attention_dim
    with torch.device("meta"):
        latents, embeddings = torch.empty(2, 4, side, side), torch.empty(2, 77, width)
        ids = torch.empty(2, 77, dtype=torch.long)
    return {
        "text_encoder": lambda: text(ids),
        "unet": lambda: unet(latents, 0, encoder_hidden_states=embeddings),
        "vae": lambda: vae.decode(latents[:1]),
    }


def working_gib(parts: Mapping[str, Module], dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """What the largest layer of each part takes and gives, together, in GiB: the least that its work needs.

    `parts` are those of `empty_parts`; the calls are those of `flops`.
    """
    return {name: _largest(parts[name], call) * dtype.itemsize / GIB for name, call in _calls(parts).items()}


def _largest(part: Module, call) -> int:
    """The most numbers that one layer of `part` takes and gives in `call`."""
    seen = [0]

    def look(_layer, taken, given):
        seen.append(sum(each.numel() for each in (*taken, given) if torch.is_tensor(each)))

    leaves = (layer for layer in part.modules() if not any(layer.children()))
    hooks = [layer.register_forward_hook(look) for layer in leaves]
    with torch.no_grad():
        call()
    for hook in hooks:
        hook.remove()
    return max(seen)


def _counted(call) -> dict[str, int]:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    kinds = dict.fromkeys(("convolutions", "matrices", "attention"), 0)
    for operation, number in counter.get_flop_counts()["Global"].items():
        kinds[_KINDS.get(str(operation).removeprefix("aten."), "attention")] += number
    return kinds


def seconds(work, device: torch.device | str = "cpu", *, least: float = 0.2) -> float:
    """The shortest of some calls of `work`, called for at least `least` seconds after a first one that is not counted.

    The shortest is the one that other programs disturbed least.
    """
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else bool
    work(), wait()
    best, begin = math.inf, time.perf_counter()
    while time.perf_counter() - begin < least:
        start = time.perf_counter()
        work(), wait()
        best = min(best, time.perf_counter() - start)
    return best


def matmul_rate(dtype: torch.dtype, device: torch.device | str = "cpu", *, size: int = 1024, least=0.3) -> float:
    """How many FLOPs a second this machine reaches when it multiplies two matrices of `size` x `size` in `dtype`."""
    one, other = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    with torch.inference_mode():
        return 2 * size**3 / seconds(lambda: one @ other, device, least=least)


def winograd_1d(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Two neighbouring outputs of a filter of 3 with 4 multiplications instead of 6: F(2, 3) of Winograd (1980).

    `x` has shape (..., 4), `weights` (3,); the result (..., 2) is [x0 w0 + x1 w1 + x2 w2, x1 w0 + x2 w1 + x3 w2].
    """
    w0, w1, w2 = weights
    x0, x1, x2, x3 = x.unbind(-1)
    m1, m4 = (x0 - x2) * w0, (x1 - x3) * w2
    m2, m3 = (x1 + x2) * ((w0 + w1 + w2) / 2), (x2 - x1) * ((w0 - w1 + w2) / 2)
    return torch.stack([m1 + m2 + m3, m2 - m3 - m4], -1)


def peak_gib(gib: Mapping[str, float], working: Mapping[str, float], *, by_turns: bool, libraries: float) -> float:
    """The most memory at one time, in GiB: the libraries, the weights in memory, and what the part at work needs.

    `gib` and `working` are by part. By turns, only the weights of the part at work are in memory.
    """
    return libraries + max((gib[part] if by_turns else sum(gib.values())) + working[part] for part in gib)


def read_measured(file: Path = MEASURED) -> list[Measured]:
    """What `make bench-full` has written, machine by machine; empty where there is nothing yet."""
    if not file.is_file():
        return []
    try:
        return [Measured(**row | {"levels": tuple(row["levels"])}) for row in json.loads(file.read_text("utf-8"))]
    except (ValueError, TypeError, KeyError):
        raise BadInput(f"{file} is no table of make bench-full; delete it and run that again.") from None


def keep_measured(rows: Sequence[Measured], file: Path = MEASURED) -> None:
    """Write `rows` to the table; what is there of the same ways on the same device is replaced, the rest stays."""
    new = {(row.way, row.device): row for row in rows}
    rest = [row for row in read_measured(file) if (row.way, row.device) not in new]
    text = json.dumps([asdict(row) for row in [*rest, *rows]], indent=1)
    with whole_file(file) as stream:
        stream.write(f"{text}\n".encode())


def figure_memory(columns: Mapping[str, Mapping[str, float]], *, title="") -> Figure:
    """Stacked columns of GiB: name -> (libraries, text_encoder, unet, vae, working) -> GiB."""
    fig = new_figure(figsize=(1.5 + 1.6 * len(columns), 3.6))
    ax = fig.subplots()
    names = list(columns)
    base = [0.0] * len(names)
    for part, colour in _COLOURS.items():
        heights = [columns[name].get(part, 0.0) for name in names]
        if any(heights):
            style = {"color": colour, "edgecolor": "white", "linewidth": 0.8}
            ax.bar(names, heights, bottom=base, width=0.55, label=_NAMES.get(part, part), **style)
        base = [low + high for low, high in zip(base, heights, strict=True)]
    for place, top in enumerate(base):
        ax.text(place, top, f"{top:.2f}", ha="center", va="bottom", fontsize=9, color=INK)
    ax.set_ylabel("GiB", fontsize=9)
    ax.set_ylim(0, 1.13 * max(base))
    ax.tick_params(labelsize=9)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), reverse=True)
    ax.set_title(title, fontsize=10)
    open_axes(ax).grid(visible=False, axis="x")
    told = "; ".join(f"{name}, {top:.2f} GiB" for name, top in zip(names, base, strict=True)).replace("\n", " ")
    fig.words = f"Stacked columns of memory{': ' + title if title else ''}. {told}."
    return fig


def figure_bars(bars: Mapping[str, float], xlabel: str, *, title="", digits=1, told=True, other="-") -> Figure:
    """Lying bars with their numbers; `told` puts the numbers into the description, too.

    Bars whose names end with `other` are blue, as what is compared with; the rest is orange.
    """
    fig = new_figure(figsize=(8, 0.8 + 0.38 * len(bars)))
    ax = fig.subplots()
    names = list(bars)
    colours = [BLUE if name.endswith(other) else ORANGE for name in names]
    ax.barh(names, [bars[name] for name in names], color=colours, height=0.6)
    for place, name in enumerate(names):
        ax.text(bars[name], place, f" {bars[name]:,.{digits}f}", va="center", fontsize=9, color=INK)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel, fontsize=9)
    ax.margins(x=0.12)
    ax.tick_params(labelsize=9)
    ax.set_title(title, fontsize=10)
    open_axes(ax).grid(visible=False, axis="y")
    listed = (f"{name} {bars[name]:,.{digits}f}" if told else name for name in names)
    fig.words = f"Bars of {xlabel}{', ' + title if title else ''}: {'; '.join(listed)}.".replace("\n", " ")
    return fig


def figure_measured(rows: Sequence[Measured]) -> Figure:
    """Three panels, one bar for each way of one machine: seconds a step, seconds in all, and peak memory."""
    fig = new_figure(figsize=(10, 1.1 + 0.42 * len(rows)))
    panels = {
        "seconds a guided step": [row.step_seconds for row in rows],
        f"seconds a picture of {rows[0].steps} steps": [row.seconds for row in rows],
        "peak memory of the process, GiB": [row.gib for row in rows],
    }
    names = [f"{row.way}, {row.dtype}" for row in rows]
    for ax, (label, values) in zip(fig.subplots(1, 3, sharey=True), panels.items(), strict=True):
        colours = [ORANGE if row.way == "sdlesson" else BLUE for row in rows]
        ax.barh(names, values, color=colours, height=0.6)
        for place, value in enumerate(values):
            ax.text(value, place, f" {value:.{1 if value >= 10 else 2}f}", va="center", fontsize=9, color=INK)
        ax.set_xlabel(label, fontsize=9)
        ax.margins(x=0.22)
        ax.tick_params(labelsize=8.5)
        open_axes(ax).grid(visible=False, axis="y")
    fig.axes[0].invert_yaxis()
    fig.axes[0].axvline(rows[0].limit_seconds, color=INK, linestyle="--", linewidth=1)
    fig.axes[0].set_title("dashed: all FLOPs at the matrix rate", fontsize=8.5)
    fig.suptitle(f"measured on the stand-in of v1.4's shapes: {rows[0].device}", fontsize=10)
    told = "; ".join(
        f"{name}: {row.step_seconds:.1f} seconds a step, {row.seconds:.0f} in all, {row.gib:.2f} GiB"
        for name, row in zip(names, rows, strict=True)
    )
    fig.words = (
        f"Bars for {rows[0].device}. {told}. "
        f"A dashed line at {rows[0].limit_seconds:.1f} seconds: all FLOPs of a step at the rate of a matrix product."
    )
    return fig
