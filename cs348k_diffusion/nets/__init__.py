"""Networks: plain functions net(x, t, **condition) of a noisy input and a time, which know nothing of schedules.

They meet a schedule in `NetDenoiser(net, schedule)`. Every condition may be left out, and then means nothing given.
"""

from cs348k_diffusion.nets.autoencoder import Decoder, Encoder, PlainBlock
from cs348k_diffusion.nets.caption import CaptionEncoder, Layer, TextFeatures, Tokenizer, unknown, visible
from cs348k_diffusion.nets.classifier import Classifier
from cs348k_diffusion.nets.embed import Film, LabelEmbedding, TimeAndLabel, sinusoids, zeroed
from cs348k_diffusion.nets.fast_unet import FastTextUNet, FastUNet
from cs348k_diffusion.nets.mlp import PointNet
from cs348k_diffusion.nets.reader import AttributeReader
from cs348k_diffusion.nets.text_unet import TextBlock, TextUNet, word_maps
from cs348k_diffusion.nets.unet import ResidualBlock, UNet, group_norm
from cs348k_diffusion.nets.upsampler import UpsamplerUNet

__all__ = [
    "AttributeReader",
    "CaptionEncoder",
    "Classifier",
    "Decoder",
    "Encoder",
    "FastTextUNet",
    "FastUNet",
    "Film",
    "LabelEmbedding",
    "Layer",
    "PlainBlock",
    "PointNet",
    "ResidualBlock",
    "TextBlock",
    "TextFeatures",
    "TextUNet",
    "TimeAndLabel",
    "Tokenizer",
    "UNet",
    "UpsamplerUNet",
    "group_norm",
    "sinusoids",
    "unknown",
    "visible",
    "word_maps",
    "zeroed",
]
