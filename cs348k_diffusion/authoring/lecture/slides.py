"""The slides of lecture 7, in its order: title, formula, what is stored to look at, what is live, and what to say.

`shown` names a notebook and a cell whose stored output is the slide's film or figure; `demo` a demo of demos.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cs348k_diffusion.authoring.lecture.larger import LargerFigure


class Slide(NamedTuple):
    """One page of the deck.

    lines: what the audience reads; formulas: LaTeX; shown: (notebook, cell id); pieces: that a wide figure is cut into,
    one below the other; labels: of a grid of pictures, one a picture or one a row, in the deck's own letters; redrawn:
    how its figure is drawn in larger letters; notes: for the speaker; seconds: of an eighty-minute lecture; short: of a
    ten-minute one, 0 where it leaves the page out.
    """

    title: str
    lines: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    shown: tuple[str, str] = ("", "")
    pieces: int = 1
    labels: tuple[str, ...] = ()
    redrawn: LargerFigure | None = None
    demo: str = ""
    notes: str = ""
    seconds: int = 120
    short: int = 0


LONG, SHORT = 80, 10  # minutes of the two scripts
SLIDES = (
    Slide(
        "Discussion of Designing for AutoDiff + Intro to Generative AI",
        ("Visual Computing Systems, Stanford CS348K", "Lecture 7"),
        shown=("00", "first-sample"), demo="title",
        notes="Keys: Page Down goes on, L makes a page live, S stops it, ? lists the rest. Notebooks 00 to 11 "
        "hold all of it.",
        seconds=50, short=15,
    ),
    Slide(
        "Discussion of Design for AutoDiff",
        ("A procedure draws a tree.", "Which tree looks like this picture?", "Moves, gradients, or both?"),
        shown=("01", "mine-live"), demo="fit",
        notes="Notebook 01. Let the fit run to the end: moves change the number of parts, gradients the "
        "numbers in them.",
        seconds=130, short=30,
    ),
    Slide(
        "Procedural modeling as a sequence of moves",
        ("Objects: branch(length, angle), leaf(radius)",
         "Rules: modify, add leaf, remove leaf, split branch, remove branch, add anywhere",
         "Constraints: angles, radii"),
        shown=("01", "moves-figure"), demo="rules",
        labels=("before", "modify", "add leaf", "remove leaf", "split branch", "remove branch", "add anywhere"),
        notes="Live: press a rule and see the tree change. A move that breaks a constraint is not proposed.",
        seconds=210, short=45,
    ),
    Slide(
        "Optimization to fit a target",
        ("Find the moves, and their numbers, that come nearest to the goal.",
         "An edge needs some softness: else no pixel pulls."),
        (r"\mathrm{loss}(\theta) = \| \mathrm{draw}(\theta) - \mathrm{target} \|^2",),
        shown=("01", "descent"), demo="soft",
        notes="The slider is the softness of an edge: at 0.01 the gradient is nothing, near 0.3 it is largest.",
        seconds=210, short=30,
    ),
    Slide(
        "Evaluating a technical idea",
        ("What is the claimed idea?", "What is the proposed solution?", "What are the best known alternatives?",
         "Which questions would a reasonable person ask?", "Which experiments answer them?"),
        shown=("01", "contest-figure"), demo="contest",
        redrawn=LargerFigure(("contest", "contest-figure"), (5.1, 2.3), (
            ("range(len(names)), names", "range(4), ('moves', 'gradient', 'pruned', 'both')"),
            ("left.legend(fontsize=11)", ""),
            ("loss, median of the trees", "median loss"),
            ("final loss (dot: a fit, bar: median)", "loss (dot: a fit)"),
            ("(1e-5, 1e-4, 1e-3, 1e-2, 1e-1)", "(1e-5, 1e-3, 1e-1)"),
        )),
        notes="The contest of notebook 01: four policies, twelve targets, equal units. Ask for bets, then live: one "
        "target, the four of them side by side.",
        seconds=160,
    ),
    Slide(
        "Evaluating a technical idea: possible questions",
        ("Are the results good?", "Is the idea responsible for them?", "Could a known alternative do as well?",
         "What are the limits?"),
        shown=("11", "drag"), demo="claim",
        redrawn=LargerFigure(("clouds", "drag"), (5.1, 2.4), (
            ('va="center")', 'va="center", size=13)'),
            ("difference of a seed (dots), 95 % interval of their mean (bar)", "difference (dots; bar: mean, 95 %)"),
        )),
        notes="Live: a claim of the course, read from its stored runs, with verdict and interval. Notebook 11.",
        seconds=210, short=30,
    ),
    Slide(
        "A significant fraction of your project grade",
        ("How thoughtfully did you define your problem?", "How thoughtfully did you evaluate your idea?"),
        shown=("11", "forks"), demo="forks",
        redrawn=LargerFigure(("paths", "forks"), (5.1, 2.4), (
            ("of 24 paths; after Holm ", "of 24; after Holm "),
            ("'some stay' if honest else 'none'}; chosen before: {words[0]}", "'some' if honest else 'none'}"),
        )),
        notes="24 ways to cut one noisy experiment: one of them often looks good. Live: another experiment. Grades go "
        "to the design, not the star.",
        seconds=100,
    ),
    Slide(
        "Micro-intro to diffusion-based generation",
        ("Let's look at some examples...",),
        shown=("00", "prompt"), demo="examples",
        notes="Notebook 00. Six patches of noise, one sentence. Live: other seeds.",
        seconds=100, short=30,
    ),
    Slide(
        "Suppose you are given a dataset of images",
        ("Draw a sample from the distribution that they came from.",),
        (r"x \sim p(x)",),
        shown=("02", "digits"), pieces=3, demo="dataset",
        notes="1,797 digits of 8 by 8 pixels. Live: another thirty. No two are the same; p is what they share.",
        seconds=130, short=15,
    ),
    Slide(
        "Diffusion-based image synthesis: forward",
        ("Iteratively add noise.",),
        (r"q(\mathbf{x}_t \mid \mathbf{x}_{t-1}) = "
         r"\mathcal{N}\left(\mathbf{x}_t; \sqrt{1 - \beta_t}\, \mathbf{x}_{t-1}, \beta_t \mathbf{I}\right)",),
        shown=("02", "compare-schedules"), demo="beta",
        notes="The slider is beta. Small: many steps to noise. Large: one step and all is lost. The spread "
        "stays 1: that is the root.",
        seconds=260, short=45,
    ),
    Slide(
        "Diffusion-based image synthesis: reverse",
        ("Iteratively remove noise: follow the score, and jitter.",),
        (r"\mathbf{x}_{i+1} \leftarrow \mathbf{x}_i + \epsilon \nabla_{\mathbf{x}} \log p(\mathbf{x}) "
         r"+ \sqrt{2 \epsilon}\, \mathbf{z}_i,", r"i = 0, 1, \dots, T"),
        shown=("03", "naive-against-annealed"), demo="score",
        notes="Notebook 03: at one noise level a point finds only the nearer hill. Annealed, it can cross.",
        seconds=260, short=45,
    ),
    Slide(
        "Guided diffusion",
        ("Given p(y | x), a classifier: which x has this y?",),
        (r"p(\mathbf{x} \mid \mathbf{y}) = p(\mathbf{x})\, p(\mathbf{y} \mid \mathbf{x}) \Big/ "
         r"\int p(\mathbf{x})\, p(\mathbf{y} \mid \mathbf{x})\, d\mathbf{x}",),
        shown=("05", "steered-run"), demo="guided",
        notes="Notebook 05: exact densities, so that we can check. The clean classifier throws points away, and why.",
        seconds=230, short=25,
    ),
    Slide(
        "Bayes for score function",
        ("Modify x so that the image is more likely, and so that the prompt describes it better.",),
        (r"\nabla_{\mathbf{x}} \log p(\mathbf{x} \mid \mathbf{y}) = \nabla_{\mathbf{x}} \log p(\mathbf{x}) "
         r"+ \nabla_{\mathbf{x}} \log p(\mathbf{y} \mid \mathbf{x})",),
        shown=("05", "three-ways"), demo="scale",
        notes="The integral is gone: it does not depend on x. Live: the scale in front of the second term, 0 to 8.",
        seconds=230, short=30,
    ),
    Slide(
        "Conditioned generation",
        ("The model hears the condition at every step.",),
        (r"x_t, \text{condition} \to \text{model} \to x_{t+1}",),
        shown=("07", "live"), demo="prompt",
        notes="Take a sentence from the audience: colours, sizes, trees, cats, houses, left of, above, by "
        "day, at night.",
        seconds=260, short=45,
    ),
    Slide(
        "Performance/efficiency optimizations",
        ("Where does the time go?", "The network, its attention, and the number of steps."),
        shown=("06", "replay-figure"), demo="budget",
        redrawn=LargerFigure(("replay-figure",), (5.1, 2.6), (
            ("axes[0].legend()", "fig.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', "
             "ncols=4, fontsize=12, columnspacing=1)"),
            ("memory beyond the inputs (MiB)", "extra memory (MiB)"),
            ('(256, 1024, 4096, 16384), ("256", "1024", "4096", "16384")', "[256, 2048, 16384], [256, 2048, 16384]"),
            ("N queries and N keys", "N queries and keys"),
        )),
        notes="Half of the lecture is left. Each of the next slides takes one factor out. Live: one picture's.",
        seconds=50,
    ),
    Slide(
        "A basic U-Net architecture",
        ("Classic: convolutions.", "Modern: transformer modules with cross-attention."),
        shown=("07", "unet-figure"), demo="listening",
        redrawn=LargerFigure(("unet-figure",), (5.9, 3.1), (
            ('"16x16", "8x8", "4x4", "middle", "4x4", "8x8", "16x16"', '"16", "8", "4", "mid", "4", "8", "16"'),
            ('name == "16x16"', 'name == "16"'),
            ("pad=0.5", "pad=0.3"),
            ("two orange cats at night → caption encoder → words and mean (dotted: mean)",
             "sentence → encoder → words, mean (dotted)"),
            ('(-2.2, 3, "', '(-2.9, 3, "'), ('(14.2, 3, "', '(15.1, 3, "'), ("xlim=(-3.2, 15.2)", "xlim=(-4.3, 16.9)"),
        )),
        notes="Notebook 04 builds the classic one, 07 the modern one. Live: where each word is listened to.",
        seconds=260, short=25,
    ),
    Slide(
        "Attention module",
        ("Softmax over the rows of S, never holding S.",),
        (r"S = Q K^T \in \mathbb{R}^{N \times N},", r"P = \mathrm{softmax}(S) \in \mathbb{R}^{N \times N},",
         r"O = P V \in \mathbb{R}^{N \times d}",
         r"\mathrm{softmax}(\mathbf{x}) = f(\mathbf{x}) / l(\mathbf{x}),", r"m(\mathbf{x}) = \max_i \mathbf{x}_i,",
         r"f(\mathbf{x}) = [e^{\mathbf{x}_1 - m(\mathbf{x})} \; \dots \; e^{\mathbf{x}_B - m(\mathbf{x})}],",
         r"l(\mathbf{x}) = \sum_i f(\mathbf{x})_i = \sum_i e^{\mathbf{x}_i - m(\mathbf{x})}"),
        shown=("06", "race-player"), demo="attention",
        notes="Notebook 06 derives the tiled form. Live: N doubles; the memory of the dense one grows with its square.",
        seconds=310, short=30,
    ),
    Slide(
        "Performance challenges of inference",
        ("Diffusion is iterative: many evaluations.", "Low-dimensional space. Superresolution. Bigger steps."),
        shown=("10", "knee-look"), demo="steps", labels=("1 step", "2 steps", "4 steps", "8 steps", "16 steps"),
        notes="The slider is the number of steps; seconds and evaluations stand below. Where do they look right?",
        seconds=210, short=30,
    ),
    Slide(
        "Superresolution",
        ("Diffusion draws a low-resolution image.", "Subsequent models enlarge it."),
        shown=("09", "s049"), demo="enlarge",
        notes="Choose a picture by its number: bicubic, the mean of what is possible, one draw of it.",
        seconds=210, short=15,
    ),
    Slide(
        "Cascade of diffusion models",
        ("8 pixels, then 32, then 64.",),
        (r"p(x_{8})\, p(x_{32} \mid x_{8})\, p(x_{64} \mid x_{32})",),
        shown=("09", "s051"), demo="cascade",
        notes="Each stage is drawn given the one before. A little noise between stages forgives the flaws of "
        "the first.",
        seconds=160,
    ),
    Slide(
        "Bicubic upsampling vs. two forms of learned upsampling",
        ("Bicubic: no knowledge.", "Regression: the mean, smooth.", "Diffusion: one of the possible, sharp."),
        shown=("09", "s006"), demo="upsamplings",
        labels=("given", "bicubic", "regression", "diffusion", "the truth"),
        notes="Regression wins PSNR by 3 dB where all is Gaussian; diffusion wins the distances. Notebook 09.",
        seconds=210,
    ),
    Slide(
        "Perform diffusion in lower-dimensional latent space",
        ("Diffuse a small code, then decode it.", "A compact code is a compressed image."),
        shown=("08", "film"), demo="latent",
        notes="64 x 64 x 3 numbers become 16 x 16 x 4. Live: a picture, its code, and what comes back.",
        seconds=210, short=25,
    ),
    Slide(
        "Perform diffusion in latent space",
        ("Pixels: represent all, train long.", "Sweet spot: a good model, trained quickly.",
         "Too compressed: cannot represent the data."),
        shown=("08", "study-plot"), demo="factor",
        redrawn=LargerFigure(("study-read", "study-plot"), (5.1, 2.3), (
            ("ncols=6", "ncols=3, columnspacing=0.6, handlelength=1.2, fontsize=12"),
            ("FD (features of a frozen network)", "FD against f"), ("distance of textures", "textures, against f"),
            ('xlabel="f", ', ""),
            ("distance to true pictures", "distance"),
        )),
        notes="The U of the slide, at four budgets. Live: how many numbers a piece of a picture needs.",
        seconds=210, short=15,
    ),
    Slide(
        "Learn to take larger steps",
        ("A student reproduces several steps of its teacher.", "Ours 2 and 4 steps; DDIM 2x2 and 4x2."),
        shown=("10", "panel"), demo="student",
        labels=("ours, 2", "ours, 4", "DDIM 2x2", "DDIM 4x2", "DDIM 8x2", "DDIM 20x2"),
        notes="Progressive distillation, guidance included. One evaluation a step instead of two.",
        seconds=210, short=30,
    ),
    Slide(
        "Learn to take larger steps: drawn while it is typed",
        ("Distilled: 4 steps. Native: 4 and 8 steps.", "A sentence from you:"),
        shown=("10", "typed"), demo="typed",
        notes="Type what the audience says. Every key draws; an unfinished word keeps the last complete sentence.",
        seconds=210, short=45,
    ),
)  # fmt: skip


def script(short: bool = False) -> list[str]:
    """One line a page of the lecture: when it begins, how long it takes, and what to say."""
    lines, at = [], 0
    for number, slide in enumerate(SLIDES, start=1):
        seconds = slide.short if short else slide.seconds
        if seconds:
            lines.append(f"{_clock(at):>5}  {seconds:3} s  page {number:2}  {slide.title}. {slide.notes}")
        at += seconds
    return [*lines, f"{_clock(at):>5}  the end"]


def timetable(rows: Sequence[Mapping[str, float | str | None]]) -> list[str]:
    """A table in Markdown: when a page comes in both lectures, and the measured seconds until it moved."""
    lines = [
        "| page | | 80 minutes: from | seconds | 10 minutes: from | seconds | first movement, s | processor, s | "
        "free after S, s | after a kill, s |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    long, short = 0, 0
    for number, (slide, row) in enumerate(zip(SLIDES, rows, strict=True), start=1):
        spoken = f"{_clock(short)} | {slide.short}" if slide.short else "- | -"
        stop = "-" if row["stop"] is None else f"{row['stop']:.1f}"
        measured = f"{row['seconds']:.1f} | {row['processor']:.2f} | {stop} | {row['revived']:.1f}"
        lines.append(f"| {number} | {slide.title} | {_clock(long)} | {slide.seconds} | {spoken} | {measured} |")
        long, short = long + slide.seconds, short + slide.short
    return lines


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"
