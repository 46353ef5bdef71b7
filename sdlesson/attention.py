"""Cross-attention: which token each square of the picture listens to. Recorded beside diffusers, drawn, and changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from .loading import checks
from .loading.errors import BadInput

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention


#: Which part of a batch is kept: guided batches are [empty ..., prompt ...] (the lesson on guidance).
_HALVES = ("text", "empty", "all")


def cross_attentions(unet: UNet2DConditionModel) -> dict[str, Attention]:
    """The UNet's cross-attention layers by name: diffusers calls them attn2 (attn1 is self-attention)."""
    return {name: layer for name, layer in unet.named_modules() if name.endswith("attn2")}


def scores(
    attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """How well each square's query fits each token's key, before the softmax: (batch, heads, squares, tokens).

    `hidden_states` (batch, squares, channels) ask, `encoder_hidden_states` (batch, tokens, dim) are asked. The scores
    are Q K^T / sqrt(numbers in one head) (Vaswani et al. 2017, equation 1), and a `mask` is added where there is one.
    """
    query, key = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states)
    query, key = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key))
    fit = (query * attn.scale) @ key.mT  # scaled first: in float16 the products alone may be too large
    if mask is None:
        return fit
    batch, _, _, tokens = fit.shape
    return fit + attn.prepare_attention_mask(mask, tokens, batch).unflatten(0, (batch, attn.heads))


@dataclass(frozen=True)
class Heat:
    """What `record_attention` kept: `layers`, name -> one tensor for each UNet call, in the order of the layers.

    The tensors are attention probabilities, float32 on the CPU, (images, heads, rows, columns, tokens): over the tokens
    they sum to 1. Without `heads=True` they are the mean over the heads, and there is one.
    """

    layers: dict[str, list[torch.Tensor]] = field(default_factory=dict, repr=False)

    @property
    def calls(self) -> int:
        """How many UNet calls were recorded."""
        return max(map(len, self.layers.values()), default=0)

    @property
    def sides(self) -> dict[str, tuple[int, int]]:
        """Each layer's rows and columns."""
        return {name: tuple(kept[0].shape[2:4]) for name, kept in self.layers.items()}

    def probabilities(self, calls: int | slice = slice(None), side: tuple[int, int] | None = None) -> torch.Tensor:
        """The mean over calls and layers at the finest resolution: (images, heads, rows, columns, tokens).

        `calls` picks UNet calls (a number or a slice), `side` (rows, columns) only the layers of that resolution.
        Coarser maps are enlarged, bilinearly. Where the chosen layers differ in their number of heads (v2.1), the mean
        over each one's heads is taken, and there is one. Raises BadInput where nothing is left.
        """
        if not isinstance(calls, slice):
            calls = checks.whole(calls, "UNet call", -self.calls, self.calls - 1)
        chosen = {name: kept[calls] for name, kept in self.layers.items() if side in (None, self.sides[name])}
        if not chosen or not all(map(len, chosen.values())):
            raise BadInput(
                f"Nothing was recorded for calls {calls} and side {side}; sides: {set(self.sides.values())}."
            )
        if len({len(each) for kept in chosen.values() if not isinstance(calls, int) for each in kept}) > 1:
            raise BadInput("The calls had batches of several sizes, as without guidance: choose one call, or a range.")
        means = [kept if isinstance(calls, int) else torch.stack(kept).mean(dim=0) for kept in chosen.values()]
        if len({mean.shape[1] for mean in means}) > 1:
            means = [mean.mean(dim=1, keepdim=True) for mean in means]
        finest = max(mean.shape[2:4] for mean in means)
        return torch.stack([_enlarge(mean, finest) for mean in means]).mean(dim=0)

    def of(self, positions: Sequence[int], *, image: int = 0, head: int | None = None, **where) -> torch.Tensor:
        """The heat map of the tokens at `positions`, summed: (rows, columns); one head's, or the mean of all.

        `where` is what `probabilities` takes: calls, side. Raises BadInput for what was not recorded.
        """
        kept = self.probabilities(**where)
        checks.whole(image, "image", -len(kept), len(kept) - 1)
        places = [checks.whole(each, "position", -kept.shape[-1], kept.shape[-1] - 1) for each in positions]
        summed = kept[image, ..., places].sum(dim=-1)  # (heads, rows, columns)
        if head is not None and not 0 <= head < len(summed):
            raise BadInput(f"There is no head {head} in what was kept of these layers; heads: {len(summed)}.")
        return summed.mean(dim=0) if head is None else summed[head]


