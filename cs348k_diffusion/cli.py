"""`cs348k`: open the course, check the machine, draw samples, train, and grade.

Each command imports what it needs when it is called, so that `cs348k --help` answers at once. What goes wrong is
printed as one sentence with exit status 2.
"""

from __future__ import annotations

import os
import sys

from cs348k_diffusion.grading.safe_path import safe_path

sys.path[:] = safe_path()  # before anything else is imported: the current folder may hold hand-ins

import json
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from cs348k_diffusion import __version__
from cs348k_diffusion.commands.arguments import say_everything, seed_of, writable
from cs348k_diffusion.course import CourseError

app = typer.Typer(
    name="cs348k",
    help="From procedural moves to diffusion models: a course that runs, and is graded, on a laptop.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
LEARN, MAKE, TEACH, OWN = "Learn", "Make pictures", "Teach", "the model's"


def main() -> None:
    """Run the command line; what a reader can mend is one sentence and exit status 2, never a traceback."""
    say_everything()
    try:
        app()
    except (ValueError, LookupError, OSError, RuntimeError, CourseError) as error:
        if os.environ.get("CS348K_TRACEBACK"):
            raise
        message = str(error) if not isinstance(error, KeyError) else str(error.args[0])
        typer.secho(f"cs348k: {message}", fg="red", err=True)
        sys.exit(2)


def _version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"cs348k_diffusion {__version__}")
        raise typer.Exit


Only = Annotated[list[str], typer.Option(help="An exercise (E2.1) or a notebook (forward_noising); again for more.")]
Dask = Annotated[str, typer.Option(help="A Dask cluster, such as tcp://10.0.0.1:8786.", show_default=False)]
HeldBack = Annotated[Path | None, typer.Option(help="A folder of check modules of your own.")]
Version = Annotated[bool | None, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)]


@app.callback()
def cs348k(version: Version = None) -> None:
    """From procedural moves to diffusion models: a course that runs, and is graded, on a laptop."""


@app.command(rich_help_panel=LEARN, context_settings={"ignore_unknown_options": True})
def lab(
    options: Annotated[list[str], typer.Argument(help="Options for JupyterLab, such as --port 8890.")] = [],  # noqa: B006
    folder: Annotated[Path | None, typer.Option(help="Where your working copy is.", show_default="work/")] = None,
    solutions: Annotated[bool, typer.Option("--solutions", help="The solved ones, in a copy thrown away.")] = False,
) -> None:
    """Open your copy of the notebooks (other options go to JupyterLab)."""
    from cs348k_diffusion.course import workspace

    with workspace.solved() if solutions else nullcontext(workspace.find(folder)) as space:
        workspace.open_lab(space, options, typer.echo)


@app.command(rich_help_panel=LEARN)
def update(
    folder: Annotated[Path | None, typer.Option(help="Where your working copy is.", show_default="work/")] = None,
) -> None:
    """Carry your answers over to newer handouts; what you had is kept."""
    from cs348k_diffusion.course import workspace

    lines = workspace.update(workspace.find(folder))
    typer.echo("\n".join(lines or ["Your notebooks are the newest there are."]))


@app.command(rich_help_panel=LEARN)
def doctor() -> None:
    """Check this machine and say what to do."""
    from cs348k_diffusion.commands.machine import print_findings

    raise typer.Exit(1 if print_findings() else 0)


@app.command(rich_help_panel=LEARN)
def check(
    notebooks: Annotated[list[Path], typer.Argument(help="Your notebooks, such as work/02_forward_noising.ipynb.")],
    only: Annotated[list[str], typer.Option(help="One exercise, such as E2.1; may be given again.")] = [],  # noqa: B006
) -> None:
    """Check your answers and count your points, as the grader will."""
    from cs348k_diffusion.commands.marks import print_marks
    from cs348k_diffusion.grading import check_notebook

    for notebook in notebooks:
        if not notebook.is_file():
            raise FileNotFoundError(f"there is no notebook {notebook}")
        print_marks(notebook.name, check_notebook(notebook, only=only))


