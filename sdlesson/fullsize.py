"""The real size: what Stable Diffusion v1.4 weighs, what it computes, and how a machine carries it."""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import psutil
import torch

from .engine.openvino import core
from .loading.errors import BadInput
from .loading.quiet import quiet

if TYPE_CHECKING:
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


#: GiB of Python with torch, diffusers and transformers before any weight is there (Linux, torch 2.13 for the CPU).
LIBRARIES = 0.45


_KINDS = {"convolution": "convolutions", "addmm": "matrices", "mm": "matrices"}  # torch's name -> ours; else attention


def empty_parts(model: str = "v1.4", divide: int = 1, size: int = 512) -> dict[str, Module]:
    """The text encoder, UNet and VAE of `model` ("v1.4", "v2.1-base") without memory: on the device "meta".

    `divide` divides every width; `size` is the side of the pictures in pixels, a multiple of 64. Raises BadInput for
    another model.
    """
    if model not in SHAPES:
        raise BadInput(f"The shapes of {model!r} are not known here; those of {', '.join(SHAPES)} are.")
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

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for layer in part.modules():
            if not any(layer.children()):
                hooks.callback(layer.register_forward_hook(look).remove)
        call()
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
    """How many FLOPs a second this machine reaches when it multiplies two square matrices in `dtype`.

    Their sides have `size` numbers, or an eighth, a quarter or a half of that, where the next larger product would take
    more than a second: a processor without units for `dtype` needs a minute for 2048 x 2048.
    """

    def product(side: int) -> Callable[[], torch.Tensor]:
        one, other = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
        return lambda: one @ other

    side = max(1, size // 8)
    with torch.inference_mode():
        while side < size and 8 * seconds(product(side), device, least=0.01) < 1:  # 8: twice the side
            side = min(2 * side, size)
        return 2 * side**3 / seconds(product(side), device, least=least)


def medians(ways: Mapping[str, Callable[[], object]], *, turns: int = 5) -> dict[str, float]:
    """The median seconds of a call of each way, of `turns` calls by turns after a first one that is not counted.

    By turns: what else the machine does meanwhile slows all ways alike.
    """
    took = {name: [] for name in ways}
    for _ in range(turns + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            took[name].append(time.perf_counter() - start)
    return {name: statistics.median(each[1:]) for name, each in took.items()}


def grown_by(work: Callable[[], object]) -> int:
    """How many bytes this process grew by, at most, while `work` was called; looked at every millisecond."""
    process, done = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def look():
        nonlocal most
        while not done.wait(0.001):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most - before


def graph_of(module: Module, *inputs: torch.Tensor):
    """`module` as a graph of OpenVINO (openvino.Model), traced with `inputs`, whose shapes and dtypes it keeps.

    Needs OpenVINO: see engine.openvino.is_installed.
    """
    core()  # which imports OpenVINO as it should be
    from openvino import convert_model

    with torch.no_grad(), quiet():
        return convert_model(module, example_input=inputs, input=[tuple(each.shape) for each in inputs])


def peak_gib(gib: Mapping[str, float], working: Mapping[str, float], *, by_turns: bool, libraries: float) -> float:
    """The most memory at one time, in GiB: the libraries, the weights in memory, and what the part at work needs.

    `gib` and `working` are by part. By turns, only the weights of the part at work are in memory.
    """
    return libraries + max((gib[part] if by_turns else sum(gib.values())) + working[part] for part in gib)
