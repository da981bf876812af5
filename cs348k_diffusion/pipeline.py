"""What turns prompts or labels into pictures is one value: a model, its condition, and how it is walked.

    draw = recipes.load_pipeline("pictures")
    watch(draw(["a red cat by day"] * 6, scale=3.0, seed=2))

noise -> guided steps on pictures or codes -> decode -> larger stages. Another size, a codec, a cascade or a faster
student is another value, made by a recipe; whoever draws says the same line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.cascade import Stage, cascade
from cs348k_diffusion.denoiser import Denoiser, NetDenoiser, clip
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.running import Run, last
from cs348k_diffusion.sampling import Solver, State, first_order, path, sample

Bind = Callable[[NetDenoiser, Mapping[str, Tensor], float, int], Denoiser]


@runtime_checkable
class Condition(Protocol):
    """What a model may be asked: prompts, labels, or nothing."""

    def __call__(self, requests: Sequence[Any]) -> dict[str, Tensor]:
        """The model's conditions, a row for each request; ValueError says what is wrong with a request."""
        ...

    def default(self, n: int) -> list[Any]:
        """What n pictures are asked when nobody asks for anything."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """The half of a codec that drawing needs."""

    def decode(self, z: Tensor) -> Tensor:
        """Pictures of codes."""
        ...

    def shape(self, picture: Sequence[int]) -> tuple[int, ...]:
        """The shape of the code of a picture of shape (channels, height, width)."""
        ...


# ---- conditions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompts:
    """Requests are sentences; "" is no caption. parse(text) says what is wrong with a sentence, by raising."""

    tokenize: Callable[[Sequence[str]], Tensor]
    parse: Callable[[str], Any]

    def __call__(self, requests: Sequence[str]) -> dict[str, Tensor]:
        """{"caption": tokens (n, length)}."""
        for text in filter(None, requests):
            self.parse(text)
        return {"caption": self.tokenize(requests)}

    def default(self, n: int) -> list[str]:
        """No caption, n times."""
        return [""] * n


@dataclass(frozen=True)
class Labels:
    """Requests are numbers of classes, 0 .. classes - 1; `classes` itself is no class."""

    classes: int

    def __call__(self, requests: Sequence[int]) -> dict[str, Tensor]:
        """{"y": labels (n,)}; raises ValueError for a label that does not exist."""
        for label in requests:
            if not 0 <= label < self.classes:
                raise ValueError(f"there is no label {label}; the labels are 0 to {self.classes - 1}")
        return {"y": torch.tensor([int(label) for label in requests], dtype=torch.long)}

    def default(self, n: int) -> list[int]:
        """0, 1, 2, ... in turn."""
        return [k % self.classes for k in range(n)]


@dataclass(frozen=True)
class Unconditional:
    """A model that cannot be asked for anything: each request is None."""

    def __call__(self, requests: Sequence[Any]) -> dict[str, Tensor]:
        """{}; raises ValueError for a request."""
        if asked := [request for request in requests if request is not None]:
            raise ValueError(f"this model takes no prompt and no label, got {asked[0]!r}")
        return {}

    def default(self, n: int) -> list[None]:
        """Nothing, n times."""
        return [None] * n


# ---- the pipeline ----------------------------------------------------------------------------------------------------


def with_guidance(model: NetDenoiser, cond: Mapping[str, Tensor], scale: float, steps: int) -> Denoiser:
    """Classifier-free guidance of the model by its conditions (`guide`); one evaluation a step at scale 0 and 1."""
    if scale == 0 or not cond:
        return model.given()
    return model.given(**cond) if scale == 1 else guide(model.given(**cond), model.given(), scale)


def with_inputs(*steps_known: int, low: float = 1.0, high: float = math.inf) -> Bind:
    """For a distilled student: stride (1 / steps) and scale are conditions of the model, so a step is one evaluation.

    steps_known: the numbers of steps that it learned; low, high: of the scales; others raise ValueError. A student that
    knows one scale, low = high, is not told it.
    """

    def bind(model: NetDenoiser, cond: Mapping[str, Tensor], scale: float, steps: int) -> Denoiser:
        if steps not in steps_known or not low <= scale <= high:
            scales = f"scales {low:g} to {high:g}" if low < high else f"scale {low:g}"
            known = f"{', '.join(map(str, steps_known))} steps at {scales}"
            raise ValueError(f"this student draws in {known}, got {steps} at {scale:g}")
        told = {"scale": torch.tensor([float(scale)])} if low < high else {}
        return model.given(**cond, **told, stride=torch.tensor([1 / steps]))

    return bind


@dataclass(frozen=True)
class Pipeline:
    """A trained model and how it is drawn with; call it for a Run of States, `images` for the ends alone.

    shape: (channels, height, width) of a picture before any further stage; condition: requests -> the model's
    conditions; scale, steps: what is used where nobody says; times(steps): the path; solver: which x0_hat to step with;
    bind: how conditions and scale reach the model; limits: x0_hat is clipped to them (None for codes, which have no
    range); codec: decodes what was walked; stages: made with the run's generator, each enlarges what came before;
    fast: a student that draws previews.
    """

    model: NetDenoiser
    shape: tuple[int, ...]
    condition: Condition = field(default_factory=Unconditional)
    scale: float = 1.0
    steps: int = 20
    times: Callable[[int], Tensor] = path
    solver: Solver = first_order
    bind: Bind = with_guidance
    limits: tuple[float, float] | None = (-1.0, 1.0)
    codec: Decoder | None = None
    stages: tuple[Callable[[torch.Generator], Stage], ...] = ()
    fast: Pipeline | None = None

    def __call__(
        self, requests: Sequence[Any], scale: float | None = None, seed: int = 0, steps: int | None = None
    ) -> Run[State]:
        """One picture for each request, on its way from noise; every State holds pictures, decoded if need be.

        scale: 0 ignores the requests, 1 follows them, more insists. The same seed, the same pictures. Raises
        ValueError for a request that the model does not know and for a scale that is no number.
        """
        return self._walk(requests, scale, seed, steps, whole=True)

    def images(
        self,
        requests: Sequence[Any],
        scale: float | None = None,
        seed: int = 0,
        steps: int | None = None,
        at_once: int = 50,
    ) -> Float[Tensor, "requests channels height width"]:
        """The pictures at the end, on the CPU, some at a time: part k starts from the noise of seed + k."""
        parts = [requests[k : k + at_once] for k in range(0, len(requests), at_once)]
        if not parts:
            raise ValueError("nothing to draw: give at least one prompt or label")
        walks = (self._walk(part, scale, seed + k, steps, whole=False) for k, part in enumerate(parts))
        return torch.cat([last(walk).x.cpu() for walk in walks])

    def preview(self, requests: Sequence[Any], scale: float | None = None, seed: int = 0) -> Run[State]:
        """The same as soon as possible: by the student at its own number of steps, else in four."""
        return self.fast(requests, scale, seed) if self.fast else self(requests, scale, seed, steps=4)

    def _walk(
        self, requests: Sequence[Any], scale: float | None, seed: int, steps: int | None, whole: bool
    ) -> Run[State]:
        scale, steps = self.scale if scale is None else scale, steps or self.steps
        if not math.isfinite(scale):
            raise ValueError(f"the scale of guidance is a number, 0 or more, got {scale}")
        denoise, generator = self._denoiser(requests, scale, steps), torch.Generator().manual_seed(seed)
        shape = self.codec.shape(self.shape) if self.codec else self.shape
        device = next(self.model.parameters()).device
        times = self.times(steps)
        noise = self.model.schedule.prior((len(requests), *shape), generator, times[0]).to(device)

        def first(_: Tensor | None) -> Iterator[State]:
            return self._decoded(sample(denoise, noise, times, solver=self.solver), whole)

        stages = [first, *(make(generator) for make in self.stages)]
        return Run(cascade(stages), f"drawing {len(requests)} pictures, {steps} steps")

    def _denoiser(self, requests: Sequence[Any], scale: float, steps: int) -> Denoiser:
        device = next(self.model.parameters()).device
        cond = {name: value.to(device) for name, value in self.condition(requests).items()}
        denoise = self.bind(self.model, cond, scale, steps)
        return clip(denoise, *self.limits) if self.limits else denoise

    def _decoded(self, states: Iterator[State], whole: bool) -> Iterator[State]:
        if self.codec is None:
            yield from states
            return
        for state in states if whole else [last(states)]:
            with torch.no_grad():  # never around the yield
                pictures = state._replace(x=self.codec.decode(state.x), x0_hat=self.codec.decode(state.x0_hat))
            yield pictures