@app.command(rich_help_panel=MAKE)
def sample(
    what: Annotated[
        str, typer.Argument(help='A shipped model, or a prompt: "two orange cats left of a tall red tree at night".')
    ] = "digits",
    n: Annotated[
        int | None, typer.Option("--n", min=1, max=1024, help="How many images.", show_default="16; 4 for a prompt")
    ] = None,
    size: Annotated[int, typer.Option(help="Pixels across a prompt's picture: 64 or 32.")] = 64,
    model: Annotated[
        str | None, typer.Option(help="The shipped model that draws prompts.", show_default="the size's")
    ] = None,
    cascade: Annotated[bool, typer.Option("--cascade", help="Draw 8 pixels first, then 32, then 64.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Steps to an image.", show_default=OWN)] = None,
    scale: Annotated[float | None, typer.Option(help="Guidance to prompt or label.", show_default=OWN)] = None,
    label: Annotated[int | None, typer.Option(help="One class for all images.", show_default="each in turn")] = None,
    gif: Annotated[bool, typer.Option("--gif", help="Write the way from noise to image as a GIF.")] = False,
    out: Annotated[Path | None, typer.Option(help="The file to write.", show_default="NAME.png or NAME.gif")] = None,
    seed: Annotated[int, typer.Option(callback=seed_of, help="Another seed, other images.")] = 0,
) -> None:
    """Draw what a prompt says, or samples of a shipped model, into a PNG, or their way there into a GIF."""
    from cs348k_diffusion.commands.sample import file_of, is_prompt, model_for, save_samples

    prompt, out = is_prompt(what), file_of("picture" if is_prompt(what) else what, gif, out)
    if prompt and label is not None:
        raise ValueError("a prompt says what to draw: leave out --label")
    n, model = n or (4 if prompt else 16), model_for(what, model, size, cascade, steps, scale, gif)
    done = save_samples(model, what if prompt else label, n, scale, seed, steps, out)
    typer.echo(f"{out}: {n} samples of {what}, {done} steps, seed {seed}")


@app.command(rich_help_panel=MAKE)
def pictures(
    n: Annotated[int, typer.Option("--n", min=1, max=100_000, help="How many pictures.")] = 100,
    size: Annotated[int, typer.Option(help="Pixels across: 16, 32 or 64.")] = 64,
    out: Annotated[Path, typer.Option(help="A new folder for the PNGs and captions.jsonl.")] = Path("pictures"),
    seed: Annotated[int, typer.Option(callback=seed_of, help="Another seed, other pictures.")] = 0,
    held_out: Annotated[bool, typer.Option("--held-out", help="Only with what models never see: blue cats.")] = False,
) -> None:
    """Draw captioned pictures of trees, cats and houses into a folder."""
    from cs348k_diffusion.data.pictures import write_folder

    write_folder(out, n, size, seed, held_out=held_out)
    typer.echo(f"{out}: {n} pictures of {size} x {size} pixels, seed {seed}, and captions.jsonl")


@app.command(rich_help_panel=MAKE)
def train(
    name: Annotated[str, typer.Argument(help="A recipe.")],
    out: Annotated[Path, typer.Option(help="Where the weights and their card go.")] = Path("trained"),
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps.", show_default="the recipe's")] = None,
    seed: Annotated[int, typer.Option(callback=seed_of, help="Another seed, another model.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps; under torchrun one GPU for each process.")] = "cpu",
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, whatever was trained before.")] = False,
) -> None:
    """Train a model from its recipe, and write its weights with a card; interrupted, it goes on where it stopped."""
    from cs348k_diffusion import recipes
    from cs348k_diffusion.commands.training import reporter

    recipes.check_device(device)
    typer.echo(f"Training {name} on {device}; its weights and card go to {out}/")
    recipes.train(name, out, seed, steps, device, restart, reporter(name, out, typer.echo))
    typer.echo(json.dumps(recipes.card(name, out)["metrics"], indent=2))