def _enlarge(mean: torch.Tensor, side) -> torch.Tensor:
    """Probabilities (images, heads, rows, columns, tokens) with another number of rows and columns."""
    images, heads, *_, tokens = mean.shape
    if tuple(mean.shape[2:4]) == tuple(side):
        return mean
    flat = mean.permute(0, 1, 4, 2, 3).flatten(0, 1)  # (images * heads, tokens, rows, columns)
    large = torch.nn.functional.interpolate(flat, size=tuple(side), mode="bilinear")
    return large.unflatten(0, (images, heads)).permute(0, 1, 3, 4, 2)


@contextlib.contextmanager
def record_attention(unet: UNet2DConditionModel, *, keep: str = "text", heads: bool = False) -> Iterator[Heat]:
    """Within the `with` block, keep the probabilities of every cross-attention layer at every UNet call in a Heat.

    diffusers' own processors go on computing the layers' outputs, so nothing that the UNet says changes, not in the
    last bit; the probabilities are computed beside them. Afterwards, also after an error, the same processors stand in
    their places. `keep="text"` keeps the second half of a guided batch [empty ..., prompt ...], "empty" the first,
    "all" everything, as calls without guidance need it. `heads=True` keeps each head apart. Raises BadInput for another
    `keep`, and in a call whose batch has no two halves unless all is kept.
    """
    if keep not in _HALVES:
        raise BadInput(f"keep is one of {', '.join(_HALVES)}, not {keep!r}.")
    heat, seen = Heat(), []
    hook = unet.register_forward_pre_hook(lambda _, given, named: seen.append(_sample(given, named)), with_kwargs=True)

    def note(name, attn, hidden_states, texts, mask):
        kept = _half(seen[-1], keep)
        given = (hidden_states[kept], texts[kept], None if mask is None else mask[kept])
        weights = scores(attn, *given).float().softmax(dim=-1)
        weights = weights if heads else weights.mean(dim=1, keepdim=True)
        side = _side(seen[-1].shape, weights.shape[2])
        with torch.inference_mode(False):  # an ordinary tensor, whoever made it
            heat.layers.setdefault(name, []).append(weights.unflatten(2, side).cpu().clone())

    try:
        with _processors(unet, lambda name, own: _Beside(name, own, note)):
            yield heat
    finally:
        hook.remove()


