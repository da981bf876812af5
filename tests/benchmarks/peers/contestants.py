"""Five ways to train an unconditional diffusion model of 32 x 32 colour pictures: this course's, and four libraries'.

Each library trains as its own smallest documented example for pictures does (network, schedule, loss, optimizer, rate,
average), at 32 x 32; where that example's batch is larger than 64, a batch of 64. Nothing else is changed. Imports are
inside, for each contestant lives in an environment of its own.
"""

from __future__ import annotations

import copy
import importlib
import math
import re
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

SIZE, CHANNELS = 32, 3
EINOPS, ACCELERATE = "einops==0.8.2", "accelerate==1.15.0"
TORCHVISION = "torchvision==0.28.0"  # the release that belongs to the torch of the lock file


class Contestant(NamedTuple):
    """A model that is trained batch by batch and then asked for pictures in [-1, 1].

    update(pictures, fraction of the training that is done); sample(n, network evaluations for each).
    """

    network: torch.nn.Module
    batch: int
    update: Callable[[Tensor, float], None]
    sample: Callable[[int, int], Tensor]


def ours(seed: int) -> Contestant:
    """The recipe `pictures` without its captions: TextUNet, cosine schedule, v, averaged weights, DDIM."""
    from cs348k_diffusion.denoiser import clip
    from cs348k_diffusion.recipes import pictures
    from cs348k_diffusion.running import last
    from cs348k_diffusion.sampling import ddim, path
    from cs348k_diffusion.training import denoising, update, warm_cosine

    generator, model = torch.Generator().manual_seed(seed), pictures.denoiser()
    averaged = Averaged(model, pictures.EMA)
    optimizer, rate = torch.optim.AdamW(model.parameters()), warm_cosine(pictures.PEAK)
    loss = denoising(times=pictures.noisy_times)

    def step(images: Tensor, fraction: float) -> None:
        optimizer.param_groups[0]["lr"] = rate(fraction)
        update(model.train(), images, loss, optimizer, generator=generator)
        averaged.update(model)

    def sample(n: int, evaluations: int) -> Tensor:
        noise = torch.randn(n, CHANNELS, SIZE, SIZE, generator=generator)
        return last(ddim(clip(averaged.network), noise, path(evaluations))).x

    return Contestant(model, pictures.RECIPE.batch, step, sample)


def denoising_diffusion_pytorch(seed: int) -> Contestant:
    """The README's example: Unet(dim=64, dim_mults=(1, 2, 4, 8)), Adam 8e-5, ema .995, batches of 32, DDIM."""
    without_kernels()
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    network = Unet(dim=64, dim_mults=(1, 2, 4, 8), flash_attn=False)
    diffusion = GaussianDiffusion(network, image_size=SIZE, timesteps=1000, sampling_timesteps=250)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=8e-5, betas=(0.9, 0.99))
    ema = EMA(diffusion, beta=0.995, update_every=10)

    def step(images: Tensor, fraction: float) -> None:
        stepped(optimizer, diffusion.train()((images + 1) / 2), 1.0)
        ema.update()

    def sample(n: int, evaluations: int) -> Tensor:
        ema.ema_model.sampling_timesteps, ema.ema_model.is_ddim_sampling = evaluations, True
        return ema.ema_model.eval().sample(batch_size=n) * 2 - 1

    return Contestant(network, 32, step, sample)


def smalldiffusion(seed: int) -> Contestant:
    """examples/fashion_mnist_unet.py at 32 x 32: Unet(ch=64, ch_mult=(1, 1, 2)), eps, AdamW 7e-4, gam 1.6."""
    without_kernels()
    from accelerate import Accelerator
    from smalldiffusion import ScheduleLogLinear, Unet, generate_train_sample, samples
    from smalldiffusion.model import Scaled

    schedule = ScheduleLogLinear(sigma_min=0.01, sigma_max=20, N=800)
    network = Scaled(Unet)(SIZE, CHANNELS, CHANNELS, ch=64, ch_mult=(1, 1, 2), attn_resolutions=(16,))
    optimizer, averaged = torch.optim.AdamW(network.parameters(), lr=7e-4), Averaged(network, 0.999)

    def step(images: Tensor, fraction: float) -> None:
        x0, sigma, eps, cond = generate_train_sample(images, schedule)
        stepped(optimizer, network.train().get_loss(x0, sigma, eps, cond=cond))
        averaged.update(network)

    def sample(n: int, evaluations: int) -> Tensor:
        sigmas, alone = schedule.sample_sigmas(evaluations), Accelerator(cpu=True)
        return [*samples(averaged.network, sigmas, gam=1.6, batchsize=n, accelerator=alone)][-1]

    return Contestant(network, 64, step, sample)


