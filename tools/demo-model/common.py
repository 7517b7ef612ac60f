"""What the stages share: worker processes, seeds, checkpoints of a stage, progress.

A stage runs in `workers` processes of one thread each that average their gradients: on a CPU small convolutions gain
nothing from threads, and processes that wait for each other in a socket survive being stopped for a while. Nothing depends
on the clock: data of a step come from (seed, stage, step, worker), learning rates from the step.
"""

import datetime
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp


@dataclass(frozen=True)
class Run:
    """Where and how: `work` keeps intermediate results, `output` the result."""

    work: Path
    output: Path
    seed: int = 7
    workers: int = 2
    scale: float = 1.0  # multiplies the number of steps of every stage, for a quick look

    def steps(self, number):
        return max(2, round(number * self.scale))


def rng(seed, *keys):
    """A numpy generator for these keys; strings count by their bytes."""
    return np.random.default_rng([seed] + [int.from_bytes(k.encode(), "big") if isinstance(k, str) else k for k in keys])


def _worker(rank, function, run, rendezvous, arguments):
    torch.set_num_threads(1)
    torch.manual_seed(run.seed * 1000 + rank)
    random.seed(run.seed * 1000 + rank)
    dist.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=run.workers, timeout=datetime.timedelta(days=1))
    function(run, rank, *arguments)
    dist.barrier()
    dist.destroy_process_group()


def launch(function, run, *arguments):
    """Runs function(run, rank, *arguments) in every worker and waits."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (function, run, os.path.join(folder, "rendezvous"), arguments), nprocs=run.workers)


def average_gradients(parameters):
    """Replaces each gradient by its mean over the workers, in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


class Average:
    """Exponential moving average of a module's weights."""

    def __init__(self, module, decay):
        self.decay, self.step = decay, 0
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module):
        self.step += 1
        decay = min(self.decay, self.step / (self.step + 10))
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)


class Checkpoint:
    """State of a stage under work/NAME.pt, written atomically by worker 0, so that a stage continues where it was."""

    def __init__(self, run, name, every=100):
        self.path, self.every = run.work / f"{name}.pt", every

    def load(self):
        return torch.load(self.path, weights_only=False) if self.path.exists() else None

    def save(self, state):
        temporary = self.path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.path)


class Progress:
    """One line every `every` steps: step, mean of the figures since the last line, seconds per step."""

    def __init__(self, name, total, every=50):
        self.name, self.total, self.every = name, total, every
        self.sums, self.count, self.since = {}, 0, time.monotonic()

    def add(self, step, **figures):
        for key, value in figures.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value.detach() if torch.is_tensor(value) else value)
        self.count += 1
        if (step + 1) % self.every and step + 1 != self.total:
            return
        seconds = (time.monotonic() - self.since) / self.count
        means = "  ".join(f"{key} {value / self.count:.4f}" for key, value in self.sums.items())
        print(f"{time.strftime('%H:%M:%S')} {self.name} {step + 1}/{self.total}  {means}  {seconds:.2f} s/step", flush=True)
        self.sums, self.count, self.since = {}, 0, time.monotonic()
