"""Superresolution and the cascade: a small picture first, then larger ones, each drawn given the one before.

    high = up(low) + spread r,   r ~ p(r | low) by diffusion, or its mean E[r | low] by regression

A stage takes the picture so far (None at first) and yields States; a cascade is a fold of stages. In training the small
picture gets noise whose level is a condition, so that a stage forgives flaws of the stage before it.
Source: Ho et al. 2021 (CDM), arXiv:2106.15282; Saharia et al. 2021 (SR3), arXiv:2104.07636.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs348k_diffusion.denoiser import Denoiser, NetDenoiser, Prediction, clip
from cs348k_diffusion.noise import noise_like, per_example
from cs348k_diffusion.running import Run
from cs348k_diffusion.sampling import State, ddim
from cs348k_diffusion.schedule import Schedule, as_time

Stage = Callable[[Tensor | None], Iterator[State]]
# The cubic's parameter a: -0.5 here, in Pillow and in torch with antialias=True; -0.75 in torch without it.
SHARPNESS = -0.5

# ---- bicubic resizing ----------------------------------------------------------------------------------------------


def cubic(x: Tensor, a: float = SHARPNESS) -> Tensor:
    """Keys' cubic kernel, shaped like x: 1 at 0, 0 at every other integer and beyond 2, and smooth.

    |x| <= 1: (a + 2) |x|^3 - (a + 3) x^2 + 1;   1 < |x| < 2: a (|x|^3 - 5 x^2 + 8 |x| - 4).
    Source: Keys 1981, IEEE Trans. ASSP 29, eq. 15.
    """
    d = x.abs()
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))


def resize_matrix(
    kernel: Callable[[Tensor], Tensor], n: int, size: int, antialias: bool = True, repeat: bool = False
) -> Float[Tensor, "size n"]:
    """How much each of n pixels counts in each of `size` new ones; every row sums to 1. float64.

    kernel: weights from distances in old pixels, 0 beyond 2. Pixel i of the new picture lies at
    (i + 1/2) n / size - 1/2 of the old one. antialias: where the picture shrinks, the kernel is stretched by n / size,
    so that no pixel is skipped. repeat: outside the picture its last pixel is repeated; otherwise the kernel is cut
    there and its weights scaled to sum to 1. Raises ValueError for sizes below 1.
    """
    if n < 1 or size < 1:
        raise ValueError(f"a picture has at least one pixel, got {n} to be resized to {size}")
    scale = n / size
    stretch = max(scale, 1.0) if antialias else 1.0
    margin = 2 * int(stretch + 1) if repeat else 0
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) * scale - 0.5
    places = torch.arange(-margin, n + margin)
    weights = kernel((places - centres[:, None]) / stretch)
    inside = torch.zeros(size, n, dtype=torch.float64).index_add(1, places.clamp(0, n - 1), weights)
    return inside / inside.sum(1, keepdim=True)


def resize(
    x: Float[Tensor, "*batch height width"],
    size: int,
    a: float = SHARPNESS,
    antialias: bool = True,
    repeat: bool = False,
) -> Float[Tensor, "*batch size width_out"]:
    """Pictures with `size` rows, and columns in proportion, by the cubic kernel along each axis.

    The defaults are those of Pillow and of torch's interpolate(mode="bicubic", antialias=True); a = -0.75,
    antialias=False and repeat=True are torch's without. A constant stays constant; the range can grow by about an
    eighth beside edges.
    """
    height, width = x.shape[-2:]
    columns, kernel = max(1, round(width * size / height)), partial(cubic, a=a)
    down = resize_matrix(kernel, height, size, antialias, repeat).to(x)
    across = resize_matrix(kernel, width, columns, antialias, repeat).to(x)
    return down @ x @ across.T


# ---- a conditional denoiser of what bicubic enlargement misses -----------------------------------------------------


def augment(low: Float[Tensor, "batch ..."], level: Tensor | float, noise: Tensor) -> Tensor:
    """Noise-conditioning augmentation: low + level * noise; level a standard deviation, a number or (batch,)."""
    level = torch.as_tensor(level, dtype=low.dtype, device=low.device)
    return low + per_example(level, low) * noise


def training_pair(
    high: Float[Tensor, "batch ..."],
    shrink: Callable[[Tensor], Tensor],
    enlarge: Callable[[Tensor], Tensor],
    level: Float[Tensor, " batch"],
    noise: Tensor,
    spread: float,
) -> tuple[Tensor, Tensor]:
    """What an upsampler learns: the residual at unit scale, and the small picture that it is the residual of.

    low_res = shrink(high) + level noise,   residual = (high - enlarge(low_res)) / spread
    noise is shaped like shrink(high). The residual is that of the *noisy* small picture: at sampling no other is known.
    """
    low_res = augment(shrink(high), level, noise)
    return (high - enlarge(low_res)) / spread, low_res


class Upsampler(NetDenoiser):
    """A denoiser of the residual r = (high - up(low_res)) / spread, given the small picture and the noise in it.

    size: rows of the large picture; spread: the residual's standard deviation, which brings r to unit scale. The
    network takes the conditions low_res (batch, channels, h, w) and level (batch,):
    `sr.given(low_res=low, level=level)`.
    """

    def __init__(self, net: nn.Module, schedule: Schedule, size: int, spread: float, predict: Prediction = "v"):
        super().__init__(net, schedule, predict)
        self.size, self.spread = size, spread

    def picture(self, low: Tensor, residual: Tensor) -> Tensor:
        """The large picture: up(low) + spread r."""
        return resize(low, self.size) + self.spread * residual


def bicubic(size: int) -> Stage:
    """The stage that draws nothing: it enlarges to `size` rows, in one State."""

    def stage(low: Tensor | None) -> Iterator[State]:
        x = resize(_given(low), size)
        yield State(1, 0.0, x, x)

    return stage


def regression(model: Upsampler) -> Stage:
    """The stage that answers with the mean of all possible large pictures: one evaluation, one State.

    At t = 1 the noisy residual says nothing, so a denoiser's guess there is E[r | low], whatever it was trained for.
    """

    def stage(low: Tensor | None) -> Iterator[State]:
        low = _given(low)
        with torch.no_grad():
            x = model.picture(low, expected_residual(model, low)).clamp(-1, 1)
        yield State(1, 0.0, x, x)

    return stage


def expected_residual(model: Upsampler, low: Tensor, level: Tensor | None = None) -> Tensor:
    """E[r | low]: the model's guess at t = 1 from zeros, shaped like the large picture."""
    zeros = torch.zeros_like(resize(low, model.size))
    return model(zeros, as_time(1.0, zeros), low_res=low, level=low.new_zeros(len(low)) if level is None else level)


