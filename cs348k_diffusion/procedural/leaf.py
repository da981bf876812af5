"""A single leaf: everything the fit of a tree needs, while there is one disc and a few numbers.

A disc with soft edges can be differentiated; gradient descent follows that derivative; the accept rule needs none and
leaves valleys that descent cannot. `render`, `moves` and `fit` do the same for whole trees. Notebook 01 starts here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def soft_disc(
    points: Float[Tensor, "pixels 2"],
    centres: Float[Tensor, "batch 2"],
    radii: Float[Tensor, " batch"],
    softness: float,
) -> Float[Tensor, "batch pixels"]:
    """How much of each point each disc covers: a = sigmoid((r - |p - c|) / softness), all lengths in one unit.

    The norm's derivative at the centre is taken as 0, so gradients stay finite there.
    """
    distance = torch.linalg.vector_norm(points - centres[:, None], dim=-1)
    return torch.sigmoid((radii[:, None] - distance) / softness)


def accept(
    log_p_old: Float[Tensor, " batch"],
    log_p_new: Float[Tensor, " batch"],
    log_q_there: Float[Tensor, " batch"],
    log_q_back: Float[Tensor, " batch"],
    uniform: Float[Tensor, " batch"],
) -> Bool[Tensor, " batch"]:
    """Whether each chain takes its proposal: uniform < p(new) q(back) / (p(old) q(there)), uniform in [0, 1).

    In logarithms, so nothing underflows. Source: Hastings 1970, Biometrika 57(1).
    """
    return uniform.log() < log_p_new - log_p_old + log_q_back - log_q_there


def gradient_descent(loss: Callable[[Tensor], Tensor], x: Tensor, steps: int, size: float) -> Iterator[Tensor]:
    """x after each of `steps` updates x <- x - size * grad loss(x); loss maps a tensor like x to a scalar."""
    for _ in range(steps):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(loss(x), x)
        x = x.detach() - size * slope
        yield x
