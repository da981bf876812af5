"""Hostile, broken and cheating submissions, each with the marks an honest marker would give.

A case is a name, what is handed in (a notebook, raw bytes, or a function that puts something at a path) and the points
for `double` (3) and `noise_once` (2). Attacks know where everything is: the text in braces, `{inbox}` `{out}`
`{canary}`, is filled in with this machine's paths.
"""

import itertools
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cs348k_diffusion.grading.workers.syscalls import REFUSED

FULL, NO_DOUBLE, ONLY_SHAPE, NO_NOISE, NOTHING = (3, 2), (0, 2), (1, 2), (3, 0), (0, 0)
HEADER = "import gc, importlib, inspect, os, sys, time\nimport torch\nfrom cs348k_diffusion import check, NotYet"
DOUBLE = "def double(x):\n    return 2 * x\n\ncheck(double)"
NOISE = "def noise_once(x, beta, noise):\n    return (1 - beta) ** 0.5 * x + torch.tensor(beta).sqrt() * noise"
STUB = 'def double(x):\n    raise NotYet("E8.1")'


@dataclass(frozen=True)
class Case:
    """What one student handed in, and what it is worth."""

    given: dict | bytes | Callable[[Path], None]
    marks: tuple[int, int] = FULL
    times_out: bool = False  # its record must say that time ran out
    says: str = ""  # words of the notes or messages
    needs: str = ""  # the layer that stops this


def notebook(*cells: str, **more: object) -> dict:
    """A notebook of these code cells, as JupyterLab writes it, with more keys at the top."""
    made = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}
        for i, cell in enumerate(cells)
    ]
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | more


def right(double: str = DOUBLE, noise: str = NOISE, *others: str) -> dict:
    """A right notebook, with one answer or the other replaced."""
    return notebook(HEADER, double, noise, *others)


def in_double(body: str, result: str = "x + 1") -> dict:
    """`double` does this first and then returns something."""
    return right(double=_function("double(x)", body, result))


def in_noise(body: str, result: str = "x + 1") -> dict:
    """`noise_once` does this first and then returns something."""
    return right(noise=_function("noise_once(x, beta, noise)", body, result))


