"""Functions and schedules that a check hands in can be copied and differentiated, in the notebook and in the batch."""

import nbformat
import nbformat.v4 as nb
import pytest

from cs348k_diffusion.authoring import handout
from cs348k_diffusion.exercises.framework.catalogue import find
from cs348k_diffusion.grading.batch import run as batch
from tests.answers import Given, records_of, solution

pytestmark = pytest.mark.usefixtures("as_students_run_them")

SCORE = "classifier(x, t).log_softmax(1).gather(1, y[:, None]).sum()"
ANSWERS = {
    "torch.func.grad": ("E5.2", f"""
import torch
def classifier_score(classifier, x, t, y):
    return torch.func.grad(lambda x: {SCORE})(x)
"""),
    "torch.func.vjp": ("E5.2", f"""
import torch
def classifier_score(classifier, x, t, y):
    total, back = torch.func.vjp(lambda x: {SCORE}, x)
    return back(torch.ones_like(total))[0]
"""),
    "a deep copy of a function": ("E5.2", f"""
import copy, torch
def classifier_score(classifier, x, t, y):
    classifier = copy.deepcopy(classifier)
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad({SCORE}, x)[0]
"""),
    "a deep copy of a schedule": ("E4.3", """
import copy
def ddim_step(schedule, x_t, x0_hat, t, s):
    schedule = copy.deepcopy(schedule)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, x_t), schedule(s, x_t)
    return alpha_s * x0_hat + sigma_s * (x_t - alpha_t * x0_hat) / sigma_t
"""),
}  # fmt: skip


@pytest.mark.parametrize("style", ANSWERS)
def test_what_is_handed_in_can_be_copied_and_differentiated(style, tmp_path):
    id, text = ANSWERS[style]
    exercise, space = find(id), {}
    exec(text, space)
    here = records_of([exercise], [Given("you", {id: space[exercise.name]})])
    path = tmp_path / f"{solution(exercise.word).stem}.ipynb"
    path.write_text(handout.text(nb.new_notebook(cells=[nb.new_code_cell(text)])))
    there = batch.check_notebook(path, only=[id]).records
    for records in (here, there):
        assert {record.status for record in records} == {"passed"}, [record.message for record in records]


@pytest.mark.parametrize("name", ["TOKENIZER", "world", "recipes", "Mixture"])
def test_an_answer_may_use_names_of_every_import_of_its_notebook(name, tmp_path):
    notebook = nbformat.read(solution("conditioned_generation"), 4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    imports = next(text for text in cells if "import" in text and name in text)
    answer = next(text for text in cells if text.startswith("def pad_captions"))
    uses = answer.replace("    ### BEGIN SOLUTION\n", f"    {name}\n")
    assert uses != answer
    path = tmp_path / "07_conditioned_generation.ipynb"
    path.write_text(handout.text(nb.new_notebook(cells=[nb.new_code_cell(text) for text in (imports, uses)])))
    records = batch.check_notebook(path, only=["E7.1"]).records
    assert {record.status for record in records} == {"passed"}, [record.message for record in records]
