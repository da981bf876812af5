"""cs348k_diffusion: from procedural trees to denoisers, small enough to read.

A denoiser guesses the clean image; a step walks from time t to time s; everything else is composition.

    t, s            times in [0, 1]: 0 = data, 1 = noise; a step goes from t to s
    x0, x_t         a clean example, and the same example at time t; images lie in [-1, 1], shape (batch, C, H, W)
    eps, z          standard normal noise
    alpha_t, sigma_t    x_t = alpha_t x0 + sigma_t eps;  alpha = sqrt(alpha_bar) of the papers
    x0_hat, eps_hat     the denoiser's guesses, x0_hat = E[x0 | x_t]
    score           grad log p(x_t) = -eps_hat / sigma_t
    fresh, f        the share of the noise at time s that is drawn anew
    scale           guidance: 0 = unconditional, 1 = conditional (the CFG paper's w is scale - 1)

    watch(ddim(model.given(y=y), noise, path(50)))

The names below are loaded when first used, so that `import cs348k_diffusion` costs no more than `import torch`.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "schedule": "Schedule cosine linear_beta from_betas from_log_snr alpha_sigma straight exploding",
    "noise": "noise_like keyed_generator",
    "forward": "noise_once jump_to add_noise forward_kernel",
    "exact": "Mixture gaussian two_gaussians EmpiricalDenoiser gaussian_flow",
    "langevin": "langevin_step langevin_chain annealed_langevin anneal metropolis_langevin_step",
    "denoiser": "Denoiser NetDenoiser clip drop_condition "
    "eps_from_x0 x0_from_eps v_from_x0 x0_from_v score_from_x0 x0_from_score",
    "sampling": "State step ancestral_step ddim_step implied_x0 path log_snr_path edm_path ancestral "
    "sample ddpm ddim first_order multistep heun look_ahead",
    "training": "fit denoising warm_cosine Progress",
    "distill": "progressive progressive_x0 progressive_target imitation_target consistency_target guided "
    "conditional grid_times truncated_snr matching_direction match_distribution",
    "running": "last",
    "lab": "watch live show_trajectory compare figure show_figure image_grid budget progress present explore",
    "exercises": "NotYet",
    "grading": "check hint mine_or_ours",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