def _function(head: str, body: str, result: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"def {head}:\n{lines}\n    return {result}"


def raw(content: dict) -> bytes:
    """The bytes of a notebook."""
    return json.dumps(content).encode()


ORDINARY = {
    "right": Case(right()),
    "blank": Case(notebook(HEADER, STUB, STUB.replace("double(x)", "noise_once(x, beta, noise)")), NOTHING),
    "no cells": Case(notebook(), NOTHING),
    "unchanged": Case(in_double("pass", "x"), ONLY_SHAPE),
    "rubbish": Case(in_double("pass", "'rubbish'"), NO_DOUBLE),
    "not a number": Case(in_double("pass", "x * float('nan')"), ONLY_SHAPE),
    "broadcasts": Case(in_double("pass", "2 * x[None]"), NO_DOUBLE),
    "wrong dtype": Case(in_double("pass", "(2 * x).double()"), ONLY_SHAPE),
    "none": Case(in_double("pass", "None"), NO_DOUBLE),
    "numpy": Case(in_double("pass", "(2 * x).numpy()"), NO_DOUBLE),
    "a list": Case(in_double("pass", "(2 * x).tolist()"), NO_DOUBLE),
    "no device": Case(in_double("pass", "(2 * x).to('meta')"), NO_DOUBLE),
    "sparse": Case(in_double("pass", "(2 * x).to_sparse()"), NO_DOUBLE),
    "recursion": Case(in_double("pass", "double(x)"), NO_DOUBLE),
    "two arguments": Case(right(double="def double(x, y):\n    return 2 * x"), NO_DOUBLE),
    "helper": Case(right("def double(x):\n    return twice(x)", NOISE, "def twice(x):\n    return TWO * x\nTWO = 2")),
    "alias": Case(right("def twice(x):\n    return 2 * x\ndouble = twice")),
    "lambda": Case(right("double = lambda x: x + x  # not a def double")),
    "partial": Case(right("import functools, operator\ndouble = functools.partial(operator.mul, 2)")),
    "callable": Case(right("class Twice:\n    def __call__(self, x):\n        return 2 * x\ndouble = Twice()")),
    "decorated": Case(right("import functools\n@functools.lru_cache\ndef double(x):\n    return 2 * x")),
    "global state": Case(right("calls = 0\ndef double(x):\n    global calls\n    calls += 1\n    return 2 * x")),
    "parameter": Case(in_double("pass", "torch.nn.Parameter(2 * x)")),
    "in place": Case(in_double("x *= 2", "x"), ONLY_SHAPE),
    "prints": Case(in_double("print('hello', x)\nsys.stderr.write('hello')", "2 * x")),
    "print flood": Case(in_double("for _ in range(50): print('x' * 10**6)", "2 * x")),
    "warns": Case(in_double("import warnings\nwarnings.warn('careful')", "2 * x")),
    "logs": Case(in_double("import logging\nlogging.error('careful')", "2 * x")),
    "asks": Case(in_double("input('your name? ')", "2 * x"), NO_DOUBLE),
    "import cell deleted": Case(notebook(DOUBLE, NOISE), NO_NOISE),
}

TOP_LEVEL = {
    "divides by zero": "1 / 0",
    "waits for input": "name = input()\npassword = __import__('getpass').getpass()",
    "exits": "raise SystemExit",
    "exits at once": "import os\nos._exit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "loops": "while True:\n    pass",
    "sleeps": "import time\ntime.sleep(10**9)",
    "floods": "while True: print('x' * 10**6)",
    "trains": "for step in range(10**12):\n    loss = double(step)",
    "does not parse": "def half(x:\n    return",
    "line magic": "%no_such_magic --of-any kind\n%cd /\n%reset -f",
    "shell": "!rm -rf /\nfiles = !ls\n!!ls",
    "help": "?double\ndouble??",
    "bash": "%%bash\nrm -rf ~",
    "javascript": "%%javascript\nalert(1)",
    "null byte": "x = '\0'",
    "half a character": "x = '\ud800'",
    "deep brackets": "x = " + "(" * 5000,
    "deep operators": "x = " + "-" * 20_000 + "1",
    "long integer": "x = " + "9" * 100_000,
    "long line": "x = '" + "a" * 300_000 + "'",
    "merge conflict": "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> theirs",
    "another language": "x <- c(1, 2, 3)\nlibrary(torch)",
    "breakpoint": "breakpoint()",
    "skips": "import pytest\npytest.skip('all', allow_module_level=True)\npytest.exit('done', 0)",
}
SCRATCH = {f"scratch {name}": Case(notebook(HEADER, text, DOUBLE, NOISE, text)) for name, text in TOP_LEVEL.items()}


def stripped(content: dict) -> dict:
    """Only what another editor may have left."""
    return {"cells": [{"cell_type": "code", "source": cell["source"]} for cell in content["cells"]]}


def by_lines(content: dict) -> dict:
    """Cells as lists of lines, with Windows line ends."""
    cells = [cell | {"source": [f"{line}\r\n" for line in cell["source"].split("\n")]} for cell in content["cells"]]
    return content | {"cells": cells}


def version_3(content: dict) -> dict:
    """The format of 2013."""
    cells = [{"cell_type": "code", "language": "python", "input": cell["source"]} for cell in content["cells"]]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}


def heavy(content: dict, size: int = 30 << 20) -> dict:
    """Thirty megabytes of stored output."""
    output = {"output_type": "stream", "name": "stdout", "text": "x" * size}
    return content | {"cells": [cell | {"outputs": [output]} for cell in content["cells"][:1]] + content["cells"][1:]}


FORGED = {"metadata": {"grade": 100, "points": {"E8.1": 3}, "nbgrader": {"score": 10, "grade": True}}}
SHAPES = {
    "syntax error": Case(right(double="def double(x:\n    return 2 * x"), NO_DOUBLE, says="not valid Python"),
    "cell deleted": Case(notebook(HEADER, NOISE), NO_DOUBLE, says="no definition of double"),
    "duplicated": Case(notebook(HEADER, DOUBLE, DOUBLE, NOISE, NOISE)),
    "reordered": Case(notebook(NOISE, DOUBLE, HEADER)),
    "merged": Case(notebook("\n\n".join((HEADER, DOUBLE, NOISE)))),
    "split": Case(
        notebook(HEADER, "def half_way(x):\n    return x", "def double(x):\n    return half_way(x) * 2", NOISE)
    ),
    "torn": Case(notebook(HEADER, "def double(x):", "    return 2 * x", NOISE), NO_DOUBLE, says="not valid Python"),
    "answered in a new cell": Case(notebook(HEADER, STUB, NOISE, DOUBLE)),
    "stub again below": Case(notebook(HEADER, DOUBLE, NOISE, STUB), NO_DOUBLE, says="not yet"),
    "commented out": Case(right(double="# def double(x):\n#     return 2 * x"), NO_DOUBLE),
    "in markdown": Case(right() | {"cells": [{"cell_type": "markdown", "source": DOUBLE}]}, NOTHING),
    "timed": Case(right(double="%%time\n" + DOUBLE)),
    "stripped metadata": Case(stripped(right())),
    "lists of lines": Case(by_lines(right())),
    "unknown kernel": Case(right() | {"metadata": {"kernelspec": {"name": "no such", "display_name": "?"}}}),
    "r kernel": Case(right() | {"metadata": {"kernelspec": {"name": "ir", "language": "R"}}}),
    "nbformat 3": Case(version_3(right())),
    "nbformat 4.9": Case(right() | {"nbformat_minor": 9, "more": {"of": "it"}}),
    "nbformat of text": Case(right() | {"nbformat": "four", "metadata": None}),
    "thirty megabytes": Case(heavy(right())),
    "forged metadata": Case(in_double("pass") | FORGED, ONLY_SHAPE),
    "odd cells": Case(right() | {"cells": [None, 3, {}, {"cell_type": "code", "source": 3}, *right()["cells"]]}),
    "many cells": Case(notebook(HEADER, DOUBLE, NOISE, *["x = 1"] * 3000)),
    "endless helpers": Case(right(double=DOUBLE + "\n" + "\n".join(f"h{i} = h{i + 1}" for i in range(2000)))),
    "names a builtin": Case(right(double="def print(x):\n    return x\ndef double(x):\n    return print(2 * x)")),
}


