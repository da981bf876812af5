"""How long does drawing take?  Milliseconds a picture, beside the limits set for a quiet machine with two cores.

    OMP_NUM_THREADS=2 python tests/benchmarks/timing/render.py

Trees: 64 x 64 pixels, 64 parts, batch 16, forward and backward, 60 ms a picture. Pictures: 32 x 32 pixels, batch 64,
about 40 parts of all kinds, stacked and drawn within 300 ms for the batch. Counted as the best of several rounds; the
processor's time, all threads together, says more on a machine that is busy with something else.
"""

import math
import random
import time

import torch

from cs348k_diffusion.procedural.render import capsule, crescent, disc, draw, ellipse, polygon, stack

RED = (1.0, -1.0, -1.0)


def best(work, rounds: int = 7) -> tuple[float, float]:
    """Milliseconds of the fastest round: on the clock, and of the processor."""
    times = []
    for _ in range(rounds):
        clock, spent = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - clock, time.process_time() - spent))
    wall, cpu = (1e3 * min(column) for column in zip(*times, strict=True))
    return wall, cpu


def point(rng: random.Random) -> tuple[float, float]:
    return rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8)


def any_shape(rng: random.Random):
    """A branch, leaf, ellipse, triangle or moon somewhere in the picture."""
    x, y = point(rng)
    makers = (
        lambda: capsule((x, y), point(rng), 0.06, 0.03, RED),
        lambda: disc((x, y), 0.15, RED),
        lambda: ellipse((x, y), (0.3, 0.1), rng.uniform(0, math.pi), RED),
        lambda: polygon([(x, y), (x + 0.2, y), (x + 0.1, y + 0.3)], RED),
        lambda: crescent((x, y), 0.2, (x + 0.1, y), 0.2, RED),
    )
    return rng.choices(makers, (4, 3, 1, 1.5, 0.5))[0]()


def forward_and_backward(parts) -> None:
    numbers = parts.numbers.clone().requires_grad_()
    picture = draw(parts._replace(numbers=numbers), 64, softness=0.02)
    picture.image.square().mean().backward()


def main() -> None:
    rng = random.Random(0)
    branches = stack([[capsule(point(rng), point(rng), 0.05, 0.02, RED) for _ in range(64)] for _ in range(16)])
    scenes = [[any_shape(rng) for _ in range(40)] for _ in range(64)]
    wall, cpu = best(lambda: forward_and_backward(branches))
    with torch.no_grad():
        drawing, spent = best(lambda: draw(stack(scenes), 32))
    print(f"{torch.get_num_threads()} thread(s)")
    fitting = f"{wall / 16:6.1f} ms a picture (limit 60), {cpu / 16:6.1f} ms of processor"
    print(f"64 x 64, 64 parts, batch 16, forward and backward: {fitting}")
    drawn = f"{drawing:6.1f} ms (limit 300), {spent:6.1f} ms of processor"
    print(f"32 x 32, 40 parts, batch 64, stacked and drawn:    {drawn}")


if __name__ == "__main__":
    main()