@app.command(rich_help_panel=MAKE)
def upscale(
    picture: Annotated[Path, typer.Argument(help="A picture of the drawn world: a PNG, JPEG, GIF or WebP.")],
    times: Annotated[int, typer.Option(help="How many times larger: 4 (8 to 32 pixels), 2 (32 to 64) or 8.")] = 4,
    n: Annotated[int, typer.Option("--n", min=1, max=64, help="How many draws by diffusion.")] = 5,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="How many steps to a draw.")] = 10,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("upscaled.png"),
    seed: Annotated[int, typer.Option(callback=seed_of, help="Another seed, other draws.")] = 0,
) -> None:
    """Shrink a picture and enlarge it again: by bicubic, by regression and by diffusion, side by side."""
    from cs348k_diffusion.commands import sample, upscale

    if writable(out).suffix.lower() != ".png":
        raise ValueError(f"the enlargements are written as .png, not as {out.name!r}")
    if out.resolve() == picture.resolve():
        raise ValueError(f"{out} is the picture itself: give --out another name")
    typer.secho(f"Note: {upscale.WARNING}.", fg="yellow", err=True)
    sample.grid(upscale.upscaled(picture, times, n, steps, seed), columns=n + 3).save(out)
    typer.echo(f"{out}: given, bicubic, regression, and {n} draws, {steps} steps, seed {seed}")


@app.command("fit-tree", rich_help_panel=MAKE)
def fit_tree(
    picture: Annotated[Path, typer.Argument(help="The target picture: a PNG, JPEG, GIF or WebP.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write the tree to.")] = Path("tree.json"),
    gif: Annotated[bool, typer.Option("--gif", help="Also write the fit as a GIF, beside the JSON.")] = False,
    silhouette: Annotated[bool, typer.Option("--silhouette", help="Match the outline and ignore the colours.")] = False,
    region: Annotated[bool, typer.Option("--region", help="Fill the shape; sticking out costs less.")] = False,
    start: Annotated[Path | None, typer.Option(help="A tree to go on from.", show_default="a sapling")] = None,
    size: Annotated[int, typer.Option(min=8, max=128, help="Pixels on a side while fitting.")] = 32,
    budget: Annotated[int, typer.Option(min=10, help="Units: a render costs 1, one with its gradient 3.")] = 6000,
    seed: Annotated[int, typer.Option(callback=seed_of, help="Another seed, another tree.")] = 0,
) -> None:
    """Fit a procedural tree to a picture, by moves and gradients, and write it as JSON and PNG."""
    from cs348k_diffusion.commands import fit_tree

    if silhouette and region:
        raise ValueError("--silhouette and --region are two different targets: give one of them")
    kind = "silhouette" if silhouette else "region" if region else "image"
    fit = fit_tree.fit_picture(picture, out, gif, kind, start, size, budget, seed)
    typer.echo("\n".join(fit_tree.messages(fit, kind, seed)))


@app.command(rich_help_panel=LEARN)
def claims(
    ids: Annotated[list[str] | None, typer.Argument(help="Claims: G1a, or G for all its.", show_default="all")] = None,
    full: Annotated[bool, typer.Option("--full", help="Run the studies behind stored results again, too.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Run nothing: read what is stored.")] = False,
    out: Annotated[Path | None, typer.Option(help="A folder for a report on each, and for finished runs.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many processes.")] = 1,
    dask: Dask = "",
) -> None:
    """Resolve what the course claims: supported, refuted or not resolved ("!": unlike the literature)."""
    from cs348k_diffusion.commands.claims import print_claims

    print_claims(ids or (), full, replay, out, jobs, dask)


@app.command(rich_help_panel=TEACH)
def grade(
    folder: Annotated[Path, typer.Argument(help="Notebooks named by student, or one folder per student.")],
    out: Annotated[Path, typer.Option(help="Where marks and feedback pages go.")] = Path("marks"),
    only: Only = [],  # noqa: B006
    held_back: HeldBack = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many processes.")] = 2,
    again: Annotated[bool, typer.Option("--again", help="Ignore the results of an earlier run.")] = False,
    roster: Annotated[
        Path | None, typer.Option(help="A CSV with a column student (name, submitted, due, group, id).")
    ] = None,
    due: Annotated[str, typer.Option(help="When it was due, such as 2026-11-30T23:59.", show_default=False)] = "",
    late_days: Annotated[int, typer.Option(help="Days late that cost nothing.")] = 0,
    extensions: Annotated[Path | None, typer.Option(help="A CSV with columns student and due: later for some.")] = None,
    late_penalty: Annotated[float, typer.Option(help="Share of the points lost for each further day begun.")] = 0.1,
    dask: Dask = "",
) -> None:
    """Grade a folder of notebooks: a gradebook, and a feedback page for every student."""
    from cs348k_diffusion.commands.marks import print_class, rules_of
    from cs348k_diffusion.grading import grade as grade_folder

    rules = rules_of(roster, extensions, due, late_days, late_penalty)
    more = {"rules": rules, "hidden": [path for path in (roster, extensions) if path], "dask": dask}
    graded = grade_folder(folder, out, only=only, held_back=held_back, jobs=jobs, again=again, **more)
    print_class(graded, out)


