"""The counting simulator: right answers, counts as in the formulas, a fast memory that holds what it says."""

import math
from itertools import pairwise

import pytest
import torch

from cs348k_diffusion import last
from cs348k_diffusion.attention import dense_attention
from cs348k_diffusion.attention.memory_traffic import FastMemory, side_by_side, standard, tile_shape, tiled


def qkv(n=48, d=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    return tuple(3 * torch.randn(n, d, generator=g, dtype=torch.float64) for _ in range(3))


@pytest.mark.parametrize("size", [42, 100, 431, 2000, 9999])
def test_the_tiles_are_exact_and_their_traffic_is_the_formula(size):
    q, k, v = qkv()
    n, d = q.shape
    end = last(tiled(q, k, v, size))
    torch.testing.assert_close(end.out, dense_attention(q, k, v).out)
    assert end.moved == 2 * n * d + 2 * n * d * math.ceil(n / tile_shape(size, d)[0])


def test_the_standard_way_moves_n_squared():
    q, k, v = qkv(50)
    end = last(standard(q, k, v))
    torch.testing.assert_close(end.out, dense_attention(q, k, v).out)
    assert end.moved == 4 * 50 * 8 + 4 * 50**2


def test_traffic_falls_like_one_over_the_fast_memory_until_it_reaches_the_floor():
    q, k, v = qkv(256)
    n, d = q.shape
    sizes = [42 * rows for rows in (4, 8, 16, 32, 64)]
    moved = [last(tiled(q, k, v, size)).moved - 2 * n * d for size in sizes]
    assert [a / b for a, b in pairwise(moved)] == pytest.approx([2, 2, 2, 2])
    assert last(tiled(q, k, v, 42 * n)).moved == 4 * n * d  # Q, K, V in, O out: less is not possible


def test_fast_memory_is_as_large_as_it_says():
    fast = FastMemory(10)
    fast.load("a", torch.zeros(6))
    fast.hold("a", torch.zeros(7))  # in place of the first
    assert fast.moved == 6
    with pytest.raises(MemoryError, match="11 numbers do not fit into a fast memory of 10"):
        fast.hold("b", torch.zeros(4))
    with pytest.raises(ValueError, match="need a fast memory of 42"):
        tile_shape(41, 8)


def test_moments_are_pictures_and_wait_for_each_other():
    q, k, v = qkv(12, 4)
    runs = side_by_side({"S": list(standard(q, k, v)), "tiles": list(tiled(q, k, v, 88))}, frames=20)
    assert {name: len(moments) for name, moments in runs.items()} == {"S": 20, "tiles": 20}
    frames = [moment.frame() for moments in runs.values() for moment in moments]
    assert {tuple(frame.shape) for frame in frames} == {(1, 3, 18, 24)}
    assert all(float(frame.abs().max()) <= 1 for frame in frames)
    assert runs["S"][-1].label() == f"{4 * 48 + 4 * 144:,} numbers moved"
    assert all(a.moved <= b.moved for moments in runs.values() for a, b in pairwise(moments))