def diffusion(
    model: Upsampler,
    times: Iterable[float] | Tensor,
    level: float = 0.0,
    generator: torch.Generator | None = None,
    limit: float = 1.0,
) -> Stage:
    """The stage that draws one large picture from p(high | low): DDIM along `times`, on the residual.

    level: how much noise the small picture gets before (0: it is trusted); limit: guesses are clipped to
    [-limit, limit]. States are in the picture's own units: x = up(low) + spread r_t.
    """
    walk = [float(t) for t in times]

    def stage(low: Tensor | None) -> Iterator[State]:
        low = _given(low)
        seen = augment(low, level, noise_like(low, generator))
        base = resize(seen, model.size)
        noise = model.schedule.prior(tuple(base.shape), generator, walk[0]).to(base)
        given = model.given(low_res=seen, level=seen.new_full((1,), level))
        inside = clip(given, (-limit - base) / model.spread, (limit - base) / model.spread)
        for state in ddim(inside, noise, walk):
            yield state._replace(x=base + model.spread * state.x, x0_hat=base + model.spread * state.x0_hat)

    return stage


def first(denoise: Denoiser, noise: Tensor, times: Iterable[float] | Tensor) -> Stage:
    """The stage that needs no picture before it: DDIM from `noise` along `times`."""
    return lambda low: ddim(denoise, noise, times)


class Staged(State):
    """A State of a cascade: its caption says which stage it is of, and how large the picture is there."""

    __slots__ = ()

    def label(self) -> str:
        """The caption of the frame."""
        height, width = self.x.shape[-2:]
        return f"stage {self.stage}: {height} x {width} pixels, {super().label()}"


def cascade(stages: Sequence[Stage], low: Tensor | None = None) -> Run[State]:
    """Every stage in turn, each on the last picture of the one before; a State says in `stage` which one it is of.

    low: what the first stage starts from; None when it starts from noise (`first`). Raises ValueError without a stage.
    """
    if not stages:
        raise ValueError("a cascade needs at least one stage: try cascade([bicubic(64)], low)")
    return Run(_folded(stages, low), f"cascade of {len(stages)} stage{'s' * (len(stages) > 1)}")


def _folded(stages: Sequence[Stage], x: Tensor | None) -> Iterator[State]:
    for number, stage in zip(count(), stages):
        state = None
        for state in stage(x):
            yield Staged(*state)._replace(stage=number)
        if state is None:
            raise ValueError(f"stage {number} yielded no State, so the next one has no picture to start from")
        x = state.x


def _given(low: Tensor | None) -> Tensor:
    if low is None:
        raise ValueError("this stage enlarges a picture and got none: put a stage that starts from noise before it")
    return low


# ---- exact for Gaussian data ---------------------------------------------------------------------------------------


def gaussian_given(
    mean: Float[Tensor, " d"], cov: Float[Tensor, "d d"], shrink: Float[Tensor, "k d"], low: Float[Tensor, "batch k"],
    std: float = 0.0,
) -> tuple[Float[Tensor, "batch d"], Float[Tensor, "d d"]]:  # fmt: skip
    """Mean and covariance of x ~ N(mean, cov) given low = shrink x + std noise.

    mean + K (low - shrink mean) and cov - K shrink cov,   K = cov shrink^T (shrink cov shrink^T + std^2 I)^-1
    The mean is what an ideal regression answers, N(mean, cov) what an ideal diffusion draws from. A draw has twice
    the squared error of the mean, so its PSNR is 10 log10(2) = 3.01 dB lower.
    Source: Blau & Michaeli 2018, arXiv:1711.06077.
    """
    cross = shrink @ cov
    gain = torch.linalg.solve(cross @ shrink.T + std**2 * torch.eye(len(shrink)).to(cov), cross).T
    return mean + (low - mean @ shrink.T) @ gain.T, cov - gain @ cross
