"""The slide's update, read literally: x <- x + epsilon * grad log p(x) + sqrt(2 epsilon) z.

Langevin dynamics walks uphill in log p and is shaken just enough to wander over all of p. It needs no training and
no schedule, only a score. The same update is a gradient-informed `modifyParams` move on a procedural tree, with
log p = -loss / temperature. Here epsilon, the slide's step size, is called `step`, because eps is the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cs348k_diffusion.noise import noise_like, per_example
from cs348k_diffusion.running import Run

Score = Callable[[Tensor], Tensor]


class Link(NamedTuple):
    """One link of a Langevin chain: x after `index` updates, at rung `rung` of the ladder of noise levels."""

    index: int
    x: Tensor
    rung: int = 0

    def frame(self) -> Tensor:
        """What `watch` draws: the chains themselves."""
        return self.x

    def label(self) -> str:
        """The caption of the frame."""
        return f"update {self.index}" + (f", noise level {self.rung + 1}" if self.rung else "")


def langevin_step(x: Tensor, score: Tensor, step: float, noise: Tensor) -> Tensor:
    """One update: x + step * score + sqrt(2 step) noise.

    score = grad log p(x) and noise ~ N(0, I), both shaped like x; step > 0 has the units of x^2.
    NCSN's paper writes step / 2 and sqrt(step), its code this. Source: Song & Ermon 2019, eq. 4, arXiv:1907.05600.
    """
    return x + step * score + (2 * step) ** 0.5 * noise


def langevin_chain(
    score: Score, x: Tensor, step: float, steps: int, generator: torch.Generator | None = None
) -> Run[Link]:
    """`steps` Langevin updates at one noise level, starting from x (which is yielded first).

    The chain is biased: on N(0, 1) its variance settles at 1 / (1 - step / 2), not at 1.
    """
    return annealed_langevin([score], x, [step], steps, generator)


def annealed_langevin(
    scores: Sequence[Score],
    x: Tensor,
    step_sizes: Sequence[float],
    steps: int,
    generator: torch.Generator | None = None,
) -> Run[Link]:
    """Langevin down a ladder of noise levels: `steps` updates with each score in turn.

    scores[i] is grad log p_i of the data blurred at level i, noisiest first; NCSN uses step_i = c sigma_i^2.
    Raises ValueError unless there is one step size for each score. Source: Song & Ermon 2019, algorithm 1.
    """
    if len(scores) != len(step_sizes):
        raise ValueError(f"one step size for each noise level: got {len(scores)} scores and {len(step_sizes)} steps")
    return Run(_links(scores, x, step_sizes, steps, generator), f"Langevin, {len(scores)} x {steps} updates")


def _links(
    scores: Sequence[Score], x: Tensor, step_sizes: Sequence[float], steps: int, generator: torch.Generator | None
) -> Iterator[Link]:
    yield Link(0, x)
    walk = _walk(scores, x, step_sizes, steps, lambda x: noise_like(x, generator))
    for index, x in enumerate(walk, start=1):
        yield Link(index, x, (index - 1) // steps)


def _walk(
    scores: Sequence[Score], x: Tensor, step_sizes: Sequence[float], steps: int, draw: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    for score, step in zip(scores, step_sizes, strict=True):
        for _ in range(steps):
            with torch.no_grad():  # never around a yield: grad mode belongs to whoever walks
                x = langevin_step(x, score(x), step, draw(x))
            yield x


def anneal(
    score: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Sequence[float],
    step: float,
    repeats: int,
    draw: Callable[[Tensor], Tensor],
) -> Iterator[Tensor]:
    """x after each of len(sigmas) * repeats Langevin updates down a ladder of noise levels, as NCSN spaces its steps.

    step_i = step (sigma_i / sigma_last)^2;   score(x, sigma) = grad log p of the data blurred by sigma
    sigmas: falling; step: the step size at the last of them; draw(x): N(0, I) noise like x.
    Source: Song & Ermon 2019, algorithm 1, arXiv:1907.05600.
    Notebook 03 builds it (E3.4); it is `annealed_langevin` with NCSN's steps, and runs by the same loop.
    """
    step_sizes = [step * (sigma / sigmas[-1]) ** 2 for sigma in sigmas]
    yield from _walk([lambda x, sigma=sigma: score(x, sigma) for sigma in sigmas], x, step_sizes, repeats, draw)


def metropolis_langevin_step(
    log_p: Callable[[Tensor], Tensor], x: Tensor, step: float, noise: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """MALA: propose by `langevin_step`, accept with probability min(1, p(x') q(x|x') / (p(x) q(x'|x))).

    log_p maps (batch, d) to (batch,), differentiably; uniform is (batch,) in [0, 1). Returns the next x and a
    boolean (batch,) of acceptances. The acceptance removes the bias that the step size leaves in `langevin_chain`.
    Source: Roberts & Tweedie 1996, Bernoulli 2(4).
    """
    log_p_x, score = _with_score(log_p, x)
    proposal = langevin_step(x, score, step, noise)
    log_p_new, score_new = _with_score(log_p, proposal)
    log_ratio = log_p_new - log_p_x + _log_move(proposal, x, score_new, step) - _log_move(x, proposal, score, step)
    accept = torch.log(uniform) < log_ratio
    return torch.where(per_example(accept, x), proposal, x), accept


def _with_score(log_p: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = log_p(x)
        (score,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), score


def _log_move(start: Tensor, end: Tensor, score: Tensor, step: float) -> Tensor:
    return -((end - start - step * score) ** 2).flatten(1).sum(1) / (4 * step)