@contextlib.contextmanager
def weigh_attention(
    unet: UNet2DConditionModel, weigh: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[UNet2DConditionModel]:
    """Within the `with` block, every cross-attention layer mixes its values by `weigh(scores)` and not by a softmax.

    Scores and weights are (batch, heads, squares, tokens); `lambda scores: scores.softmax(dim=-1)` changes nothing but
    the last digits. Layers ask one after another, in the order of `Heat.layers`.
    """
    with _processors(unet, lambda name, own: _Instead(weigh)):
        yield unet


@contextlib.contextmanager
def _processors(unet, make: Callable):
    """Replace each cross-attention layer's processor by `make(name, its own)`; put the same ones back at the end."""
    own = {name: (attn, attn.processor) for name, attn in cross_attentions(unet).items()}
    try:
        for name, (attn, processor) in own.items():
            attn.set_processor(make(name, processor))
        yield
    finally:
        for attn, processor in own.values():
            attn.set_processor(processor)


class _Beside:
    """A processor that lets another one compute the output, then shows `note` what went in."""

    def __init__(self, name: str, processor, note: Callable):
        self.name, self.processor, self.note = name, processor, note

    def __call__(
        self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, *args, **kwargs
    ):
        given = (hidden_states, encoder_hidden_states, attention_mask)
        output = self.processor(attn, *given, temb, *args, **kwargs)
        with torch.no_grad():
            self.note(self.name, attn, *given)
        return output


class _Instead:
    """A processor that mixes the values by weights of its own."""

    def __init__(self, weigh: Callable):
        self.weigh = weigh

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        weights = self.weigh(scores(attn, hidden_states, encoder_hidden_states, attention_mask))
        value = attn.to_v(encoder_hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)  # (batch, squares, channels)
        return attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor


def _sample(given, named) -> torch.Tensor:
    """The latents, from a UNet call's arguments."""
    return given[0] if given else named["sample"]


def _half(sample: torch.Tensor, keep: str) -> slice:
    """The rows of a batch that are kept; raises BadInput where there are no two halves with the same latents."""
    batch = len(sample)
    if keep == "all":
        return slice(None)
    if batch % 2 or not torch.equal(*sample.chunk(2)):
        raise BadInput(f"A batch of {batch} has no two halves [empty, prompt]; record it with keep='all'.")
    return slice(batch // 2, None) if keep == "text" else slice(batch // 2)


def _side(shape, squares: int) -> tuple[int, int]:
    """Rows and columns of a layer with so many squares: the latents' sides, halved (rounded up) again and again."""
    rows, columns = shape[-2:]
    while rows * columns > squares:
        rows, columns = -(-rows // 2), -(-columns // 2)
    return rows, columns


def fit_size(heat: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A heat map (rows, columns) as large as a picture, (height, width), bilinearly."""
    return torch.nn.functional.interpolate(heat[None, None].float(), size=tuple(size), mode="bilinear")[0, 0]


def auc(heat: torch.Tensor, mask) -> float:
    """How well `heat` tells the pixels inside `mask` from those outside, both (height, width): 0 ... 1, 0.5 by chance.

    The area under the ROC curve: how often a pixel from inside is hotter than one from outside, if both are drawn at
    random; equal ones count half. No threshold is needed. NaN where the mask is empty or full. `mask` is what
    `checks.mask` takes; raises BadInput where the two differ in size, or the heat is not finite.
    """
    heat = checks.tensor(heat, "heat", "(height, width)", 2).detach().cpu()
    mask = _mask_like(mask, heat.shape).flatten()
    if not bool(heat.isfinite().all()):
        raise BadInput("The heat must be finite everywhere: what is hotter than NaN?")
    _, level, often = heat.flatten().unique(return_inverse=True, return_counts=True)
    colder = (often.cumsum(0) - often + often / 2).double()[level]  # of all pixels; equal ones count half
    inside, outside = int(mask.sum()), int((~mask).sum())
    among_themselves = inside**2 / 2
    return float((colder[mask].sum() - among_themselves) / (inside * outside)) if inside * outside else float("nan")


def _mask_like(mask, shape: tuple[int, ...]) -> torch.Tensor:
    """A mask of the size (height, width); raises BadInput for another."""
    mask = checks.mask(mask)
    if mask.shape != shape:
        raise BadInput(f"The mask has the size {tuple(mask.shape)}, and should have {tuple(shape)}.")
    return mask


def hottest(heat: torch.Tensor, pixels: int) -> torch.Tensor:
    """The mask of the hottest `pixels` pixels of a heat map (height, width); raises BadInput if it has not so many."""
    pixels = checks.whole(pixels, "number of pixels", 0, heat.numel())
    mask = torch.zeros(heat.numel(), dtype=torch.bool)
    mask[heat.flatten().topk(pixels).indices] = True
    return mask.view(heat.shape)


def iou(one, other) -> float:
    """Intersection over union of two masks: 1 where they are the same, 0 where they do not meet.

    NaN where both are empty. They are what `checks.mask` takes; raises BadInput where their sizes differ.
    """
    one = checks.mask(one)
    other = _mask_like(other, one.shape)
    return float((one & other).sum() / (one | other).sum())
