"""The UNet: the model's half of a step. One call, its parts in the data's order, and each kind of them by hand."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad, silu

from .loading import checks
from .loading.errors import BadInput
from .loading.quiet import quiet

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.resnet import ResnetBlock2D
    from torch.nn import Module


def predict(
    unet: UNet2DConditionModel, x: torch.Tensor, timestep: torch.Tensor | float, embeddings: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The UNet's guess for each half that `embeddings` holds: tensors like `x`, float32, in the embeddings' order.

    `x` (batch, 4, h/8, w/8) are latents as the UNet wants to see them, scaled; `embeddings` (halves * batch, 77, dim)
    are [negative ..., prompt ...], or one half of that. A guess is the noise, or v in models that predict v. Gradients
    flow where they are asked for. Raises BadInput where the two do not go together.
    """
    halves = len(embeddings) // len(x)
    if halves not in (1, 2) or len(embeddings) != halves * len(x):
        raise BadInput(f"{len(x)} latents need as many text embeddings, or twice as many, not {len(embeddings)}.")
    model_input = torch.cat([x] * halves).to(unet.device, unet.dtype)  # (batch, ...) -> (halves * batch, ...)
    texts = embeddings.to(unet.device, unet.dtype)
    output = unet(model_input, timestep, encoder_hidden_states=texts, return_dict=False)[0]
    return output.float().chunk(halves)


def stages(unet: UNet2DConditionModel) -> dict[str, Module]:
    """The UNet's parts that maps pass through, in the data's order: conv_in, down_blocks.0 ... mid_block ... conv_out.

    `named_modules` lists them in another order: the middle last.
    """
    down, up = (
        {f"{way}_blocks.{k}": block for k, block in enumerate(getattr(unet, f"{way}_blocks"))} for way in ("down", "up")
    )
    return {"conv_in": unet.conv_in, **down, "mid_block": unet.mid_block, **up, "conv_out": unet.conv_out}


