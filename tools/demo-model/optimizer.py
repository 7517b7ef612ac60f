"""Muon for matrices, AdamW for the rest, and the learning rate by step.

Muon replaces a matrix's momentum by the nearest semi-orthogonal matrix (five Newton-Schulz steps), so that all directions
learn at one speed. Its update is scaled to the root mean square that AdamW's has (0.2), so both take similar rates.
Convolution kernels count as matrices [out, in * taps].
"""

import math

import torch


def orthogonal(matrix):
    """The semi-orthogonal factor of `matrix` [rows, columns], roughly: singular values end in about 0.7..1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    transposed = x.shape[0] > x.shape[1]
    x = x.T if transposed else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if transposed else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(buffer, group["momentum"]).flatten(1)
                scale = 0.2 * math.sqrt(max(update.shape))
                parameter.sub_(orthogonal(update).view_as(parameter), alpha=group["lr"] * scale)


class Optimizers:
    """Muon on the parameters for which `matrix(name, parameter)` holds, AdamW on the others; clips the gradient's norm to 1."""

    def __init__(self, module, matrix, muon, adam, betas=(0.9, 0.99)):
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in named]
        chosen = [p for n, p in named if matrix(n, p)]
        others = [p for n, p in named if not matrix(n, p)]
        self.parts = [torch.optim.AdamW(others, lr=adam, betas=betas, weight_decay=0.0)]
        self.rates = [adam]
        if chosen:
            self.parts.append(Muon(chosen, lr=muon))
            self.rates.append(muon)

    def step(self, factor):
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for part, rate in zip(self.parts, self.rates):
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()
            part.zero_grad(set_to_none=True)
        return norm

    def state(self):
        return [part.state_dict() for part in self.parts]

    def load(self, state):
        for part, saved in zip(self.parts, state):
            part.load_state_dict(saved)


def schedule(step, total, warmup=50, decay=0.5):
    """Factor of the learning rate: up over `warmup` steps, flat, then linearly to 2% over the last `decay` of the steps."""
    left = (total - step) / max(1.0, decay * total)
    return min(1.0, (step + 1) / warmup, max(0.02, left))
