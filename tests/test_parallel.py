"""Two processes of half a batch each have the gradient of one process with the whole batch: digits, codec, student."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from cs348k_diffusion import distill, training
from cs348k_diffusion.data import Batches
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.distill import conditional
from cs348k_diffusion.latent import NetCodec
from cs348k_diffusion.nets import Decoder, Encoder, FastUNet, UNet
from cs348k_diffusion.parallel import share_gradients, team
from cs348k_diffusion.recipes.distilled import fewer_steps
from cs348k_diffusion.recipes.stages import pictures_codec
from cs348k_diffusion.schedule import cosine
from tests.untrained import awake

ROOT, WHOLE = Path(__file__).parents[1], 16  # examples of a whole batch; 10 and 6 of them learn 2 and 4 steps


def noise_of(x, generator=None):
    """What stands in for noise: a function of the example, the same in whatever process it is."""
    return (37 * x).sin()


def batch_of(channels, seed):
    return torch.randn(WHOLE, channels, 4, 4, generator=torch.Generator().manual_seed(seed))


def digits(mine, times):
    model = NetDenoiser(UNet(1, width=8, mults=(1, 2), classes=3), cosine())
    return model, training.denoising(times=times), (batch_of(1, 1)[mine], {"y": (torch.arange(WHOLE) % 3)[mine]})


def codec(mine, times):
    model = NetCodec(Encoder(3, 2, 2, width=8), Decoder(3, 2, 2, width=8), 2, 2)
    return model, pictures_codec.loss, batch_of(3, 2)[mine]


def student(mine, times):
    """The third stage: two steps learned from a student of an earlier stage, and four rehearsed."""
    model, *earlier = (NetDenoiser(FastUNet(1, width=8, mults=(1, 2), classes=3), cosine()) for _ in range(3))
    x, y = batch_of(1, 3)[mine], (torch.arange(WHOLE) % 3)[mine]
    rows = fewer_steps.rows_of(fewer_steps.REHEARSAL[2], len(x))
    stock = Batches(len(x), len(x), lambda rows: (x, {"y": y}))
    lessons = fewer_steps.StudentBatches(stock, rows, torch.Generator(), x.device, scaled=False)
    teachers = {n: conditional(awake(each, seed=n)) for n, each in zip((2, 4), earlier, strict=True)}
    return model, fewer_steps.stage_loss(teachers, rows, bound=1.5), next(lessons)


def gradients(rank, size):
    """The gradient of each loss, as one vector, from the examples rank, rank + size, ... of the batch."""
    cases: tuple[Any, ...] = digits, codec, student
    mine, found = slice(rank, None, size), {}

    def times(n, generator=None):
        return ((torch.arange(n * size) + 0.5) / (n * size))[mine]

    with (
        patch.object(training, "noise_like", noise_of),
        patch.object(pictures_codec, "noise_like", noise_of),
        patch.object(distill, "uniform_times", times),
    ):
        for case in cases:
            torch.manual_seed(0)
            model, loss, batch = case(mine, times)
            awake(model, seed=9)
            if size > 1:
                share_gradients(model, size)
            loss(model, batch, None).backward()
            parts = [each.grad for each in model.parameters() if each.grad is not None]
            found[case.__name__] = torch.cat([part.flatten() for part in parts])
    return found


def write(folder):
    """What each of the two processes does."""
    torch.set_num_threads(1)
    rank, size = team("cpu")
    save_file(gradients(rank, size), Path(folder) / f"{rank}.safetensors")


def test_two_processes_have_the_gradient_of_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"from tests.test_parallel import write; write({str(tmp_path)!r})"]
    members = [subprocess.Popen(command, env={**shared, "RANK": rank}, cwd=ROOT) for rank in "01"]
    whole = gradients(0, 1)
    with patch(f"{__name__}.share_gradients", lambda model, size: None):
        alone = gradients(0, 2)
    assert [member.wait(timeout=300) for member in members] == [0, 0]
    for rank in "01":
        found = load_file(tmp_path / f"{rank}.safetensors")
        for name, gradient in whole.items():
            assert_close(found[name], gradient, rtol=0, atol=1e-5 * float(gradient.abs().max()))
            assert (alone[name] - gradient).abs().max() > 0.01 * gradient.abs().max(), "half a batch says the same"
