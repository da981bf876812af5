"""How a caption reaches a network: words become numbers, numbers become vectors, and vectors read one another.

A small grammar has a small vocabulary, so a word is a token. Captions differ in length; padding (token 0) fills them
up to one length, and a mask hides it wherever it stands: a word's place counts words, not columns. One learned vector,
the start, comes before every caption and is always visible. A caption of padding alone is the start alone: that is
what "no caption given" means, and no softmax ever runs over nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.attention import Attention
from cs348k_diffusion.nets.embed import zeroed

PADDING = 0


@dataclass(frozen=True)
class Tokenizer:
    """Captions to tokens: word k of `words` is token k + 1, and 0 is padding up to `length` tokens."""

    words: tuple[str, ...]
    length: int = 24

    def __call__(self, captions: str | Sequence[str]) -> Int[Tensor, "batch length"]:
        """One row of tokens for each caption; capitals, commas and full stops are ignored.

        Raises ValueError for words that are not in the vocabulary, a line each with the nearest that is, and for a
        caption of more than `length` words.
        """
        captions = [captions] if isinstance(captions, str) else captions
        rows = [self._row(caption) for caption in captions]
        return torch.tensor(rows, dtype=torch.long).reshape(len(rows), self.length)

    def read(self, tokens: Int[Tensor, " length"]) -> list[str]:
        """The words of one row, without its padding."""
        return [self.words[token - 1] for token in tokens.tolist() if token != PADDING]

    def _row(self, caption: str) -> list[int]:
        spoken = re.sub(r"[.,;!]", " ", caption.lower()).split()
        if len(spoken) > self.length:
            raise ValueError(f"a caption has at most {self.length} words, this one has {len(spoken)}: say less")
        number = {word: k for k, word in enumerate(self.words, start=1)}
        if strange := [word for word in dict.fromkeys(spoken) if word not in number]:
            raise ValueError("\n".join(unknown(word, self.words) for word in strange))
        return [number[word] for word in spoken] + [PADDING] * (self.length - len(spoken))


def unknown(word: str, words: Sequence[str]) -> str:
    """The sentence that says that `word` is none of `words`, and which one may have been meant."""
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"the words are: {', '.join(sorted(words))}"
    return f"the model does not know the word {word!r}; {hint}"


def visible(tokens: Int[Tensor, "batch length"]) -> Bool[Tensor, "batch length"]:
    """The padding mask: True where there is a word, False where there is padding."""
    return tokens != PADDING


class TextFeatures(NamedTuple):
    """A caption as a network sees it: vectors (batch, m, width), which of them may be seen (batch, m), and their mean.

    The first vector is the start, which is always visible; pooled is the mean of the visible ones, (batch, width).
    """

    vectors: Tensor
    mask: Tensor
    pooled: Tensor


class CaptionEncoder(nn.Module):
    """Tokens to vectors that know their neighbours: token + place, then `layers` layers of self-attention.

    vocabulary: how many words there are (tokens run from 1 to this number); length: the most words of a caption.
    It is trained together with the network that listens to it.
    """

    def __init__(self, vocabulary: int, length: int = 24, width: int = 96, layers: int = 2, heads: int = 4):
        super().__init__()
        self.length, self.width = length, width
        self.start = nn.Parameter(torch.randn(width) / width**0.5)
        self.word = nn.Embedding(vocabulary + 1, width)
        self.place = nn.Embedding(length + 1, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    @property
    def null(self) -> Int[Tensor, "1 length"]:
        """The caption that says nothing: all padding."""
        return torch.full((1, self.length), PADDING)

    def forward(self, tokens: Int[Tensor, "batch m"]) -> TextFeatures:
        """Any amount of padding, anywhere in a row, gives the same visible vectors in the same order."""
        mask = visible(tokens)
        h = self.word(tokens) + self.place(mask.long().cumsum(1))
        h = torch.cat([self.start.expand(len(h), 1, -1), h], dim=1)
        mask = F.pad(mask, (1, 0), value=True)
        for layer in self.layers:
            h = layer(h, mask=mask)
        return TextFeatures(h := self.norm(h), mask, _mean(h, mask))


class Layer(nn.Module):
    """A transformer layer over (batch, n, width): self-attention, cross-attention if there is a context, then an MLP.

    Every part is added to what came in, after a layer norm, and starts at zero: a new layer changes nothing.
    Source: Vaswani et al. 2017, arXiv:1706.03762, with the norm in front (Xiong et al. 2020, arXiv:2002.04745).
    """

    def __init__(self, width: int, heads: int = 4, context_width: int | None = None, self_attention: bool = True):
        super().__init__()
        self.self_attn = Attention(width, heads) if self_attention else None
        self.cross_attn = Attention(width, heads, context_width) if context_width else None
        wider, back = nn.Linear(width, 2 * width), zeroed(nn.Linear(2 * width, width))
        self.mlp = nn.Sequential(nn.LayerNorm(width), wider, nn.SiLU(), back)

    def forward(self, x: Float[Tensor, "b n w"], context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x after one layer; mask hides tokens of the context, or of x itself where there is no cross-attention."""
        if self.self_attn is not None:
            x = self.self_attn(x, mask=mask if self.cross_attn is None else None)
        if self.cross_attn is not None:
            x = self.cross_attn(x, context, mask)
        return x + self.mlp(x)


def _mean(h: Float[Tensor, "b m w"], mask: Bool[Tensor, "b m"]) -> Float[Tensor, "b w"]:
    share = mask.to(h) / mask.sum(1, keepdim=True)
    return torch.einsum("bm,bmw->bw", share, h)