def folder(**files: dict | bytes) -> Callable[[Path], None]:
    """A folder of notebooks for one student."""

    def make(path: Path) -> None:
        home = path.with_suffix("")
        home.mkdir()
        for name, content in files.items():
            (home / f"{name}.ipynb").write_bytes(raw(content) if isinstance(content, dict) else content)

    return make


def a_socket(path: Path) -> None:
    """A socket with a name where a notebook should be."""
    here, name = os.getcwd(), path.name
    os.chdir(path.parent)  # such names must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(name)
    os.chdir(here)


def too_large(path: Path) -> None:
    """A file with a hole of 101 MB."""
    with path.open("wb") as file:
        file.truncate(101 << 20)


def gone(path: Path) -> None:
    """A link to nothing."""
    path.symlink_to(path.with_name("no such file"))


ACCENT = json.dumps(right(double=DOUBLE + "  # \xe9"), ensure_ascii=False)
FILES = {
    "empty": Case(b"", NOTHING, says="is empty"),
    "white": Case(b" \n\n ", NOTHING, says="is empty"),
    "invalid json": Case(raw(right())[:-20], NOTHING, says="JSON is broken"),
    "conflicted": Case(b'{"cells": [\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> b\n]}', NOTHING, says="merge conflict"),
    "list": Case(b"[1, 2, 3]", NOTHING, says="not a notebook"),
    "null": Case(b"null", NOTHING, says="not a notebook"),
    "no cells key": Case(b'{"nbformat": 4}', NOTHING, says="no cells"),
    "deep": Case(b'{"cells":' * 50_000, NOTHING, says="JSON is broken"),
    "a picture": Case(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), NOTHING, says="is a picture"),
    "a page": Case(b"<!DOCTYPE html><title>Sign in</title>", NOTHING, says="is a web page"),
    "a zip": Case(b"PK\x03\x04" + bytes(100), NOTHING, says="is a zip archive"),
    "latin-1": Case(ACCENT.encode("latin-1")),
    "utf-16": Case(ACCENT.encode("utf-16")),
    "bom": Case(raw(right()).decode().encode("utf-8-sig")),
    "half utf-16": Case(raw(right()).decode().encode("utf-16")[:-1], NOTHING, says="known encoding"),
    "directory": Case(Path.mkdir, NOTHING, says="not a plain file"),
    "link outside": Case(lambda path: path.symlink_to("/etc/passwd"), NOTHING, says="not a plain file"),
    "link to another": Case(lambda path: path.symlink_to("right.ipynb"), NOTHING, says="not a plain file"),
    "link to nothing": Case(gone, NOTHING, says="not a plain file"),
    "link to itself": Case(lambda path: path.symlink_to(path.name), NOTHING, says="not a plain file"),
    "pipe": Case(os.mkfifo, NOTHING, says="not a plain file"),
    "socket": Case(a_socket, NOTHING, says="not a plain file"),
    "too large": Case(too_large, NOTHING, says="larger than"),
    "empty folder": Case(folder(), NOTHING, says="no notebook"),
    "two notebooks": Case(folder(one=notebook(HEADER, DOUBLE), two=notebook(HEADER, NOISE))),
    "one of two broken": Case(folder(one=right(), two=b"{"), says="JSON is broken"),
}
NAMES = {
    name: Case(right())
    for name in (
        "two words",
        "Zo\xeb",
        "\u65e5\u672c\u8a9e",
        "\u0627\u0644\u0627\u0633\u0645",
        "\U0001f600",
        "-rf",
        "a.b.c",
        "=1+1",
        "%s%n{0}",
        "'\"; DROP TABLE",
        "<script>alert(1)<",
        "back\\slash",
        "[x]-y::z",
        "n" * 200,
        "\u65e5" * 83,
        "\U0001f600" * 60,
    )
}

