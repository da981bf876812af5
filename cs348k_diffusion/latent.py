"""Diffusion in a smaller space: a codec makes a picture into fewer numbers, and the samplers walk there unchanged.

    z = (encode(x) - mean) / std,   z ~ p(z) by diffusion,   x = decode(std z + mean), once, at the end

Codes are standardised per channel, because schedules are made for data of unit variance; they have no range to clip to.
Source: Rombach et al. 2022, arXiv:2112.10752; Vahdat et al. 2021, arXiv:2106.05931.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.running import Run
from cs348k_diffusion.sampling import State, step
from cs348k_diffusion.schedule import Schedule

SMALLEST = 1e-12  # a variance below this is that of a direction in which the data does not vary at all


@runtime_checkable
class Codec(Protocol):
    """Anything that makes pictures into standardised codes and codes into pictures."""

    def encode(self, x: Tensor) -> Tensor:
        """Codes of pictures (batch, channels, height, width): mean 0 and variance 1 in each channel over the data."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Pictures of codes."""
        ...

    def shape(self, picture: Sequence[int]) -> tuple[int, int, int]:
        """The shape of the code of a picture of shape (channels, height, width)."""
        ...


def code_shape(picture: Sequence[int], f: int, d: int) -> tuple[int, int, int]:
    """(d, height / f, width / f); raises ValueError for a picture that f does not divide."""
    _, height, width = picture
    if height % f or width % f:
        raise ValueError(f"height and width must be multiples of {f}, got {height} and {width}")
    return d, height // f, width // f


# ---- the best linear codec -----------------------------------------------------------------------------------------


