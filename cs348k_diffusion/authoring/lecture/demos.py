"""What is live on the slides: a few lines of Python each, run in a kernel of the page's own, from nothing.

A demo defines `demo(value)`, called with the value of its control: at first, and after every change. What it shows, it
shows by `stage`. The code is what a key of the deck shows to the audience, so it is written to be read.
"""

from __future__ import annotations

from cs348k_diffusion.authoring.lecture.controls import FIRST, PROMPT, SEED, Control, Demo, slider
from cs348k_diffusion.authoring.lecture.demos_second_half import PERFORMANCE

RULES = ("modify_params", "add_leaf", "remove_leaf", "split_branch", "remove_branch", "add_anywhere", "begin again")

DEMOS = {
    "title": Demo(SEED, """
from cs348k_diffusion import clip, ddim, path

model = recipes.load("digits").given(y=torch.tensor([3, 4, 8]))

def demo(seed):
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(int(seed)))
    for state in ddim(clip(model), noise, path(16)):
        stage.show(state.x, f"CS348, drawn from noise; t = {state.t:.2f}", columns=3)
"""),
    "fit": Demo(slider("target", 1, 12, 1, 3), """
from cs348k_diffusion.procedural.fit import fit_tree
from cs348k_diffusion.procedural.grammar import Grammar
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.policies import BOTH
from cs348k_diffusion.procedural.render import Style, draw, tree_parts
from cs348k_diffusion.procedural.targets import fixed_trees, image_target, sapling

grammar, style, trees = Grammar(), Style(), fixed_trees(12)

@torch.no_grad()
def photo(tree):
    return draw(tree_parts(pack([tree], grammar), style), 32, None, style.sky).image

def demo(value):
    goal = photo(trees[int(value) - 1])
    run = fit_tree(image_target(goal[0]), BOTH, sapling(), budget=2400)
    for k, now in enumerate(run):
        if k % 20 == 0:
            best = now.best.tree
            stage.show(torch.cat([goal, photo(best)]), f"{len(best.parts)} parts, loss {now.loss:.1e}")
"""),
    "rules": Demo(Control("buttons", "rule", "begin again", RULES), """
import numpy as np
from cs348k_diffusion.procedural.grammar import Grammar
from cs348k_diffusion.procedural.moves import propose
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.render import Style, draw, tree_parts
from cs348k_diffusion.procedural.targets import fixed_trees

grammar, style, rng = Grammar(), Style(), np.random.default_rng(16)
first = tree = fixed_trees(12)[3]

def demo(rule):
    global tree
    if rule == "begin again":
        tree, words = first, "the tree"
    else:
        move = propose(rule, tree, grammar, rng)
        tree, words = (move.tree, rule) if move else (tree, f"{rule}: no such move here")
    with torch.no_grad():
        image = draw(tree_parts(pack([tree], grammar), style), 96, None, style.sky).image
    stage.show(image, f"{words}; {len(tree.parts)} parts")
"""),
    "soft": Demo(slider("softness", 0.01, 1.0, 0.01, 0.3), """
def demo(softness):
    x = torch.linspace(-2, 2, 400)
    target = ((x - 0.2).abs() < 0.3).float()

    def loss(shift):  # a leaf of radius 0.3, moved from its place by `shift`
        return (torch.sigmoid((0.3 - (x - shift).abs()) / softness) - target).square().mean()

    places = torch.linspace(-1.5, 1.5, 200)
    losses = torch.stack([loss(place) for place in places])
    away = torch.tensor(-0.8, requires_grad=True)
    loss(away).backward()
    words = f"loss against the leaf's place; slope at -0.8: {away.grad:+.4f}"
    stage.show_curve(losses, words, 0, float(losses.max()) * 1.05)
"""),
    "contest": Demo(slider("target", 1, 12, 1, 3), """
from cs348k_diffusion.procedural.fit import sharp_loss
from cs348k_diffusion.procedural.grammar import Grammar
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.policies import POLICIES, enter
from cs348k_diffusion.procedural.render import Style, draw, tree_parts
from cs348k_diffusion.procedural.targets import fixed_trees

trees, style = fixed_trees(12), Style()

@torch.no_grad()
def photo(tree):
    return draw(tree_parts(pack([tree], Grammar()), style), 32, None, style.sky).image

def demo(value):
    goal = trees[int(value) - 1]
    entered = [enter(entry, [goal], budget=1500) for entry in POLICIES.values()]
    runs = [iter(run) for _, run in entered]
    now = [next(run) for run in runs]
    for units in range(50, 1501, 50):  # as many for each: a render costs 1, one with its gradient 3
        now = [next((step for step in run if step.cost.units >= units), old) for run, old in zip(runs, now)]
        losses = [float(sharp_loss(step.trees, target)) for step, (target, _) in zip(now, entered)]
        words = ", ".join(f"{name} {x:.0e}" for name, x in zip(("moves", "gradient", "pruned", "both"), losses))
        stage.show(torch.cat([photo(tree) for tree in (goal, *(step.best.tree for step in now))]),
                   f"target; {units} units each: {words}", columns=5)
"""),
    "forks": Demo(slider("experiment", 0, 60, 1, 3), """
from cs348k_diffusion.lab.plot import figure, figure_frame
from cs348k_diffusion.metrics.intervals import student_t

def demo(experiment):
    noise = torch.randn(25, 8, generator=torch.Generator().manual_seed(int(experiment)))
    found = [student_t(way) for way in 0.5**0.5 * (noise[:24] + noise[24])]  # 8 seeds, an idea that does nothing
    good = [one.low > 0 for one in found]
    fig, ax = figure(size=(5, 2))
    fig.set_dpi(264)
    for k, one in enumerate(found):
        ax.plot((one.low, one.high), (k, k), lw=3, color="#009E73" if good[k] else "0.65")
    ax.axvline(0, color="black")
    ax.set(xlim=(-2, 2), yticks=(), xlabel="difference, 95 % interval")
    stage.show(figure_frame(fig), f"a useless idea, read in 24 ways: {sum(good)} of them say that it works")
"""),
    "claim": Demo(Control("buttons", "claim", "G1a", ("M1", "G1a", "A1", "L2", "T1", "T2")), """
from cs348k_diffusion.evaluate import registry

def demo(id):
    claim = registry.chosen([id])[0]
    found = registry.replayed(claim)
    against = ", ".join(one.against for one in found.verdict.findings)
    stage.say(
        f"{claim.id}. {claim.idea}.\\n\\n"
        f"Good?  {claim.metric}: {claim.better} is better.\\n"
        f"Responsible?  Same seeds, same cost.\\n"
        f"Alternatives?  {against}.\\n"
        f"Limits?  {claim.source}; notebook {claim.notebook}.\\n\\n"
        f"{found.verdict}"
    )
"""),
    "examples": Demo(SEED, f"""
draw = recipes.load_pipeline("pictures")

def demo(seed):
    for state in draw(["{PROMPT}"] * 6, seed=int(seed)):
        stage.show(state.x, f"{PROMPT}; noise left: t = {{state.t:.2f}}", columns=3)
"""),
    "dataset": Demo(SEED, """
from cs348k_diffusion.data import load_digits

x, y = load_digits("all")

def demo(seed):
    some = torch.randperm(len(x), generator=torch.Generator().manual_seed(int(seed)))[:30]
    stage.show(x[some], "30 of 1,797 handwritten digits, 8 x 8 pixels", columns=6)
"""),
    "beta": Demo(slider("beta", 0.0, 0.5, 0.01, 0.05), """
from cs348k_diffusion.data import load_digits

digits = load_digits("all")[0][:8]

def demo(beta):
    x, left = digits, 1.0
    for step in range(31):
        stage.show(x.clamp(-2, 2) / 2, f"step {step}: {left:.0%} of the signal is left, std {x.std():.2f}", columns=8)
        x = (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn_like(x)
        left *= (1 - beta) ** 0.5
"""),
    "score": Demo(slider("lowest noise level", 0.1, 3.0, 0.1, 0.3), """
from cs348k_diffusion import Mixture

means, weights = torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), torch.tensor([1.0, 4.0])

def score(x, sigma):  # of two hills, widened by noise of standard deviation sigma
    wide = Mixture(means, (0.09 + sigma**2) * torch.eye(2).expand(2, 2, 2), weights)
    x = x.requires_grad_()
    return torch.autograd.grad(wide.log_prob(x).sum(), x)[0]

def demo(lowest):
    x = 6 * torch.rand(600, 2) - 3
    for sigma in torch.logspace(0.5, torch.tensor(lowest).log10(), 40).tolist():
        eps = 0.05 * (sigma**2 + 0.09)
        for _ in range(4):
            x = (x.detach() + eps * score(x.detach().clone(), sigma) + (2 * eps) ** 0.5 * torch.randn_like(x)).detach()
        share = (x[:, 0] > 0).float().mean()
        stage.show_points(x, f"noise {sigma:.2f}; on the right hill: {share:.0%}, should be 80%", 3.5)
"""),
    "guided": Demo(slider("how far the classes lie apart", 0.5, 3.0, 0.1, 1.2), """
from cs348k_diffusion import Mixture, cosine, ddim, path

def demo(apart):
    means = torch.tensor([[-apart, 0.0], [apart, 0.0]])
    both = Mixture(means, 0.5 * torch.eye(2).expand(2, 2, 2), labels=torch.tensor([0, 1]))
    denoise = both.denoiser(cosine()).given(1)
    everyone = both.sample(800, torch.Generator().manual_seed(1))
    for state in ddim(denoise, torch.randn(800, 2), path(30, start=0.99)):
        stage.show_points(state.x, f"orange was asked for; grey: all of p(x); t = {state.t:.2f}", 4.0,
                          torch.ones(800, dtype=torch.long), everyone)
"""),
    "scale": Demo(slider("scale", 0.0, 8.0, 0.5, 2.0), """
from cs348k_diffusion import clip, ddim, path
from cs348k_diffusion.guidance import guide

model = recipes.load("digits")

def demo(scale):
    noise = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    asked = model.given(y=torch.arange(10).repeat(2))
    for state in ddim(clip(guide(asked, model.given(), scale)), noise, path(16)):
        stage.show(state.x, f"0 to 9 were asked for, twice, at scale {scale:g}; t = {state.t:.2f}", columns=10)
"""),
    "prompt": Demo(Control("text", "sentence", PROMPT), """
draw = recipes.load_pipeline("pictures")

def demo(prompt):
    for state in draw([prompt] * 4, seed=1):
        stage.show(state.x0_hat, f"what it guesses at t = {state.t:.2f}", columns=4)
"""),
} | PERFORMANCE  # fmt: skip


def source(name: str) -> str:
    """The whole code of a demo, as its kernel runs it."""
    return FIRST + DEMOS[name].code