LOOPS = {
    "endless": "while True: pass",
    "endless in C": "while True: torch.ones(500, 500).matrix_power(10**5)",
    "endless and deaf": "import signal\nsignal.signal(signal.SIGXCPU, lambda *a: None)\nwhile True: pass",
    "endless regex": "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
    "sleeper": "time.sleep(10**6)",
    "deadlocked": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
}
TIME = {name: Case(in_noise(body), NO_NOISE, times_out=True) for name, body in LOOPS.items()}
TIME["endless helper"] = Case(
    right(noise="def turn():\n    while True: pass\nK = turn()\ndef noise_once(*a):\n    return K"),
    NO_NOISE,
    times_out=True,
)
TIME["endless exception"] = Case(
    right(noise="class E(Exception):\n    def __str__(self):\n        while True: pass\ndef noise_once(*a): raise E"),
    NO_NOISE,
    times_out=True,
)
SIZE = {
    "100 GB": Case(in_noise("torch.ones(100 << 28)"), NO_NOISE),
    "hoards": Case(in_noise("a = []\nwhile True: a.append(torch.empty(1 << 26))"), NO_NOISE),
    "hoards threads": Case(
        in_double("import threading\nfor _ in range(10**4): threading.Thread(target=time.sleep, args=(9,)).start()"),
        NO_DOUBLE,
    ),
    "fills the disk": Case(in_noise("f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20))"), NO_NOISE),
    "opens files": Case(in_noise("f = [open('/dev/null') for _ in range(10**4)]"), NO_NOISE),
    "half a gigabyte": Case(in_noise("pass", "torch.zeros(1 << 27)"), NO_NOISE),
    "nested": Case(in_noise("a = x\nfor _ in range(100): a = [a]", "a"), NO_NOISE),
    "cyclic": Case(in_noise("a = []\na.append(a)", "a"), NO_NOISE),
    "long answer": Case(in_noise("pass", "list(range(10**6))"), NO_NOISE),
    "huge integer": Case(in_noise("pass", "10**5000"), NO_NOISE),
    "endless iterator": Case(in_noise("import itertools", "itertools.count()"), NO_NOISE),
    "long exception": Case(in_noise("raise ValueError('x' * 10**7)"), NO_NOISE),
    "zip of views": Case(in_noise("pass", "torch.zeros(1).expand(1 << 40)"), NO_NOISE),
}
PROCESSES = {
    "exits in the answer": "os._exit(0)",
    "exits politely": "sys.exit(0)",
    "own base exception": "class Mine(BaseException): pass\nraise Mine",
    "interrupts in the answer": "raise KeyboardInterrupt",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "abort": "os.abort()",
    "fork": "if os.fork() == 0: time.sleep(600)",
    "fork bomb": "while True: os.fork()",
    "daemon": "if os.fork() == 0:\n    os.setsid()\n    time.sleep(600)",
    "pool": "import multiprocessing\nmultiprocessing.Pool(40)",
    "shell in the answer": "import subprocess\nsubprocess.run('sleep 600 &', shell=True, check=True)",
    "exec": "os.execv('/bin/sh', ['sh', '-c', 'sleep 600'])",
    "kills its parent": "os.kill(os.getppid(), 9)",
    "kills all": "os.kill(-1, 9)",
    "kills its group": "os.killpg(0, 9)",
    "stops itself": "import signal\nsignal.raise_signal(signal.SIGSTOP)\nraise ValueError",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', 22))",
    "unmounts": "import ctypes\nassert ctypes.CDLL(None).umount2(b'{inbox}', 2) == 0",
    "closes everything": "os.closerange(0, 64)",
}
PROCESS = {name: Case(in_noise(body, "None"), NO_NOISE) for name, body in PROCESSES.items()}

