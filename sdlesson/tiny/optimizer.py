"""Two optimizers in one: Muon for the matrices inside a network, AdamW for everything else.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) makes each matrix's momentum nearly orthogonal
before it takes a step, so that all of a layer's directions learn at the same pace. A convolution's kernel
(out, in, 3, 3) is the matrix (out, in·9). Matrices of one shape are stacked and worked on together, which on a CPU
saves most of Muon's cost.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn

from ..engine.lean import fast_dtype

#: Coefficients of the odd polynomial that pushes singular values towards 1, from Jordan's page.
QUINTIC = (3.4445, -4.7750, 2.0315)

SLOW = 0.1  # of AdamW's rate


def fast_in_bfloat16(device: str) -> bool:
    """Whether a device ("cuda", "cpu") computes in bfloat16; a CPU without it imitates it, many times slower."""
    return device != "cpu" or fast_dtype(torch.device(device)) == torch.bfloat16


def orthogonalize(matrices: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Bring all singular values of a stack of matrices (K, rows, columns) to about 1, by Newton-Schulz iterations.

    In bfloat16 where that is fast, as Jordan does: a value anywhere between 0.7 and 1.3 will do.
    """
    a, b, c = QUINTIC
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.bfloat16() if fast_in_bfloat16(x.device.type) else x
    tall = x.shape[1] > x.shape[2]
    x = x.mT.contiguous() if tall else x
    for _ in range(iterations):
        square = x @ x.mT  # (K, rows, rows)
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon:
    """Muon with Nesterov momentum; a step is scaled to AdamW's size, 0.2·√max(rows, columns) (Liu et al. 2025)."""

    def __init__(self, parameters: list[nn.Parameter], momentum: float = 0.95, weight_decay: float = 0.01):
        self.momentum, self.weight_decay = momentum, weight_decay
        shapes = defaultdict(list)
        for parameter in parameters:
            shapes[parameter.shape[0], parameter[0].numel()].append(parameter)
        self.groups = [
            (group, torch.zeros(len(group), *shape, device=group[0].device)) for shape, group in shapes.items()
        ]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for parameters, memory in self.groups:
            gradient = torch.stack([p.grad.reshape(memory.shape[1:]) for p in parameters])  # (K, rows, columns)
            memory.lerp_(gradient, 1 - self.momentum)
            update = orthogonalize(gradient.lerp(memory, self.momentum))
            update = update * (0.2 * max(memory.shape[1:]) ** 0.5)
            torch._foreach_mul_(parameters, 1 - rate * self.weight_decay)
            shaped = [part.reshape(parameter.shape) for part, parameter in zip(update, parameters, strict=True)]
            torch._foreach_sub_(parameters, shaped, alpha=rate)

    def state_dict(self) -> list[torch.Tensor]:
        return [memory for _, memory in self.groups]

    def load_state_dict(self, memories: list[torch.Tensor]) -> None:
        for (_, memory), stored in zip(self.groups, memories, strict=True):
            memory.copy_(stored)


class MuonAdamW:
    """Step, save and restore the two optimizers of a module; the share of the learning rates is given at each step.

    `edges` names the parameters that AdamW keeps although they have a matrix's shape: the layers that touch the outside
    (first and last convolutions, embeddings), as Muon's author advises. Those that `slow` names as well
    learn at SLOW times AdamW's rate.
    """

    def __init__(
        self, module: nn.Module, edges: tuple[str, ...], muon_rate: float, adam_rate: float, slow: tuple[str, ...] = ()
    ):
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        inner = [p for name, p in named if p.ndim >= 2 and not any(edge in name for edge in edges)]
        inside = {id(p) for p in inner}
        self.parameters = [p for _, p in named]
        self.muon_rate, self.adam_rate = muon_rate, adam_rate
        self.muon = Muon(inner)
        outer = [(SLOW if any(part in name for part in slow) else 1.0, p) for name, p in named if id(p) not in inside]
        groups = [{"params": [p for each, p in outer if each == factor], "factor": factor} for factor in (1.0, SLOW)]
        groups = [group for group in groups if group["params"]]
        self.adam = torch.optim.AdamW(groups, lr=adam_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

    def step(self, share: float, clip: float = 1.0) -> None:
        """Take one step at `share` (0…1) of the learning rates, then forget the gradients."""
        nn.utils.clip_grad_norm_(self.parameters, clip)
        self.muon.step(self.muon_rate * share)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_rate * share * group["factor"]
        self.adam.step()
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, states: dict) -> None:
        self.muon.load_state_dict(states["muon"])
        self.adam.load_state_dict(states["adam"])
