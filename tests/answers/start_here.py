"""Answers to notebook 00: right ones written differently, and wrong ones by name."""

import torch

RIGHT = {
    "E0.1": [
        lambda picture, noise, share: torch.lerp(picture, noise, share),
        lambda picture, noise, share: picture + share * (noise - picture),
    ]
}
WRONG = {
    "E0.1": {
        "picture and noise are swapped": lambda picture, noise, share: share * picture + (1 - share) * noise,
        "the picture is not faded": lambda picture, noise, share: picture + share * noise,
        "the noise is at full strength": lambda picture, noise, share: (1 - share) * picture + noise,
        "ignores share: always half and half": lambda picture, noise, share: (picture + noise) / 2,
        "the noise is subtracted": lambda picture, noise, share: (1 - share) * picture - share * noise,
        "square roots": lambda picture, noise, share: (1 - share) ** 0.5 * picture + share**0.5 * noise,
        "`share` divided by 100": lambda picture, noise, share: picture + share / 100 * (noise - picture),
        "`share` is rounded": lambda picture, noise, share: picture + round(share) * (noise - picture),
        "the result is cut off": lambda picture, noise, share: torch.lerp(picture, noise, share).clamp(0, 1),
        "both shares are squared": lambda picture, noise, share: (1 - share) ** 2 * picture + share**2 * noise,
        "the root of share": lambda picture, noise, share: (1 - share) * picture + share**0.5 * noise,
        "1 + share": lambda picture, noise, share: (1 + share) * picture + share * noise,
        "wrong dtype": lambda picture, noise, share: ((1 - share) * picture + share * noise).double(),
    }
}