PATCHES = {
    "torch.testing": "torch.testing.assert_close = lambda *a, **k: None",
    "torch.equal": "torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True",
    "tensor equality": "torch.Tensor.__eq__ = torch.Tensor.eq = lambda a, b: torch.ones(1, dtype=torch.bool)",
    "numpy": "import numpy\nnumpy.testing.assert_allclose = lambda *a, **k: None\nnumpy.allclose = lambda *a: True",
    "builtins": "import builtins\nbuiltins.abs = builtins.all = builtins.len = builtins.isinstance = lambda *a: True",
    "assertion error": "import builtins\nbuiltins.AssertionError = builtins.Exception = type('E', (), {})",
    "pytest": "import pytest, _pytest.reports as r\nr.TestReport.outcome = 'passed'\npytest.raises = pytest.skip",
    "json": "import json\njson.dumps = lambda *a, **k: '{\"value\": true}'",
    "ast": "import ast\nast.NodeTransformer.visit = ast.parse = lambda *a, **k: ast.Module([], [])",
    "ipython": "from IPython import get_ipython\nif get_ipython(): get_ipython().ast_transformers.append(None)",
    "tracer": "sys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)",
    "modules": "for name in ('cs348k_diffusion.exercises.framework.expecting', 'pytest'): sys.modules[name] = sys",
    "import hook": "sys.meta_path.clear()\nsys.modules.clear()\nsys.path[:] = ['{canary}']",
    "exit handler": "import atexit\natexit.register(lambda: open('{out}/results.jsonl', 'a').write('passed'))",
    "fake verdict": "print('1 passed')\nprint('{\"status\": \"passed\", \"earned\": 3}')\nos.write(1, b'5 passed')",
}
PATCH = {
    f"patches {name}": Case(in_double(body), (0, 2) if name in ("builtins", "json", "import hook") else ONLY_SHAPE)
    for name, body in PATCHES.items()
}
EQUALS = (
    "class Equal(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, *a, **k): return True\n"
    "    shape = property(lambda self: torch.Size([2, 3]))\n    __eq__ = lambda *a: True\n"
    "def double(x):\n    return x.as_subclass(Equal)"
)
ANY = "class Any:\n    shape = (2, 3)\n    def __getattr__(self, name): return self\n    __eq__ = lambda *a: True\n"
POISON = "class Poison:\n    def __reduce__(self): return os.system, ('touch {canary}/poisoned',)\n"
SUBCLASS = (
    "class Poison(torch.Tensor):\n    __reduce_ex__ = lambda self, p: (os.system, ('touch {canary}/poisoned',))\n"
    "def double(x):\n    return x.as_subclass(Poison)"
)
FRAMES = (
    "frame = sys._getframe()\nwhile frame:\n    for name in ('want', 'expected', 'truth'):\n"
    "        if name in frame.f_locals: return frame.f_locals[name]\n    frame = frame.f_back"
)
GARBAGE = (
    "for found in gc.get_objects():\n    if isinstance(found, dict) and 'expected' in found: return found['expected']\n"
    "for found in gc.get_objects():\n    if torch.is_tensor(found) and found.shape == x.shape:"
    " return found"
)
FORGE = (
    "import json, struct\nhead = json.dumps(BODY).encode()\nfor fd in range(3, 64):\n"
    "    try: os.write(fd, struct.pack('!IQ', len(head), 0) + head)\n    except OSError: pass\nos._exit(0)"
)
PICKLED = (
    "import pickle, struct\nhead = pickle.dumps(Poison())\nfor fd in range(3, 64):\n"
    "    try: os.write(fd, struct.pack('!IQ', len(head), 0) + head)\n    except OSError: pass"
)
FLOOD = "for fd in range(3, 64):\n    try: [os.write(fd, bytes(65536)) for _ in range(64)]\n    except OSError: pass"
CHEATS = {
    "equal tensor": Case(right(double=EQUALS), ONLY_SHAPE),
    "equal object": Case(right(double=f"{ANY}def double(x):\n    return Any()"), NO_DOUBLE),
    "equal number": Case(
        right(double="class N(float):\n    __eq__ = lambda *a: True\ndef double(x): return N(1)"), (0, 2)
    ),
    "frames": Case(in_double(FRAMES), ONLY_SHAPE),
    "garbage": Case(in_noise(GARBAGE), NO_NOISE),
    "mutates": Case(in_double("x.zero_()", "x"), ONLY_SHAPE),
    "skips the test": Case(in_double("import pytest\npytest.skip('no')"), NO_DOUBLE),
    "expects failure": Case(in_double("import pytest\npytest.xfail('no')"), NO_DOUBLE),
    "ends pytest": Case(in_double("import pytest\npytest.exit('done', returncode=0)"), NO_DOUBLE),
    "skips by unittest": Case(in_double("import unittest\nraise unittest.SkipTest"), NO_DOUBLE),
    "script in a message": Case(in_double("raise ValueError('<script>alert(1)</script>')"), NO_DOUBLE),
    "script in a class": Case(in_double("raise type('<script>alert(1)</script>', (Exception,), {})()"), NO_DOUBLE),
    "poisoned object": Case(right(double=f"{POISON}def double(x):\n    return Poison()"), NO_DOUBLE),
    "poisoned tensor": Case(right(double=SUBCLASS), ONLY_SHAPE),
    "poisoned exception": Case(right(double=f"{POISON}def double(x):\n    raise ValueError(Poison())"), NO_DOUBLE),
    "poisoned message": Case(right(double=POISON + _function("double(x)", PICKLED, "x")), NO_DOUBLE),
    "forged true": Case(in_noise(FORGE.replace("BODY", '{"value": True}')), NO_NOISE),
    "forged tensor": Case(in_noise(FORGE.replace("BODY", '{"value": {"tensor": ["float32", [10**9]]}}')), NO_NOISE),
    "forged handle": Case(in_noise(FORGE.replace("BODY", '{"value": {"handle": [0, "x", True]}}')), NO_NOISE),
    "forged call": Case(in_noise(FORGE.replace("BODY", '{"call": [99, None]}')), NO_NOISE),
    "forged end": Case(in_noise(FORGE.replace("BODY", '{"end": 1}')), NO_NOISE),
    "flood of bytes": Case(in_noise(FLOOD), NO_NOISE),
}

