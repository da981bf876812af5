"""Networks as tests need them before any training."""

import torch


def awake(net, seed=0):
    """The net with its zero-initialised layers set to noise, so that its output depends on something."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        if not parameter.any():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return net.eval()