@contextlib.contextmanager
def record_maps(layers: Mapping[str, Module]) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Within the `with` block, keep what each of `layers` gives: name -> one map (batch, channels, h, w) for each call.

    Maps are float32, on the CPU; those of a UNet on the device "meta" are shapes. Nothing that is computed changes;
    afterwards, also after an error, the hooks are gone. Raises BadInput at the block's end where one was never called.
    """
    maps = {name: [] for name in layers}

    def note(name, output):
        first = output if isinstance(output, torch.Tensor) else output[0]  # a down block gives its skips, too
        with torch.inference_mode(False):  # an ordinary tensor, whoever made it
            maps[name].append(first if first.is_meta else first.detach().float().cpu().clone())

    with contextlib.ExitStack() as hooks:
        for name, layer in layers.items():
            if not isinstance(layer, torch.nn.Module):
                raise BadInput(f"{name} is no layer but {checks.told(layer)}.")
            hook = layer.register_forward_hook(lambda _, given, output, name=name: note(name, output))
            hooks.callback(hook.remove)
        yield maps
    if silent := [name for name, kept in maps.items() if not kept]:
        raise BadInput(f"{silent[0]} was not called while its maps were recorded: is it a part of what ran?")


def skip_names(unet: UNet2DConditionModel) -> list[str]:
    """The layers whose maps are kept for the way up, in the order in which they are made; the last is taken first."""
    names = ["conv_in"]
    for k, block in enumerate(unet.down_blocks):
        kind = "attentions" if getattr(block, "has_cross_attention", False) else "resnets"
        names += [f"down_blocks.{k}.{kind}.{j}" for j in range(len(block.resnets))]
        names += [f"down_blocks.{k}.downsamplers.0"] if block.downsamplers else []
    return names


@contextlib.contextmanager
def change_skips(
    unet: UNet2DConditionModel, change: Callable[[torch.Tensor, int], torch.Tensor]
) -> Iterator[UNet2DConditionModel]:
    """Within the `with` block, the way up reads `change(skip, number)` for each skip (batch, channels, h, w).

    Numbers are places in `skip_names`. Afterwards, also after an error, the skips are as they were.
    """
    hooks, place = [], len(skip_names(unet))
    for block in unet.up_blocks:
        place -= len(block.resnets)  # each takes as many as it has residual blocks, from the end of the list

        def changed(_block, given, named, first=place):
            skips = (change(skip, first + k) for k, skip in enumerate(named["res_hidden_states_tuple"]))
            return given, named | {"res_hidden_states_tuple": tuple(skips)}

        hooks.append(block.register_forward_pre_hook(changed, with_kwargs=True))
    try:
        yield unet
    finally:
        for hook in hooks:
            hook.remove()


def cut_skips(unet: UNet2DConditionModel, cut: Iterable[int] | None = None):
    """Within the `with` block, the skips with these numbers (None: all) hold 0; raises BadInput for another number."""
    most = len(skip_names(unet)) - 1
    gone = set(range(most + 1)) if cut is None else {checks.whole(each, "skip", 0, most) for each in cut}
    return change_skips(unet, lambda skip, number: torch.zeros_like(skip) if number in gone else skip)


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A convolution, as networks mean it: (batch, inputs, h, w) -> (batch, outputs, h, w), zeros around the map.

    `weight` (outputs, inputs, k, k), k odd: at each place the window around it is multiplied by the weight and summed.
    Raises BadInput where the two do not fit.
    """
    side = weight.shape[-1]
    if weight.ndim != 4 or weight.shape[2] != side or side % 2 == 0 or weight.shape[1] != x.shape[1]:
        raise BadInput(f"Weights of shape {tuple(weight.shape)} do not fit maps of shape {tuple(x.shape)}.")
    y = torch.zeros(len(x), len(weight), *x.shape[2:], dtype=x.dtype, device=x.device)
    padded = pad(x, [side // 2] * 4)  # (batch, inputs, h + k - 1, w + k - 1)
    for row in range(side):
        for column in range(side):
            shifted = padded[..., row : row + x.shape[2], column : column + x.shape[3]]
            y += torch.einsum("oi,bihw->bohw", weight[..., row, column].to(x.dtype), shifted)
    return y if bias is None else y + bias[:, None, None]


def group_norm(x: torch.Tensor, groups: int, eps: float = 1e-5) -> torch.Tensor:
    """Bring each group of neighbouring channels to mean 0 and variance 1, each picture by itself (Wu and He 2018).

    `x` (batch, channels, h, w); `groups` divides the channels, else BadInput is raised. A layer's weight and bias come
    after it.
    """
    if x.shape[1] % checks.whole(groups, "number of groups", 1):
        raise BadInput(f"{x.shape[1]} channels make no {groups} groups of one size.")
    grouped = x.float().unflatten(1, (groups, -1))  # (batch, groups, channels / groups, h, w)
    variance, mean = torch.var_mean(grouped, dim=(2, 3, 4), correction=0, keepdim=True)
    return ((grouped - mean) / (variance + eps).sqrt()).flatten(1, 2).to(x.dtype)


def residual_block(block: ResnetBlock2D, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """A residual block's output (batch, channels out, h, w), computed from its weights: what came in, plus a change.

    `x` (batch, channels in, h, w) are maps, `time` (batch, 4 * narrowest width) the vector that `time_vector` makes.
    Norm, SiLU, convolution, plus the time; norm, SiLU, convolution; plus x (He et al. 2016; Ho et al. 2020, app. B).
    """

    def calm(norm, maps):
        weight, bias = (each[:, None, None] for each in (norm.weight, norm.bias))  # one for each channel
        return silu(group_norm(maps, norm.num_groups, norm.eps) * weight + bias)

    h = convolve(calm(block.norm1, x), block.conv1.weight, block.conv1.bias)
    h = h + block.time_emb_proj(silu(time))[:, :, None, None]  # one number for each channel
    h = convolve(calm(block.norm2, h), block.conv2.weight, block.conv2.bias)
    return h + (x if block.conv_shortcut is None else block.conv_shortcut(x))  # 1x1 where the width changes


def sinusoids(timestep: torch.Tensor | float, width: int) -> torch.Tensor:
    """A time as `width` cosines and sines, (n, width): Vaswani et al. (2017, section 3.5) for positions, here for t.

    Wavelengths go from 2 pi steps to nearly 2 pi * 10000, each longer by the same factor; cosines stand first, as in
    v1's family. `timestep` is one number, or n of them.
    """
    half = width // 2
    times = torch.as_tensor(timestep, dtype=torch.float32).reshape(-1, 1)
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=times.device) / half)
    angles = times * frequencies  # (n, width / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def time_vector(unet: UNet2DConditionModel, timestep: torch.Tensor | float) -> torch.Tensor:
    """What every residual block is told of the time: (n, 4 * narrowest width), the sinusoids through two layers."""
    waves = sinusoids(timestep, unet.config.block_out_channels[0]).to(unet.device, unet.dtype)
    return unet.time_embedding.linear_2(silu(unet.time_embedding.linear_1(waves)))


def halvings(unet: UNet2DConditionModel) -> int:
    """How often the UNet halves the sides of its maps: 2 in the tiny model, 3 in v1.4."""
    return sum(bool(block.downsamplers) for block in unet.down_blocks)


def reach(unet: UNet2DConditionModel) -> dict[str, int]:
    """How many squares across one square of a map depends on through convolutions alone, stage -> latent squares.

    From conv_in to mid_block. Each convolution of k squares adds k - 1 of its own squares; each halving doubles them.
    (Norms and self-attention look at the whole map besides.)
    """
    squares, square, found = 1, 1, {}
    for name, stage in stages(unet).items():
        for layer in (each for each in stage.modules() if isinstance(each, torch.nn.Conv2d)):
            squares += (layer.kernel_size[0] - 1) * square
            square *= layer.stride[0]
        found[name] = squares
        if name == "mid_block":
            return found
    raise BadInput("This UNet has no middle.")


def empty_copy(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A UNet of the same configuration on the device "meta": shapes without numbers, which fill no memory."""
    with torch.device("meta"), quiet():
        return type(unet).from_config(unet.config)


def weigh(unet: UNet2DConditionModel) -> dict[str, int]:
    """The number of parameters of each stage, and of what makes the time vector; together they are all."""
    parts = {"time_embedding": unet.time_embedding} | stages(unet)
    numbers = {name: sum(each.numel() for each in part.parameters()) for name, part in parts.items()}
    numbers["conv_out"] += sum(each.numel() for each in unet.conv_norm_out.parameters())
    return numbers


def operations(unet: UNet2DConditionModel, height: int, width: int) -> dict[str, int]:
    """The additions and multiplications of each stage in one guided call: two pictures with latents height x width.

    Counted on shapes alone, whatever the UNet's weights are kept as.
    """
    from torch.utils.flop_counter import FlopCounterMode

    empty = empty_copy(unet)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        _empty_call(empty, height, width)
    counts, name = counter.get_flop_counts(), type(empty).__name__
    return {stage: sum(counts.get(f"{name}.{stage}", {}).values()) for stage in ("time_embedding", *stages(empty))}


def kept_bytes(unet: UNet2DConditionModel, height: int, width: int) -> int:
    """Bytes of inner values that one guided call keeps for gradients where it runs without no_grad, in float32.

    Counted for a CPU on shapes alone; weights, which are there in any case, do not count.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.multiprocessing.reductions import StorageWeakRef

    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[StorageWeakRef(storage)] = storage.nbytes()  # several tensors may share it
        return tensor

    keeping = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with quiet(), FakeTensorMode(), torch.enable_grad(), keeping:
        empty = type(unet).from_config(unet.config).eval()
        output = _empty_call(empty, height, width, "cpu")
        weights = {StorageWeakRef(each.untyped_storage()) for each in empty.parameters()}
        found = sum(size for storage, size in kept.items() if storage not in weights)
        del output  # until here it held what is counted
    return found


def _empty_call(empty: UNet2DConditionModel, height: int, width: int, device: str = "meta") -> torch.Tensor:
    """One guided call of a UNet without memory."""
    latents = torch.empty(2, empty.config.in_channels, height, width, device=device)
    texts = torch.empty(2, 77, empty.config.cross_attention_dim, device=device)
    return empty(latents, torch.zeros((), device=device), encoder_hidden_states=texts).sample