MODULE = "cs348k_diffusion.forward"
RUN = "\nspace = {}\nexec(text, space)\nf = space['noise_once']"
REACHES = {
    "from import": "from cs348k_diffusion.forward import noise_once as f",
    "re-export": "import cs348k_diffusion\nf = cs348k_diffusion.forward.noise_once",
    "importlib": f"f = importlib.import_module('{MODULE}').noise_once",
    "sys.modules": f"f = sys.modules['{MODULE}'].noise_once",
    "getattr": f"f = getattr(__import__('{MODULE}', fromlist=['x']), 'noise' + '_once')",
    "all modules": "f = [m.noise_once for m in [*sys.modules.values()] if hasattr(m, 'noise_once')][-1]",
    "garbage collector": "f, *_ = [g for g in gc.get_objects() if getattr(g, '__module__', '') == "
    f"'{MODULE}' and g.__name__ == 'noise_once']",
    "globals": f"f = importlib.import_module('{MODULE}').add_noise.__globals__['noise_once']",
    "solutions": "from solutions import forward_noising\nf = forward_noising.noise_once",
    "tests": "from tests.answers.forward_noising import RIGHT\nf = RIGHT['E2.1'][0]",
    "mine or ours": "from cs348k_diffusion import mine_or_ours\nf = mine_or_ours(noise_once)",
    "checks": "from cs348k_diffusion.grading.checks.check import ours\nf = ours('E8.2')",
}
ON_DISK = {
    "reload": f"f = importlib.reload(importlib.import_module('{MODULE}')).noise_once",
    "fresh import": f"del sys.modules['{MODULE}']\nf = importlib.import_module('{MODULE}').noise_once",
    "source": f"text = inspect.getsource(sys.modules['{MODULE}']){RUN}",
    "file": f"text = open(sys.modules['{MODULE}'].__file__).read(){RUN}",
    "loader": f"text = sys.modules['{MODULE}'].__loader__.get_source('{MODULE}'){RUN}",
    "byte code": f"text = sys.modules['{MODULE}'].__loader__.get_code('{MODULE}'){RUN}",
    "pyc": "import marshal\n"
    "text = marshal.loads(open(importlib.import_module('cs348k_diffusion.forward').__cached__, 'rb').read()[16:])"
    + RUN,
    "neighbour": "import json\ntext = ''.join(json.load(open('{inbox}/right.ipynb'))['cells'][2]['source'])\n"
    "space = {'torch': torch}\nexec(text, space)\nf = space['noise_once']",
    "neighbour's folder": "import pathlib\ntext = next(pathlib.Path('{inbox}').glob('r*.ipynb')).read_text()\nf = max",
    "neighbour by proc": "open('/proc/1/root{inbox}/right.ipynb').read()\nf = max",
    "marks": "open('{out}/results.jsonl').read()\nf = max",
}
REACH = {f"reaches by {name}": Case(in_noise(body, "f(x, beta, noise)"), NO_NOISE) for name, body in REACHES.items()}
DISK = {
    f"reads {name}": Case(in_noise(body, "f(x, beta, noise)"), NO_NOISE, needs="hidden files")
    for name, body in ON_DISK.items()
}
TARGETS = {
    "canary": "{canary}/canary.txt",
    "new file": "{canary}/left-behind",
    "results": "{out}/results.jsonl",
    "gradebook": "{out}/gradebook.csv",
    "neighbour": "{inbox}/right.ipynb",
    "checks": "{checks}/small.py",
    "conftest": "{inbox}/conftest.py",
    "tmp": "/tmp/forged-by-a-submission",
    "shared memory": "/dev/shm/forged-by-a-submission",
}
WRITE = {
    f"writes {name}": Case(in_noise(f"open('{path}', 'w').write('forged')"), NO_NOISE, needs="read-only disk")
    for name, path in TARGETS.items()
}
LATER = "def later():\n    time.sleep(1)\n    open('{canary}/later', 'w')\n"
WRITE["writes later"] = Case(
    in_double(f"import threading\n{LATER}threading.Thread(target=later).start()", "2 * x"), needs="read-only disk"
)
WRITE["removes"] = Case(in_noise("import shutil\nshutil.rmtree('{canary}')"), NO_NOISE, needs="read-only disk")
WRITE["renames"] = Case(in_noise("os.rename('{inbox}/right.ipynb', '{inbox}/x.ipynb')"), NO_NOISE)
WRITE["changes modes"] = Case(in_noise("os.chmod('{canary}', 0)"), NO_NOISE, needs="read-only disk")