@app.command(rich_help_panel=TEACH)
def collect(
    download: Annotated[Path, typer.Argument(help="The zip or folder that Canvas or Moodle gave you.")],
    out: Annotated[Path, typer.Option(help="Where the notebooks go, a folder for each student.")] = Path("submissions"),
) -> None:
    """Make a Canvas or Moodle download into a folder to grade."""
    from cs348k_diffusion.grading.submissions.lms import collect as collect_download
    from cs348k_diffusion.grading.tables import counted

    students, notes = collect_download(download, out)
    for line in notes:
        typer.secho(line, fg="yellow")
    notebooks = counted(sum(map(len, students.values())), "notebook")
    typer.echo(f"{out}: {notebooks} of {counted(len(students), 'student')}")


@app.command(rich_help_panel=TEACH)
def similar(
    folder: Annotated[Path, typer.Argument(help="Notebooks named by student, or one folder per student.")],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("similar.csv"),
    threshold: Annotated[float, typer.Option(min=0, max=1, help="How alike, from 0 to 1.")] = 0.9,
) -> None:
    """List answers that are alike after renaming: places to look, never a verdict."""
    from cs348k_diffusion.commands.marks import print_similar

    print_similar(folder, out, threshold)


@app.command(rich_help_panel=TEACH)
def release(
    out: Annotated[Path, typer.Option(help="The zip to write.")] = Path("dist/cs348k-course.zip"),
) -> None:
    """Make the zip that students get: no solutions, no tests."""
    from cs348k_diffusion.authoring.release import release as write_release

    typer.echo(f"{out}: version {write_release(out)}")


@app.command(rich_help_panel=TEACH)
def gradescope(
    out: Annotated[Path, typer.Option(help="The zip to write.")] = Path("autograder.zip"),
    only: Only = [],  # noqa: B006
    held_back: HeldBack = None,
    pip_args: Annotated[str, typer.Option(help="Options for pip on Gradescope, such as an index.")] = "",
) -> None:
    """Make the zip that Gradescope's autograder wants."""
    from cs348k_diffusion.authoring.autograder import write_autograder

    graded = ", ".join(write_autograder(out, only=only, held_back=held_back, pip_args=shlex.split(pip_args)))
    typer.echo(f"{out}: grades {graded}")


@app.command(rich_help_panel=TEACH)
def lecture(
    out: Annotated[Path | None, typer.Option(help="Write the deck into this HTML file instead; no demos.")] = None,
    script: Annotated[int | None, typer.Option(help="Print what to say, for 80 or for 10 minutes, instead.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The first port to try.")] = 8348,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Open the deck of lecture 7: a page a slide, its film first, live on a key."""
    from cs348k_diffusion.authoring.lecture import give

    give(typer.echo, out, script, port, browser)


@app.command(rich_help_panel=TEACH)
def site(
    out: Annotated[Path, typer.Option(help="A new folder, or one with an older site.")] = Path("site"),
    solutions: Annotated[bool, typer.Option("--solutions", help="With the solutions, for yourself.")] = False,
    one_file: Annotated[bool, typer.Option("--one-file", help="Each notebook as one HTML file too.")] = False,
    runtime: Annotated[Path | None, typer.Option(help="npm's onnxruntime-web: a page draws with it.")] = None,
) -> None:
    """Make pages to read: the notebooks with their films, a gallery, the reference, a page that draws."""
    from cs348k_diffusion.authoring.site import publish

    for warning in publish(out, solutions, one_file, runtime):
        typer.secho(warning, fg="yellow", err=True)
    typer.echo(f"{out}: open {out / 'index.html'} in a browser; it needs no network")


if __name__ == "__main__":
    main()