def diffusers(seed: int) -> Contestant:
    """Unit 1 of Hugging Face's course, butterflies of 32 x 32: UNet2DModel, squared cosines, AdamW 4e-4, DDIM."""
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

    network = UNet2DModel(
        sample_size=SIZE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        layers_per_block=2,
        block_out_channels=(64, 128, 128, 256),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    schedule = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-4)

    def step(images: Tensor, fraction: float) -> None:
        noise, t = torch.randn_like(images), torch.randint(0, 1000, (len(images),))
        predicted = network.train()(schedule.add_noise(images, noise, t), t, return_dict=False)[0]
        stepped(optimizer, torch.nn.functional.mse_loss(predicted, noise))

    def sample(n: int, evaluations: int) -> Tensor:
        walk = DDIMScheduler.from_config(schedule.config)
        walk.set_timesteps(evaluations)
        x = torch.randn(n, CHANNELS, SIZE, SIZE)
        for t in walk.timesteps:
            x = walk.step(network.eval()(x, t).sample, t, x).prev_sample
        return x

    return Contestant(network, 64, step, sample)


def azula(seed: int) -> Contestant:
    """The MNIST and CIFAR tutorials at the library's default widths: UNet (64, 128, 256), Adam 1e-4, DDIM."""
    without_kernels()
    from azula.denoise import KarrasDenoiser
    from azula.nn.layers import SineEncoding
    from azula.nn.unet import UNet
    from azula.noise import VPSchedule
    from azula.sample import DDIMSampler

    class Backbone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet, self.time = UNet(CHANNELS, CHANNELS, mod_features=256), SineEncoding(256)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.unet(x, self.time(t))

    denoiser = KarrasDenoiser(Backbone(), VPSchedule())
    optimizer, averaged = torch.optim.Adam(denoiser.parameters(), lr=1e-4), Averaged(denoiser, 0.999)

    def step(images: Tensor, fraction: float) -> None:
        stepped(optimizer, denoiser.train().loss(images, torch.rand(len(images))).mean())
        averaged.update(denoiser)

    def sample(n: int, evaluations: int) -> Tensor:
        walk = DDIMSampler(averaged.network, steps=evaluations, silent=True)
        return walk(walk.init((n, CHANNELS, SIZE, SIZE)))

    return Contestant(denoiser, 64, step, sample)


class Entry(NamedTuple):
    """How a contestant is built from a seed, what pip installs for it, and whether its rate follows the clock."""

    build: Callable[[int], Contestant]
    installs: tuple[str, ...] = ()  # beside torch and NumPy, which are the course's
    anneals: bool = False  # then each length is a training of its own; without, the shorter is part of the longer


CONTESTANTS = {
    "cs348k_diffusion": Entry(ours, anneals=True),
    "denoising-diffusion-pytorch": Entry(
        denoising_diffusion_pytorch,
        (
            "denoising-diffusion-pytorch==2.3.4",
            "ema-pytorch==0.8.3",
            "pytorch-fid==0.3.0",
            EINOPS,
            ACCELERATE,
            TORCHVISION,
        ),
    ),
    "smalldiffusion": Entry(smalldiffusion, ("smalldiffusion==0.5.0", EINOPS, ACCELERATE, TORCHVISION)),
    "diffusers": Entry(diffusers),  # the course's dev extra has it: it is an oracle of the tests
    "azula": Entry(azula, ("azula==0.11.1", EINOPS, TORCHVISION)),
}


class Averaged:
    """Exponentially averaged weights, warmed up so that a run of minutes is not dominated by its start."""

    def __init__(self, network: torch.nn.Module, decay: float):
        self.network, self._decay, self._done = copy.deepcopy(network).eval().requires_grad_(False), decay, 0

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        self._done += 1
        keep = min(self._decay, (1 + self._done) / (10 + self._done))
        for old, new in zip(self.network.parameters(), network.parameters(), strict=True):
            old.lerp_(new, 1 - keep)


def stepped(optimizer: torch.optim.Optimizer, loss: Tensor, clip_norm: float = math.inf) -> None:
    """One update of the optimizer's parameters."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip_norm < math.inf:
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip_norm)
    optimizer.step()


def without_kernels() -> None:
    """Import torchvision, whose Python these libraries need, even where its operators were built for another torch.

    Each operator that it then misses is declared, without a kernel, and it is imported again.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for _ in range(100):
        try:
            importlib.import_module("torchvision")
            return
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if not missing:
                raise
            library.define(f"{missing[1]}(Tensor x) -> Tensor")
            _DECLARED.append(library)
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]


_DECLARED: list[torch.library.Library] = []  # a declaration lasts as long as its library