REFUSED_CALL = """
    import ctypes, platform
    column = {{"x86_64": 0, "aarch64": 1}}.get(platform.machine())
    number = None if column is None else {numbers!r}[column]
    libc = ctypes.CDLL(None, use_errno=True)
    refused = number is None or (libc.syscall(number, {arguments}) == -1 and ctypes.get_errno() == 1)
    return 2 * x if refused else x"""
PROBED = (
    "execve fork kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo ptrace process_vm_readv process_vm_writev kcmp "
    "pidfd_open pidfd_getfd pidfd_send_signal socket socketpair io_uring_setup io_setup fanotify_init shmget semget "
    "msgget mq_open memfd_create userfaultfd add_key keyctl mount umount2 unshare setns chroot pivot_root open_tree "
    "fsopen bpf perf_event_open personality setpriority sched_setaffinity sched_setscheduler ioprio_set"
).split()
CALLS = {
    f"system call {name}": Case(
        right(double="def double(x):" + REFUSED_CALL.format(numbers=REFUSED[name], arguments="0, 0, 0, 0, 0, 0"))
    )
    for name in PROBED
}
CALLS["limits of another process"] = Case(
    right(double="def double(x):" + REFUSED_CALL.format(numbers=(302, 261), arguments="1, 7, 0, 0, 0, 0"))
)
CALLS["signals by a file's owner"] = Case(
    right(double="def double(x):" + REFUSED_CALL.format(numbers=(72, 25), arguments="0, 8, 1, 0, 0, 0"))
)

UNSEEN = {
    "the checks": "{checks}/small.py",
    "the hand-ins": "{inbox}",
    "the marks": "{out}",
    "a canary": "{canary}/canary.txt",
    "the repository": "{root}/.git",
    "the solutions": "{root}/solutions",
    "the tests": "{root}/tests",
    "the course's exercises": "{root}/cs348k_diffusion/exercises",
    "the grader": "{root}/cs348k_diffusion/grading",
    "passwords": "/etc/passwd",
    "shadows": "/etc/shadow",
    "the machine's name": "/etc/hostname",
    "logs": "/var/log",
    "process 1's files": "/proc/1/root{inbox}",
    "shared memory": "/dev/shm",
}
WALLED = {
    f"sees {name}": Case(in_double(f"seen = os.path.exists({path!r})", "x if seen else 2 * x"), needs="own root")
    for name, path in UNSEEN.items()
}
BARE = "seen = {*os.listdir('/')} & {'srv', 'mnt', 'media', 'boot', 'sys', 'run', 'sbin'}"
WALLED["root is bare"] = Case(in_double(BARE, "x if seen else 2 * x"), needs="own root")

ODD_TEXTS = {
    "half a character": "'\\ud800'",
    "an escaped byte": "'\\udcff'",
    "a null": "'a\\0b'",
    "a terminal's escape": "'\\x1b[2J\\x1b]0;mine\\x07'",
    "a direction mark": "'\\u202e\\u2066'",
    "line separators": "'\\u2028\\u2029\\x85'",
    "a page of tags": "'</pre></div><script>alert(1)</script>'",
    "a formula": "'=HYPERLINK(1)'",
}
TEXTS = {}
for name, text in ODD_TEXTS.items():
    TEXTS[f"message of {name}"] = Case(in_double(f"raise ValueError({text})"), NO_DOUBLE)
    TEXTS[f"answer of {name}"] = Case(in_double("pass", text), NO_DOUBLE)
    TEXTS[f"class from {name}"] = Case(in_double(f"class Odd: pass\nOdd.__module__ = {text}", "Odd()"), NO_DOUBLE)
    TEXTS[f"key of {name}"] = Case(in_double("pass", f"{{{text}: x}}".replace("{{", "{")), NO_DOUBLE)
