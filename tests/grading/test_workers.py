"""A student's code in a worker: the verbs give what they give in the notebook; what it does costs only itself."""

import os
import sys
import time
from pathlib import Path

import pytest
import torch

from cs348k_diffusion.exercises import Counted, NotYet, StudentError, expect, run_against
from cs348k_diffusion.grading.records import OutOfTime, WorkersGone
from cs348k_diffusion.grading.subject import protocol
from cs348k_diffusion.grading.subject.subject import Instance, Subject, local
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.workers import withheld
from cs348k_diffusion.grading.workers.pool import SpawnedWorkers, workers_for
from cs348k_diffusion.grading.workers.remote import RemoteLink
from cs348k_diffusion.grading.workers.worker import Job
from cs348k_diffusion.schedule import cosine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox exists on Linux only")
HEAD = "import torch\nfrom torch import nn\nfrom cs348k_diffusion import NotYet, check\n"


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret")
    (secret / "truth.txt").write_text("42")
    started = workers_for([secret])
    started.secret = secret
    yield started
    started.close()


@pytest.fixture
def remote(workers):
    links = []

    def subject(text, name="answer", closed=(), seconds=10):
        cells = Submission([(1, HEAD), (2, text)])
        closed = withheld.reaching(closed) if closed else []
        links.append(RemoteLink(workers, Job("E9.1", name, cells.needed(name), closed), seconds))
        links[-1].reseed(0)
        return Subject(links[-1])

    yield subject
    for link in links:
        link.close()


@pytest.fixture(params=["notebook", "worker"])
def subject(request):
    """Makes a subject of a cell's text, in either mode."""

    def in_notebook(text, name="answer"):
        space = {}
        exec(HEAD + text, space)
        return local(space[name])

    return in_notebook if request.param == "notebook" else request.getfixturevalue("remote")


def test_values_cross_both_ways(subject):
    given = (torch.arange(6.0).view(2, 3), torch.tensor(True), None, True, 7, 2.5, "é", [1, (2.0,)])
    given += ({"a": torch.ones(0)},)
    back = subject("def answer(*args): return args")(*given)
    expect(back, given, "what went comes back")
    for dtype in protocol.DTYPES.values():
        x = torch.ones(2, 2).to(dtype)
        assert torch.equal(subject("def answer(x): return x.T")(x), x.T)


def test_a_worker_is_new_after_a_restart_and_one_that_was_not_used_is_kept(remote):
    answer = remote("calls = []\ndef answer(x):\n    calls.append(x)\n    return len(calls)")
    first = answer._link.worker.pid
    assert answer.restart()(1) == 1
    assert answer._link.worker.pid == first
    assert answer(1) == 2
    assert answer.restart()(1) == 1
    assert answer._link.worker.pid != first


def test_a_property_test_meets_each_implementation_once_and_with_nothing_left_over(remote):
    answer = remote("seen = []\ndef answer(f):\n    seen.append(f)\n    assert len(seen) == 1 and f(1) == 1")
    met = []
    right = [lambda x: met.append("a") or x, lambda x: met.append("b") or 2 * x - 1]
    wrong = {"zero": lambda x: met.append("c") or 0 * x, "twice": lambda x: met.append("d") or 2 * x}
    run_against(answer, right, {"zero": wrong["zero"]})
    run_against(answer, right, wrong)
    assert sorted(met) == ["a", "b", "c", "d"]


def test_what_cannot_cross_is_kept(subject):
    answer = subject("import numpy as np\ndef answer(x): return np.ones(2) if x else (lambda y: y + 1)")
    assert answer(True).kind == "a numpy.ndarray"
    kept = answer(False)
    assert isinstance(kept, Instance)
    expect(kept(torch.ones(1)), torch.full((1,), 2.0), "a returned function is called")


def test_named_tuples_and_numbers_become_plain(subject):
    text = "from typing import NamedTuple\nclass P(NamedTuple):\n    x: float\n    n: int\n"
    text += "def answer(): return P(1.0, 2), torch.Size([3])"
    expect(subject(text)(), ((1.0, 2), (3,)), "tuples")
    numpy = "import numpy as np\ndef answer(): return np.int64(3), np.float32(0.5), [np.float64(2)]"
    assert [type(each) for each in subject(numpy)()[:2]] == [int, float]
    expect(subject(numpy)(), (3, 0.5, [2.0]), "numpy's numbers")


