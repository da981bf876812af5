"""Several processes, one model: `torchrun --nproc-per-node 4 -m cs348k_diffusion.cli train digits`.

Every process starts from the same weights and draws its own share of each batch; after each backward pass the
gradients are averaged. The optimizers then do the same thing everywhere.
"""

from __future__ import annotations

import atexit
import os

import torch
from torch import distributed, nn


def team(device: str) -> tuple[int, int]:
    """(rank, size) of this process under torchrun, with the process group open; (0, 1) otherwise.

    The group stays open until the process ends: a second one at the same address could meet what the first has left
    there, and wait for ever.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        atexit.register(distributed.destroy_process_group)
    return distributed.get_rank(), size


def together() -> None:
    """Wait for the other processes of the team, if there are any."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def share_gradients(model: nn.Module, size: int) -> None:
    """From now on every gradient of the model is the mean over the `size` processes of the team."""

    def average(parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad.div_(size)

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(average)
