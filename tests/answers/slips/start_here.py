"""Slips in notebook 00."""

SLIPS = {
    "E0.1": {
        "both get `share`": lambda picture, noise, share: share * picture + share * noise,
        "both get 1 - share": lambda picture, noise, share: (1 - share) * (picture + noise),
        "a lerp with a plus": lambda picture, noise, share: picture + share * (noise + picture),
        "halved, as a mean": lambda picture, noise, share: ((1 - share) * picture + share * noise) / 2,
        "a product for a sum": lambda picture, noise, share: (1 - share) * picture * share * noise,
        "a variance that is kept": lambda picture, noise, share: (1 - share**2) ** 0.5 * picture + share * noise,
        "the mean grey of the picture": lambda picture, noise, share: (1 - share) * picture.mean() + share * noise,
        "only the root of the noise's share": lambda picture, noise, share: (1 - share) * picture + share**0.5 * noise,
        "only the picture": lambda picture, noise, share: (1 - share) * picture,
        "only the noise": lambda picture, noise, share: share * noise,
        "cut off at 0 and 1": lambda picture, noise, share: ((1 - share) * picture + share * noise).clamp(0, 1),
        "brackets missing": lambda picture, noise, share: 1 - share * picture + share * noise,
        "a plain sum": lambda picture, noise, share: picture + noise,
        "int(share)": lambda picture, noise, share: (1 - int(share)) * picture + int(share) * noise,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E0.1": {
        "both get `share`": ("both are multiplied by share",),
        "both get 1 - share": ("both are multiplied by 1 - share",),
        "a lerp with a plus": ("1 + share for 1 - share",),
        "halved, as a mean": ("half of the result",),
        "a product for a sum": ("the two are multiplied, not added",),
        "a variance that is kept": ("`picture` has the wrong factor",),
        "the mean grey of the picture": ("the mean of `picture` for all",),
        "only the root of the noise's share": ("the root of share for the noise",),
        "only the picture": ("the noise is forgotten",),
        "only the noise": ("the picture is forgotten",),
        "cut off at 0 and 1": ("the result is cut off at 0 and 1",),
        "brackets missing": ("1 - share * picture lacks its brackets: (1 - share) * picture",),
        "a plain sum": ("nothing is weighted: both are at full strength",),
        "int(share)": ("`share` is rounded down to a whole number",),
    },
}