def test_schedules_cross_and_come_back(subject):
    answer = subject("from cs348k_diffusion import Schedule\ndef answer(s): return Schedule('mine', s.sigma, s.alpha)")
    t = torch.linspace(0, 1, 5)
    mine = answer(cosine())
    expect((mine.alpha(t), mine.sigma(t), mine.name), (cosine().sigma(t), cosine().alpha(t), "mine"), "swapped")


def test_iterators_are_iterated(subject):
    handle = subject("def answer(n):\n    for i in range(n):\n        yield torch.tensor(i)")(3)
    assert [int(i) for i in handle.iterate(2)] == [0, 1]
    assert [int(i) for i in handle.iterate(5)] == [2]


def test_a_class_is_constructed_loaded_and_differentiated(subject):
    layer = subject("class answer(nn.Linear): pass").construct(2, 1, bias=False)
    layer.load_state({"weight": torch.tensor([[2.0, 3.0]])})
    x = torch.tensor([[1.0, -1.0]])
    expect(layer(x), torch.tensor([[-1.0]]), "value")
    expect(layer.vjp((x,), torch.ones(1, 1)), (torch.tensor([[2.0, 3.0]]),), "input gradient")
    expect(layer.parameter_grads((x,), torch.ones(1, 1)), {"weight": x}, "parameter gradient")
    expect(layer.state(), {"weight": torch.tensor([[2.0, 3.0]])}, "state")
    expect(layer.in_features, 2, "attribute")
    with pytest.raises(StudentError) as raised:
        layer.load_state({"wrong": x})
    assert raised.value.kind == "RuntimeError"


def test_vjp_and_a_detached_gradient(subject):
    x = torch.tensor([1.0, 2.0])
    expect(subject("def answer(x): return x**2").vjp((x,), torch.ones(2)), (2 * x,), "2 x")
    expect(subject("def answer(x, y): return x").vjp((x, x), torch.ones(2), wrt=(0, 1)), (torch.ones(2), 0 * x), "0")
    with pytest.raises(StudentError, match="detached gradient"):
        subject("def answer(x): return (x**2).detach()").vjp((x,), torch.ones(2))


def test_callbacks_are_counted_here_and_differentiable_there(subject):
    answer = subject(
        "def answer(f, x, scale=1.0):\n"
        "    with torch.enable_grad():\n"
        "        x = x.detach().requires_grad_()\n"
        "        (g,) = torch.autograd.grad(f(x, scale=scale).sum(), x)\n"
        "    return g + f.schedule.alpha(torch.zeros(1))"
    )

    def cubed(x, scale):
        return scale * x**3

    cubed.schedule = cosine()
    counted, x = Counted(cubed), torch.tensor([1.0, 2.0])
    expect(answer(counted, x, scale=2.0), 6 * x**2 + 1, "2 * 3 x^2 + 1")
    assert counted.calls == 1
    expect(counted.seen[0][0][0], x, "what the student passed")


def test_a_module_among_the_inputs_learns(subject):
    net, x = torch.nn.Linear(2, 1), torch.tensor([[1.0, 2.0]])
    subject("def answer(net, x): return (net(x) ** 2).mean()").vjp((net, x), torch.ones(()), wrt=())
    (expected,) = torch.autograd.grad((net(x) ** 2).mean(), net.weight)
    expect(net.weight.grad, expected, "its gradient arrives here")


def test_a_callback_that_fails_is_told_there(subject):
    text = "def answer(f):\n    try:\n        return f(torch.ones(2))\n    except RuntimeError as e:\n"
    answer = subject(text + "        return str(e)")
    assert "size" in answer(lambda x: x @ torch.ones(3))
    with pytest.raises(AssertionError, match="one t for each example"):
        answer(failing)


def test_what_a_callback_raises_keeps_its_type_and_is_said_once(subject):
    answer = subject("def answer(f): return f(1)")
    for error in (RuntimeError("too big"), ValueError("too big"), ImaginaryError("too big")):
        with pytest.raises(StudentError) as raised:
            answer(lambda x, error=error: (_ for _ in ()).throw(error))
        kind = type(error).__name__
        assert (raised.value.kind, raised.value.text) in {(kind, "too big"), ("RuntimeError", f"{kind}: too big")}


