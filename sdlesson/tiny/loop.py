"""One training loop for all three networks: a budget of seconds, a moving average, checkpoints, curves and sheets.

Batch k of process r is a function of (seed, k, r) and the kind of device, so a killed run that starts again from its
last checkpoint sees the batches that it would have seen. The learning rate follows the *time* that is used up, not a
number of steps: rise over the first hundredth, then a straight line to zero. The moving average looks back over about
the last tenth of the steps so far (Karras et al. 2024, arXiv:2312.02696, section 3.1), up to a bound of each job's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ..loading.errors import BadInput
from ..loading.writing import whole_file
from ..training import average_decay, batch_generator, learning_share
from .curves import plot_history
from .optimizer import MuonAdamW

CHECKPOINT_EVERY = 60.0  # seconds


SHEET_EVERY = 240.0  # seconds


AVERAGE_EVERY = 4  # steps between two updates of the moving average


#: The share of its learning rates at which a trained network is trained on: at half of them, what the UNet knew got
#: 12 % worse in five minutes; at a tenth, 3 %.
TRAINED_ON = 0.1


@dataclass
class Job:
    """One network's training.

    `objective` is a module whose `forward(*batch)` returns the loss (a scalar tensor); `batch(generator)` makes tensors
    from nothing but that generator, on its device; `save()` writes the network (averaged weights in place), and
    `sheet(path)` draws a picture of what it can do. `before(used, step, batch)` is called before each step with
    the share of the time that is used up. `rests_on` names the other networks that it is trained for: a checkpoint
    serves no others. `slow` names parameters of `edges` that learn at a tenth of AdamW's rate. A `compiled` objective
    is compiled on a GPU.
    """

    name: str
    objective: nn.Module
    batch: Callable[[torch.Generator], tuple[torch.Tensor, ...]]
    batch_size: int
    seconds: float
    save: Callable[[], None]
    sheet: Callable[[Path], None]
    edges: tuple[str, ...] = ()
    muon_rate: float = 3e-3
    adam_rate: float = 2e-3
    average: float = 0.998  # of the moving average, per step, at most
    before: Callable[[float, int, list[torch.Tensor]], None] = lambda used, step, batch: None
    slow: tuple[str, ...] = ()
    compiled: bool = False
    rests_on: str = ""


@dataclass
class Progress:
    """How far a job has come; everything here is kept in its checkpoint."""

    step: int = 0
    elapsed: float = 0.0  # seconds of training, those before a restart included
    history: list[tuple[int, float, float]] = field(default_factory=list)  # (step, seconds, mean loss)
    processes: int = 1
    published: bool = False  # is the network saved as it is now?
    rests_on: str = ""


class Trainer:
    """Runs one Job in `folder`; a second Trainer on the same folder goes on where the first one was killed."""

    def __init__(self, job: Job, folder: Path, accelerator: Accelerator, seed: int):
        self.job, self.folder, self.accelerator, self.seed = job, folder, accelerator, seed
        self.file = folder / f"{job.name}.checkpoint.pt"
        self.model = accelerator.prepare_model(job.objective)
        if job.compiled and accelerator.device.type == "cuda":
            self.model = torch.compile(self.model)
        self.optimizer = MuonAdamW(job.objective, job.edges, job.muon_rate, job.adam_rate, job.slow)
        self.averages = [p.detach().clone() for p in self.optimizer.parameters]
        self.progress = Progress(processes=accelerator.num_processes, rests_on=job.rests_on)
        self._marks = {"checkpoint": 0.0, "sheet": 0.0}
        if self.file.exists():
            self._restore()

    def run(self) -> Progress:
        """Train until the job's seconds are used up, then save the averaged weights, the curve and a last sheet."""
        if self.progress.elapsed >= self.job.seconds and self.progress.published:
            return self.progress
        self.progress.published = False
        losses, bar = [], self._bar()
        began = time.perf_counter() - self.progress.elapsed
        while (used := self.progress.elapsed / self.job.seconds) < 1:
            losses.append(self._step(used))
            self.progress.elapsed = self._agree(time.perf_counter() - began)
            if self.progress.step % 20 == 0 or self.progress.step <= 5:
                self._note(losses, bar)
                began += self._keep()  # writing files is no training time
        bar.close()
        if self.accelerator.is_main_process:
            self._publish()
            self.progress.published = True
            self._checkpoint()
        return self.progress

    def _step(self, used: float) -> torch.Tensor:
        device = self.accelerator.device
        generator = batch_generator(self.seed, self.progress.step, self.accelerator.process_index, device)
        batch = list(self.job.batch(generator))
        self.job.before(used, self.progress.step, batch)
        loss = self.model(*batch)
        self.accelerator.backward(loss)
        self.optimizer.step(learning_share(used))
        self.progress.step += 1
        step = self.progress.step
        if step == 1 or step % AVERAGE_EVERY == 0:  # after the first, or a few steps would leave what was there before
            update_average = get_ema_multi_avg_fn(average_decay(self.job.average, step, AVERAGE_EVERY))
            update_average(self.averages, tuple(self.optimizer.parameters), step)
        return loss.detach()

    def _agree(self, elapsed: float) -> float:
        """All processes use the first one's clock, or they would stop at different steps."""
        if self.accelerator.num_processes == 1:
            return elapsed
        return broadcast(torch.tensor([elapsed], dtype=torch.float64).to(self.accelerator.device)).item()

    def _note(self, losses: list[torch.Tensor], bar: tqdm) -> None:
        """Write the mean of the last losses into the history and onto the bar."""
        loss = torch.stack(losses).mean().item()
        if not math.isfinite(loss):
            raise RuntimeError(f"The loss of {self.job.name} is {loss} at step {self.progress.step}.")
        losses.clear()
        self.progress.history.append((self.progress.step, self.progress.elapsed, loss))
        pictures = self.progress.step * self.job.batch_size * self.accelerator.num_processes
        rate = f"{pictures / self.progress.elapsed:.1f} pictures/s"
        bar.n = min(round(self.progress.elapsed), round(self.job.seconds))
        bar.set_postfix_str(f"step {self.progress.step}, loss {loss:.4f}, {rate}")

    def _bar(self) -> tqdm:
        shape = "{desc} {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} s, {postfix}"
        hidden = not self.accelerator.is_main_process
        total = round(self.job.seconds)
        done = min(total, round(self.progress.elapsed))
        return tqdm(total=total, initial=done, desc=self.job.name, bar_format=shape, disable=hidden, mininterval=1.0)

    def _keep(self) -> float:
        """Write a checkpoint and a sheet when they are due; return the seconds that this took."""
        began, now = time.perf_counter(), self.progress.elapsed
        if self.accelerator.is_main_process and now - self._marks["checkpoint"] >= CHECKPOINT_EVERY:
            self._checkpoint()
            if now - self._marks["sheet"] >= SHEET_EVERY:
                self._publish()
        return time.perf_counter() - began

    def _checkpoint(self) -> None:
        """Write all that a restart needs, whole or not at all."""
        self._marks["checkpoint"] = self.progress.elapsed
        state = {
            "objective": self.job.objective.state_dict(),
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        with whole_file(self.file) as stream:
            torch.save(state, stream)

    def _restore(self) -> None:
        try:
            state = torch.load(self.file, map_location=self.accelerator.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError):
            raise BadInput(f"{self.file} cannot be read; delete it, and its stage begins again.") from None
        if state["progress"].setdefault("rests_on", self.job.rests_on) != self.job.rests_on:
            raise BadInput(
                f"{self.file} belongs to another text encoder or autoencoder than this run's; "
                "delete it, and its stage begins again."
            )
        self.job.objective.load_state_dict(state["objective"])
        self.averages = state["averages"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self._marks = dict.fromkeys(self._marks, self.progress.elapsed)

    def _publish(self) -> None:
        """Save the averaged network, the loss curve and a sample sheet."""
        self._marks["sheet"] = self.progress.elapsed
        minutes = f"{self.progress.elapsed / 60:05.1f}"
        with self._averaged():
            self.job.save()
            self.job.sheet(self.folder / "sheets" / f"{self.job.name}-{minutes}min.png")
        plot_history(self.progress.history, self.job.name, self.folder / f"{self.job.name}-loss.png")

    @contextmanager
    def _averaged(self):
        """Put the averaged weights into the network for a while."""
        parameters = self.optimizer.parameters
        live = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_copy_(parameters, self.averages)
            yield
            torch._foreach_copy_(parameters, live)
