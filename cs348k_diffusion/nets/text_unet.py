"""The lecture's modern U-Net: the classic one, with transformer layers that read a caption between its convolutions.

Pixels ask and words answer: queries come from the picture, keys and values from the caption, so that each place can
take what it needs from each word ("Conditioned generation" on the slides). Two by two pixels are folded into channels
at the door, which makes everything inside four times cheaper; codes, few already, need no folding.
Source: Rombach et al. 2022, section 3.3, arXiv:2112.10752.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.attention import Attention
from cs348k_diffusion.nets.caption import CaptionEncoder, Layer
from cs348k_diffusion.nets.unet import ResidualBlock, UNet

TextConditioning = Literal["cross", "pooled", "none"]
DOOR = 32  # channels that reach the body, once fold x fold pixels have become channels; fewer at full size, where dear
HEADS = 4


class Conditioning(NamedTuple):
    """What every block is given: the vector of time and caption, the caption's vectors, and which may be seen."""

    emb: Tensor
    words: Tensor
    mask: Tensor


class TextBlock(nn.Module):
    """A residual block, then a transformer layer over its pixels that reads the caption.

    attention: "words", cross-attention; "all", self-attention before it; "", neither, for sizes where pixels are many.
    """

    def __init__(self, channels_in: int, channels_out: int, emb_width: int, words_width: int, attention: str):
        super().__init__()
        self.residual = ResidualBlock(channels_in, channels_out, emb_width)
        layer = partial(Layer, channels_out, HEADS, words_width, self_attention=attention == "all")
        self.attention = layer() if attention else None

    def forward(self, h: Float[Tensor, "batch channels height width"], given: Conditioning) -> Tensor:
        """The same height and width, channels_out channels."""
        h = self.residual(h, given.emb)
        if self.attention is None:
            return h
        pixels = self.attention(h.flatten(2).transpose(1, 2), given.words, given.mask)
        return pixels.transpose(1, 2).unflatten(2, h.shape[-2:])


class TextUNet(nn.Module):
    """net(x, t, caption=None) for images x of shape (batch, channels, height, width) and captions as rows of tokens.

    t in [0, 1] of shape (batch,); caption (batch, m) or (1, m), tokens of a `Tokenizer` with `vocabulary` words; None,
    or padding alone, means no caption. attention: what each size does (see `TextBlock`), largest first.
    conditioning: what of the caption arrives, with the same parameters in each case: "cross", every word by
    cross-attention and their mean by `Film`; "pooled", the mean alone, the same for every pixel; "none", nothing.
    """

    def __init__(
        self,
        vocabulary: int,
        channels: int = 3,
        width: int = 32,
        mults: Sequence[int] = (1, 2, 4),
        attention: Sequence[str] = ("", "words", "all"),
        length: int = 24,
        words_width: int = 96,
        conditioning: TextConditioning = "cross",
        fold: int = 2,
    ):
        super().__init__()
        if conditioning not in ("cross", "pooled", "none"):
            raise ValueError(f'conditioning must be "cross", "pooled" or "none", got {conditioning!r}')
        if fold not in (1, 2, 4):
            raise ValueError(f"fold is 1, 2 or 4 pixels each way, got {fold}")
        self.conditioning, self.fold, emb = conditioning, fold, 4 * width
        blocks = [partial(TextBlock, words_width=words_width, attention=each) for each in attention]
        self.captions = CaptionEncoder(vocabulary, length, words_width)
        self.pool = nn.Linear(words_width, emb)
        # a convolution at full size on either side: without them the folding shows as a faint chequerboard
        self.conv_in = nn.Conv2d(channels, DOOR // fold**2, 3, padding=1)
        self.body = UNet(DOOR, width, mults, block=blocks)
        self.conv_out = nn.Conv2d(DOOR // fold**2, channels, 3, padding=1)

    @property
    def null(self) -> dict[str, Tensor]:
        """The condition that says nothing, {"caption": a row of padding}."""
        return {"caption": self.captions.null}

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Float[Tensor, " batch"],
        caption: Int[Tensor, "captions m"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """One value for each pixel; height and width must be multiples of fold 2^(len(mults) - 1)."""
        folded = F.pixel_unshuffle(self.conv_in(x), self.fold)
        return self.conv_out(F.pixel_shuffle(self.body.through(folded, self.embed(t, caption)), self.fold))

    def embed(self, t: Float[Tensor, " batch"], caption: Int[Tensor, "captions m"] | None = None) -> Conditioning:
        """What the blocks hear of the time and of the caption."""
        if caption is None or self.conditioning == "none":
            caption = self.captions.null
        caption = caption.to(t.device).expand(len(t), -1)
        vectors, mask, pooled = self.captions(caption)
        if self.conditioning == "pooled":
            vectors, mask = pooled[:, None], mask[:, :1]
        return Conditioning(self.body.embed(t) + self.pool(pooled), vectors, mask)


@torch.no_grad()
def word_maps(
    net: TextUNet,
    x: Float[Tensor, "batch channels height width"],
    t: Float[Tensor, " batch"],
    caption: Int[Tensor, "batch m"],
) -> Float[Tensor, "batch words height width"]:
    """How much each pixel listens to each token, at this x and t: the mean over all layers and heads, in x's size.

    words = m + 1: the start comes first, then the tokens of the caption; for every pixel they sum to 1, and padding
    has 0. Raises ValueError for a net that does not hear single words.
    Source: Tang et al. 2023 (DAAM), arXiv:2210.04885.
    """
    if net.conditioning != "cross":
        raise ValueError(f'only conditioning="cross" looks at single words, this one has {net.conditioning!r}')
    found: list[Tensor] = []
    here = threading.get_ident()

    def record(module: nn.Module, given: tuple[Tensor, Tensor, Tensor]) -> None:
        if threading.get_ident() != here:  # a live picture may be drawing with the same net
            return
        assert isinstance(module, Attention)
        looks = module.maps(*given).mean(1).transpose(1, 2)
        small = round((looks.shape[-1] * x.shape[-2] / x.shape[-1]) ** 0.5)
        found.append(F.interpolate(looks.unflatten(2, (small, -1)), x.shape[-2:], mode="nearest"))

    layers = [module for module in net.modules() if isinstance(module, Layer) and module.cross_attn is not None]
    hooks = [layer.cross_attn.register_forward_pre_hook(record) for layer in layers if layer.cross_attn is not None]
    try:
        net(x, t, caption)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found).mean(0)