class ImaginaryError(Exception):
    """None of Python's."""


def failing(x):
    raise AssertionError("one t for each example")


def test_evaluations_are_limited(subject):
    answer = subject("def answer(f):\n    for _ in range(100): f(1)")
    with pytest.raises(StudentError, match="more than 10 times"):
        answer(Counted(lambda n: n, limit=10))


def test_exceptions_come_as_type_and_text(subject):
    with pytest.raises(StudentError) as raised:
        subject("def answer(x): raise ValueError(f'got {x}')")(3)
    assert (raised.value.kind, raised.value.text) == ("ValueError", "got 3")
    with pytest.raises(NotYet):
        subject("def answer(x): raise NotYet('E9.1')")(3)
    with pytest.raises(StudentError, match="RecursionError"):
        subject("def answer(x): return answer(x)")(3)
    with pytest.raises(StudentError, match="SystemExit"):
        subject("def answer(x): raise SystemExit")(3)


def test_generators_are_copies(subject):
    generator = torch.Generator().manual_seed(5)
    answer = subject("def answer(g): return torch.randn(2, generator=g)")
    first = answer(generator)
    expect(answer(generator), first, "the same numbers again")
    expect(first, torch.randn(2, generator=torch.Generator().manual_seed(5)), "the numbers of the seed")


def test_fresh_forgets(subject):
    answer = subject("seen = []\ndef answer(x):\n    seen.append(x)\n    return len(seen)", "answer")
    assert answer(1) < answer(1)
    if isinstance(answer._link, RemoteLink):
        assert answer.restart()(1) == 1


def test_memory_tells_quadratic_from_linear(subject):
    quadratic = subject("def answer(x): return (x[:, None] * x).sum(0)")
    linear = subject("def answer(x): return torch.stack([(x * y).sum() for y in x[:64]])")
    for answer, low, high in ((quadratic, 8, 40), (linear, 0, 4.0)):
        small, large = answer.memory(torch.ones(2048)), answer.memory(torch.ones(8192))
        assert low <= large / max(small, 1 << 20) <= high


def test_memory_that_was_held_before_hides_nothing(remote):
    square = "def answer(x): return (x[:, None] * x).sum(0)"
    with pytest.raises(StudentError, match="before it is called"):
        remote(f"big = torch.ones(1 << 24).sum()\n{square}\nanswer.big = big").memory(torch.ones(9))
    imports = "import sqlite3, xml.dom.minidom, email.message, http.client, unittest.mock\n"
    used = square.replace("(x):", "(x, used=(sqlite3, xml, email, http, unittest)):")
    assert remote(imports + used).memory(torch.ones(2048)) >= 15 << 20