class PCACodec:
    """The best linear codec of f x f patches: their d first principal directions, each scaled to unit variance.

    z_k = basis_k . (patch - mean) / sqrt(variances_k). With f the size of the picture it is PCA of whole pictures.
    The mean squared error of a patch is the sum of the variances left out, exactly, over the data it was made from
    (Eckart & Young 1936); for Gaussian data the decoded samples have covariance basis^T diag(variances) basis.
    """

    def __init__(self, mean: Float[Tensor, " p"], basis: Float[Tensor, "d p"], variances: Float[Tensor, " p"], f: int):
        self.mean, self.basis, self.variances, self.f = mean, basis, variances, f

    @classmethod
    def of(cls, x: Float[Tensor, "n channels height width"], f: int, d: int) -> PCACodec:
        """The codec of the data x. Raises ValueError for an f that does not divide x, and unless 1 <= d <= rank."""
        code_shape(x.shape[1:], f, d)
        patches = F.unfold(x.double(), f, stride=f).transpose(1, 2).flatten(0, 1)
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        variances, basis = values.flip(0).clamp(min=0), vectors.flip(1).T
        rank = int((variances > SMALLEST).sum())
        if not 1 <= d <= rank:
            raise ValueError(f"d is from 1 to {rank}, the number of directions in which these patches vary; got {d}")
        return cls(mean, basis[:d], variances, f)

    @property
    def d(self) -> int:
        """Numbers kept for each patch."""
        return len(self.basis)

    @property
    def error(self) -> float:
        """Mean squared error of a patch, summed over its numbers: the variances left out."""
        return float(self.variances[self.d :].sum())

    def encode(self, x: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n d rows columns"]:
        """Standardised codes, in the dtype of x."""
        _, rows, columns = self.shape(x.shape[1:])
        patches = F.unfold(x, self.f, stride=self.f).transpose(1, 2)
        z = (patches - self.mean.to(x)) @ (self.basis / self._scale).to(x).T
        return z.transpose(1, 2).unflatten(2, (rows, columns))

    def decode(self, z: Float[Tensor, "n d rows columns"]) -> Float[Tensor, "n channels height width"]:
        """Pictures, in the dtype of z."""
        size = (z.shape[-2] * self.f, z.shape[-1] * self.f)
        patches = z.flatten(2).transpose(1, 2) @ (self.basis * self._scale).to(z) + self.mean.to(z)
        return F.fold(patches.transpose(1, 2), size, self.f, stride=self.f)

    def shape(self, picture: Sequence[int]) -> tuple[int, int, int]:
        """(d, height / f, width / f)."""
        return code_shape(picture, self.f, self.d)

    @property
    def _scale(self) -> Float[Tensor, "d 1"]:
        return self.variances[: self.d, None].sqrt()


# ---- a learned codec -----------------------------------------------------------------------------------------------


class NetCodec(nn.Module):
    """An encoder that gives (mean, log-variance) and a decoder, made a codec: its code is the mean, standardised.

    mean, std: (d, 1, 1), of the codes over the data; `standardise` measures them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, f: int, d: int):
        super().__init__()
        self.encoder, self.decoder, self.f, self.d = encoder, decoder, f, d
        self.register_buffer("mean", torch.zeros(d, 1, 1))
        self.register_buffer("std", torch.ones(d, 1, 1))

    def encode(self, x: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n d rows columns"]:
        """Standardised codes."""
        return (self.encoder(x)[0] - self.mean) / self.std

    def decode(self, z: Float[Tensor, "n d rows columns"]) -> Float[Tensor, "n channels height width"]:
        """Pictures of standardised codes, not cut off to any range."""
        return self.decoder(z * self.std + self.mean)

    def shape(self, picture: Sequence[int]) -> tuple[int, int, int]:
        """(d, height / f, width / f)."""
        return code_shape(picture, self.f, self.d)

    @torch.no_grad()
    def follow(self, codes: Float[Tensor, "n d rows columns"], memory: float) -> None:
        """Move mean and std towards those of a batch of codes, as an encoder in training does: memory is what stays."""
        self.mean.lerp_(codes.mean((0, 2, 3)).float()[:, None, None], 1 - memory)
        self.std.lerp_(codes.std((0, 2, 3), correction=0).float()[:, None, None], 1 - memory)

    @torch.no_grad()
    def standardise(self, x: Iterable[Tensor]) -> None:
        """Set mean and std so that codes of all pictures, given in parts, have mean 0 and variance 1 per channel."""
        z = torch.cat([self.encoder(part)[0] for part in x])
        self.mean.copy_(z.mean((0, 2, 3))[:, None, None])
        self.std.copy_(z.std((0, 2, 3), correction=0)[:, None, None])


def sampled_code(
    mean: Float[Tensor, "*shape"], log_var: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """mean + exp(log_var / 2) noise: a draw of the code that gradients pass through. Kingma & Welling 2014, eq. 10."""
    return mean + (log_var / 2).exp() * noise


def kl_to_normal(mean: Float[Tensor, "*shape"], log_var: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """KL(N(mean, exp(log_var)) || N(0, 1)) = (mean^2 + exp(log_var) - 1 - log_var) / 2, in nats: the mean over numbers.

    Source: Kingma & Welling 2014, appendix B, arXiv:1312.6114.
    """
    return (mean.square() + log_var.exp() - 1 - log_var).mean() / 2


def picture_loss(made: Float[Tensor, "n c h w"], x: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """|made - x| + 2 |differences of neighbours| + 2 (made - x)^2, each a mean: edges count, not only areas."""
    edges = [F.l1_loss(made.diff(dim=axis), x.diff(dim=axis)) for axis in (-1, -2)]
    return F.l1_loss(made, x) + 2 * (edges[0] + edges[1]) + 2 * F.mse_loss(made, x)


def worst_error(made: Float[Tensor, "n c h w"], x: Float[Tensor, "n c h w"], share: float = 0.02) -> Float[Tensor, ""]:
    """Mean |made - x| over the share of pixels where it is largest, at least one: an eye is few pixels, all wrong.

    Source: the idea is that of hard examples, Shrivastava et al. 2016, arXiv:1604.03540.
    """
    errors = (made - x).abs().mean(1).flatten()
    return errors.topk(max(1, round(share * len(errors)))).values.mean()


def draw_in_codes(
    schedule: Schedule,
    denoise: Callable[[Tensor, Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    noise: Float[Tensor, "n ..."],
    times: Float[Tensor, " moments"],
) -> Float[Tensor, "n ..."]:
    """Pictures: DDIM from `noise`, at times[0], along `times` in codes, and one decoding at the end.

    Notebook 08 builds it; `decoded` is for those who watch the walk.
    """
    z, moments = noise, times.to(noise)
    for now, then in pairwise(moments):
        z = step(schedule, z, denoise(z, now.expand(len(z))), float(now), float(then))
    return decode(z)


def decoded(states: Iterable[State], codec: Codec) -> Run[State]:
    """The same walk to be looked at: every State with its codes decoded. The walk itself never decodes."""
    return Run(_decoded(states, codec), "a walk of codes, decoded")


def _decoded(states: Iterable[State], codec: Codec) -> Iterator[State]:
    with torch.no_grad():
        for state in states:
            yield state._replace(x=codec.decode(state.x), x0_hat=codec.decode(state.x0_hat))