TEXTS["module is a number"] = Case(in_double("class Odd: pass\nOdd.__module__ = 3", "Odd()"), NO_DOUBLE)
TEXTS["surrogate in a magic"] = Case(notebook("%%\ud800\nx", HEADER, DOUBLE, NOISE))
TEXTS["surrogate in a tag"] = Case(
    right()
    | {"cells": [{"cell_type": "markdown", "metadata": {"tags": ["\ud800"]}, "source": "\ud800"}, *right()["cells"]]}
)
TEXTS["surrogate in a comment"] = Case(right(double=DOUBLE + "  # \ud800"))

WINDOWS = DOUBLE.replace("\n", "\r\n")
INDENTED = "\n".join("    " + line for line in DOUBLE.split("\n"))
PROMPTS = ">>> def double(x):\n...     return 2 * x\n"
NUMBERED = "In [1]: def double(x):\n   ...:     return 2 * x"
READ = {
    "windows line ends": Case(right(double=WINDOWS)),
    "old mac line ends": Case(right(double=DOUBLE.replace("\n", "\r"))),
    "timed on windows": Case(right(double="%%time\r\n" + WINDOWS)),
    "timed below blank lines": Case(right(double="\n\n%%time\n" + DOUBLE)),
    "timed twice": Case(right(double="%%time\n%%capture out\n" + DOUBLE)),
    "timed with options": Case(right(double="%%timeit -n 1 -r 1\n" + DOUBLE)),
    "indented as a whole": Case(right(double=INDENTED)),
    "pasted with prompts": Case(right(double=PROMPTS)),
    "pasted from a terminal": Case(right(double=NUMBERED)),
    "magics around": Case(
        right(double="%matplotlib inline\n!pip list\n" + DOUBLE + "\ndouble?\nfiles = !ls\n%time double(x)")
    ),
    "a shell line goes on": Case(right(double="!echo a \\\n  b\n" + DOUBLE)),
    "modulo at a line's start": Case(right(double="def double(x):\n    two = (5\n% 3)\n    return two * x")),
    "newer syntax": Case(right(double="type X = int\n" + DOUBLE), NO_DOUBLE if sys.version_info < (3, 12) else FULL),
    "trailing spaces": Case(right(double=DOUBLE.replace("\n", "   \n"))),
    "2,500 cells before": Case(notebook(*["x = 1"] * 2500, HEADER, DOUBLE, NOISE)),
    "40,000 blank lines": Case(notebook(HEADER, "\n" * 40_000 + "x = 1 %", DOUBLE, NOISE)),
    "600 shell lines": Case(notebook(HEADER, "!ls\n" * 600, DOUBLE, NOISE)),
    "5,000 definitions": Case(notebook(HEADER, "\n".join(f"f{i} = {i}" for i in range(5000)), DOUBLE, NOISE)),
}
BLANK = notebook(HEADER, STUB, STUB.replace("double(x)", "noise_once(x, beta, noise)"))
COPIES = {
    f"solved in {name}": Case(folder(**{"02": BLANK, f"02{name}": right()}), says="counted")
    for name in ("-Copy1", " (1)", " copy", "_old", "-2", ".bak")
}
COPIES["solved in the original"] = Case(folder(**{"02": right(), "02-Copy1": BLANK}), says="counted")
COPIES["half in each"] = Case(
    folder(one=notebook(HEADER, DOUBLE, STUB.replace("double(x)", "noise_once(x, beta, noise)")),
           two=notebook(HEADER, STUB, NOISE)), says="counted",
)  # fmt: skip
COPIES["named .IPYNB"] = Case(lambda path: path.with_suffix(".IPYNB").write_bytes(raw(right())))
COPIES["named .ipynb.txt"] = Case(lambda path: path.with_suffix(".ipynb.txt").write_bytes(raw(right())))

PARTS = (ORDINARY, SCRATCH, SHAPES, FILES, NAMES, TIME, SIZE, PROCESS, PATCH, CHEATS, REACH, DISK, WRITE,
         CALLS, WALLED, TEXTS, READ, COPIES)  # fmt: skip
CORPUS: dict[str, Case] = dict(itertools.chain.from_iterable(part.items() for part in PARTS))


def write(cases: dict[str, Case], inbox: Path, **places: Path) -> None:
    """Hand in the cases; `{inbox}` and the other places are filled in."""
    for name, case in cases.items():
        path = inbox / f"{name}.ipynb"
        if callable(case.given):
            case.given(path)
        else:
            path.write_bytes(
                case.given if isinstance(case.given, bytes) else _filled(case.given, inbox=inbox, **places)
            )


def _filled(content: dict, **places: Path) -> bytes:
    text = json.dumps(content)
    for name, place in places.items():
        text = text.replace(f"{{{name}}}", str(place))
    return text.encode()