HOSTILE = {
    "exits": ("import os\ndef answer(x): os._exit(0)", "ended its process"),
    "crashes": ("import ctypes\ndef answer(x): ctypes.string_at(0)", "crashed its process"),
    "interrupts": ("def answer(x): raise KeyboardInterrupt", "KeyboardInterrupt"),
    "asks": ("def answer(x): return input()", "EOFError"),
    "forks": ("import os\ndef answer(x): return os.fork()", "PermissionError"),
    "starts": ("import subprocess\ndef answer(x): return subprocess.run(['true'])", "PermissionError"),
    "kills": ("import os\ndef answer(x): os.kill(os.getppid(), 9)", "PermissionError|ended its process"),
    "connects": ("import socket\ndef answer(x): socket.socket()", "PermissionError"),
    "writes": ("def answer(x): open('/tmp/forged-by-a-worker', 'w')", "Read-only|PermissionError"),
    "fills the disk": ("def answer(x):\n    f = open('big', 'wb')\n    while True: f.write(bytes(1 << 20))", "OSError"),
    "fills memory": ("def answer(x): return torch.ones(1 << 40)", "RuntimeError|MemoryError"),
    "hoards": ("def answer(x):\n    a = []\n    while True: a.append(torch.empty(1 << 28))", "RuntimeError"),
    "too large": ("def answer(x): return torch.zeros(1 << 27)", "256 MB"),
    "too deep": ("def answer(x):\n    a = []\n    for _ in range(50): a = [a]\n    return a", "deep"),
    "too long": ("def answer(x): return list(range(10**6))", "too large"),
    "cyclic": ("def answer(x):\n    a = []\n    a.append(a)\n    return a", "deep"),
    "huge integer": ("def answer(x): return 10**5000", "64 bits"),
    "raises on repr": ("class E(Exception):\n    def __str__(self): 1/0\ndef answer(x): raise E", "E"),
    "no definition": ("answer = 1 / 0", "ZeroDivisionError"),
    "no name": ("answer = nothing", "NameError"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_costs_only_itself(remote, name):
    text, words = HOSTILE[name]
    with pytest.raises(StudentError, match=words):
        remote(text)(1)
    assert remote("def answer(x): return x")(1) == 1
    assert not Path("/tmp/forged-by-a-worker").exists()


@pytest.mark.parametrize("loop", ["pass", "torch.ones(2000, 2000).matrix_power(10**6)", "print('x' * 10**6)"])
def test_an_endless_loop_ends(remote, loop):
    text = "import signal\ndef answer(x):\n    signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n    while True: " + loop
    with pytest.raises(OutOfTime):
        remote(text, seconds=1)(1)


def test_a_sleeper_ends_at_the_wall(remote, monkeypatch):
    answer = remote("import time\ndef answer(x): time.sleep(60)")
    monkeypatch.setattr("cs348k_diffusion.grading.workers.remote.WALL_PER_CPU", 0.1)
    start = time.monotonic()
    with pytest.raises(OutOfTime):
        answer(1)
    assert time.monotonic() - start < 30


PATCHES = [
    "torch.testing.assert_close = lambda *a, **k: None",
    "import builtins; builtins.abs = builtins.all = lambda *a: True; builtins.AssertionError = KeyError",
    "import numpy; numpy.testing.assert_allclose = lambda *a, **k: None; numpy.allclose = lambda *a, **k: True",
    "torch.Tensor.__eq__ = lambda a, b: torch.ones(1, dtype=torch.bool); torch.isclose = torch.Tensor.__eq__",
]


@pytest.mark.parametrize("patch", PATCHES)
def test_patching_the_grader_gains_nothing(remote, patch):
    got = remote(f"def answer(x):\n    {patch}\n    return x + 1")(torch.ones(2))
    with pytest.raises(AssertionError, match="got 2, expected 1"):
        expect(got, torch.ones(2), "x comes back")


def test_frames_hold_no_truth(remote):
    text = (
        "import sys, gc\n"
        "def answer(x):\n"
        "    frame, names = sys._getframe(), []\n"
        "    while frame:\n"
        "        names += [k for k in frame.f_locals if k in ('want', 'expected', 'truth', 'mistakes')]\n"
        "        frame = frame.f_back\n"
        "    return names"
    )
    want = expected = truth = 42  # noqa: F841 - what the walk would find in the notebook
    assert remote(text)(1) == []


def test_forged_messages_are_refused(remote):
    forge = (
        "import gc, json, os, struct\n"
        "def answer(x):\n"
        "    head = json.dumps({0!r}).encode()\n"
        "    for fd in range(3, 64):\n"
        "        try: os.write(fd, struct.pack('!IQ', len(head), 0) + head)\n"
        "        except OSError: pass\n"
        "    os._exit(0)"
    )
    tensor = {"value": {"tensor": ["float32", [10**9]]}}
    overflows = {"value": {"tensor": ["float32", [0, 1 << 28, 1 << 28, 1 << 28]]}}
    for message in (tensor, overflows, {"call": [99, None]}, {"value": {"eval": ["1"]}}, [1], {}):
        with pytest.raises(StudentError, match=r"cannot be read|ended its process"):
            remote(forge.format(message))(1)


def test_environment_and_hidden_files_are_out_of_sight(workers, remote):
    os.environ["SECRET_OF_THE_GRADER"] = "1"
    assert remote("import os\ndef answer(): return sorted(os.environ)")() == sorted(
        ["HOME", "MPLBACKEND", "OMP_NUM_THREADS", "PATH", "TMPDIR"]
    )
    del os.environ["SECRET_OF_THE_GRADER"]
    if "hidden files" not in workers.held:
        pytest.skip("this machine allows no mount namespaces")
    refused = "except (PermissionError, FileNotFoundError): return []"  # closed to another user, or not mounted
    listing = remote(f"import os\ndef answer(folder):\n    try: return os.listdir(folder)\n    {refused}")
    assert listing(str(workers.secret)) == []
    assert listing(str(Path(withheld.__file__).parents[2] / "exercises")) == []


def test_root_grades_as_another_user(workers, remote):
    text = (
        "import os\ndef answer(path):\n    open('mine', 'w').close()\n    return os.getuid(), os.access(path, os.W_OK)"
    )
    answer = remote(text)
    if "another user" not in workers.held:
        pytest.skip("not root here, or the user nobody cannot read the packages")
    assert answer(str(workers.secret.parent)) == (65534, False)


def test_withheld_names_say_so(remote):
    text = "from cs348k_diffusion import forward\nfrom cs348k_diffusion.forward import add_noise\n"
    text += "def answer(kind): return add_noise(1) if kind else forward.forward_kernel()"
    answer = remote(text, closed=("forward.add_noise", "forward.forward_kernel"))
    for kind in (True, False):
        with pytest.raises(StudentError, match=r"E9\.1 asks you to write this"):
            answer(kind)


def test_what_reaches_a_withheld_name_is_withheld():
    reached = withheld.reaching(["schedule.from_betas"])
    assert ("schedule", "linear_beta") in reached
    assert ("schedule", "cosine") not in reached
    with pytest.raises(LookupError, match="no_such_name"):
        withheld.reaching(["schedule.no_such_name"])


def test_the_checks_are_placeholders_and_the_answers_absent(remote):
    text = (
        "from cs348k_diffusion.exercises import expect\n"
        "from cs348k_diffusion.grading.checks.check import run_check\n"
        "def answer(kind):\n"
        "    if kind == 'solutions': import solutions\n"
        "    if kind == 'tests': import tests.answers\n"
        "    return expect(1, 1, '') if kind == 'expect' else run_check(answer)"
    )
    answer = remote(text)
    for kind in ("expect", "check", "solutions", "tests"):
        with pytest.raises(StudentError, match=r"asks you to write this|not available"):
            answer(kind)


def test_mine_or_ours_is_ours_in_a_worker(workers):
    text = HEAD + "from cs348k_diffusion import mine_or_ours\ndef mine(x): return 0\nused = mine_or_ours(mine)\n"
    cells = Submission([(1, text + "def answer(): return used.__name__")])
    link = RemoteLink(workers, Job("E9.1", "answer", cells.needed("answer"), [], {"mine": "forward.noise_once"}), 10)
    assert Subject(link)() == "noise_once"
    link.close()


def test_a_killed_fork_server_is_replaced(workers, remote):
    answer = remote("def answer(x): return x")
    workers.process.kill()
    workers.process.wait()
    with pytest.raises(WorkersGone):
        answer(1)
    assert remote("def answer(x): return x")(1) == 1


def test_a_spawned_worker_speaks_the_same_language():
    cells = Submission([(1, HEAD + "def answer(x, f): return f(x) + 1")])
    link = RemoteLink(SpawnedWorkers(), Job("E9.1", "answer", cells.needed("answer")), 60)
    expect(Subject(link)(torch.ones(2), lambda x: 2 * x), torch.full((2,), 3.0), "2 x + 1")
    link.close()


def test_what_a_student_has_the_checks_compute_is_limited(remote, monkeypatch):
    """Its memory, which grows with the square of what is passed; the bytes passed, which are kept; its time."""
    pairs = remote("import torch\ndef answer(f, n): return f(torch.ones(n))")
    with pytest.raises(StudentError, match="memory"):
        pairs(lambda x: (x[:, None] * x).sum(), 40_000)
    expect(pairs(lambda x: x.sum(), 3), torch.tensor(3.0), "the grader has its memory again")
    monkeypatch.setattr("cs348k_diffusion.grading.workers.remote.MAX_PASSED", 1 << 20)
    many = remote("import torch\ndef answer(f):\n    for _ in range(100): f(torch.ones(1 << 14))")
    with pytest.raises(StudentError, match="passed to the functions"):
        many(lambda x: None)
    monkeypatch.setattr("cs348k_diffusion.grading.workers.remote.MORE_TIME", 0.1)
    slow = remote("def answer(f): f(1)", seconds=1)
    with pytest.raises(OutOfTime, match="too long"):
        slow(endless)


def endless(n):
    while True:
        n += 1
