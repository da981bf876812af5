"""The Triton kernel on a GPU: milliseconds beside torch's flash attention, and what share of the card's speed it gets.

    python tests/benchmarks/timing/triton_kernel.py FOLDER

Writes the card "attention_gpu". One batch of 4 x 16 heads, d = 64, bfloat16, forward. The card's speed is what torch's
own product of two large matrices reaches on it, just before. Needs an NVIDIA GPU and Triton.
"""

import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from cs348k_diffusion.evaluate import RESULTS
from cs348k_diffusion.recipes import cards

SIZES, SHAPE, WIDTH, TILES = (1024, 2048, 4096, 8192), (4, 16), 64, (32, 64, 128)


def milliseconds(call) -> float:
    """The median time of one call, after warming up."""
    from triton.testing import do_bench  # pyright: ignore[reportMissingImports]

    return float(do_bench(call, return_mode="median"))


def products() -> float:
    """Multiplications and additions a second in a product of two 8192 x 8192 matrices."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    return 2 * 8192**3 / milliseconds(lambda: a @ a) * 1e3


def measure(n: int, speed: float) -> dict[str, float]:
    """One length: the best tile of ours, torch's flash attention, and the share of `speed` that each reaches."""
    from cs348k_diffusion.attention.triton import triton_attention

    q, k, v = (torch.randn(*SHAPE, n, WIDTH, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        torchs = milliseconds(lambda: scaled_dot_product_attention(q, k, v))
        wanted = scaled_dot_product_attention(q, k, v)
    times = {tile: milliseconds(lambda tile=tile: triton_attention(q, k, v, tile)) for tile in TILES}
    tile = min(times, key=lambda each: times[each])
    error = float((triton_attention(q, k, v, tile).out - wanted).abs().max())
    work = 4 * SHAPE[0] * SHAPE[1] * n * n * WIDTH  # two products of n x n x d, an addition to each multiplication
    shares = {f"share_{who}": work / took * 1e3 / speed for who, took in (("ours", times[tile]), ("torch", torchs))}
    return {"n": n, "tile": tile, "ours_ms": times[tile], "torch_ms": torchs, "largest_difference": error, **shares}


def main(folder: str) -> None:
    """Measure every length and write the card."""
    if not torch.cuda.is_available():
        raise SystemExit("this needs an NVIDIA GPU; tests/attention/test_triton.py runs the kernel in an interpreter")
    speed = products()
    card = {
        "name": "attention_gpu",
        "about": "attention's forward pass on a GPU: the package's Triton kernel and torch's flash attention",
        "command": "python tests/benchmarks/timing/triton_kernel.py FOLDER",
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "settings": {"batch_and_heads": list(SHAPE), "d": WIDTH, "dtype": "bfloat16"},
        "teraflops_of_a_product": speed / 1e12,
        "runs": [measure(n, speed) for n in SIZES],
    }
    cards.write_card(card, folder)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(RESULTS))
