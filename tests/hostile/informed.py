"""What somebody who has read the grader's source tries next, and what tools leave in an unlucky student's notebook."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.hostile.corpus import (
    DOUBLE,
    FORGE,
    HEADER,
    NO_DOUBLE,
    NO_NOISE,
    NOISE,
    NOTHING,
    ONLY_SHAPE,
    REFUSED_CALL,
    Case,
    in_double,
    in_noise,
    notebook,
    raw,
    right,
)

IMPORTING = "import builtins\ndef hook(*a, **k): {body}\nbuiltins.__import__ = hook"
FINDER = "class Finder:\n    def find_spec(self, *a, **k): raise RuntimeError\nsys.meta_path.insert(0, Finder())"
WITHOUT_FINDER = "sys.meta_path[:] = [each for each in sys.meta_path if '_Finder' not in repr(each)]\n"
IMPORT_HOOKS = {
    "import gives torch": Case(in_double(IMPORTING.format(body="return torch"), "2 * x"), NO_DOUBLE),
    "import raises": Case(in_double(IMPORTING.format(body="raise ValueError"), "2 * x"), NO_DOUBLE),
    "import ends the process": Case(in_double(IMPORTING.format(body="os._exit(0)"), "2 * x"), NO_DOUBLE),
    "import never ends": Case(
        in_double(IMPORTING.format(body="\n    while True: pass"), "2 * x"), NO_DOUBLE, times_out=True
    ),
    "import gives torch, and the answer is wrong": Case(in_double(IMPORTING.format(body="return torch")), NO_DOUBLE),
    "no finders": Case(in_double("sys.meta_path.clear()", "2 * x")),
    "a finder that raises": Case(in_double(FINDER, "2 * x")),
    "importlib's own functions": Case(
        in_double("import importlib._bootstrap as b\nb._find_and_load = b._gcd_import = b._find_spec = None", "2 * x")
    ),
    "importlib's own functions, wrong": Case(
        in_double("import _frozen_importlib as b\nb._find_and_load = b._handle_fromlist = lambda *a: None", "x"),
        ONLY_SHAPE,
    ),
    "takes the finder of placeholders out": Case(
        in_noise(WITHOUT_FINDER + "from cs348k_diffusion.forward import noise_once as f", "f(x, beta, noise)"), NO_NOISE
    ),
    "imports the checks without that finder": Case(
        in_noise(WITHOUT_FINDER + "from cs348k_diffusion.exercises import expect as f", "f(x, x, '')"), NO_NOISE
    ),
}


def forged(body: str) -> Case:
    """The answer writes this message to the grader, and ends its process."""
    return Case(in_double(FORGE.replace("BODY", f"'{body}'").replace("json.dumps", "str")), NO_DOUBLE)


FORGED = {
    "a shape whose size overflows": forged('{"value": {"tensor": ["float32", [0, 268435456, 268435456, 268435456]]}}'),
    "a negative length": forged('{"value": {"tensor": ["float32", [-1]]}}'),
    "lengths that are no numbers": forged('{"value": {"tensor": ["float32", [true, 1e3]]}}'),
    "more dimensions than there are": forged('{"value": {"tensor": ["bool", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]}}'),
    "a handle to nothing": forged('{"value": {"handle": [-5, "x", false]}}'),
    "a key that is no key": forged('{"value": {"dict": [[NaN, 1], [null, 2]]}}'),
    "an endless number": Case(
        in_double(FORGE.replace("json.dumps(BODY)", "('{\"value\": ' + '9' * 10**6 + '}')")), NO_DOUBLE
    ),
    "infinity": forged('{"value": -Infinity}'),
    "its own failure": forged('{"raised": ["Passed", "3 of 3 points", "everywhere"]}'),
    "another exercise's failure": forged('{"not yet": "E8.2"}'),
    "two messages in one": forged('{"value": true, "raised": ["", "", ""]}'),
}
OBJECTS = {
    "a number that ends the process": Case(
        in_double("class N(int):\n    def __int__(self): raise SystemExit\n    __index__ = __int__", "N(3)"), NO_DOUBLE
    ),
    "a key that equals all keys": Case(
        in_double("class K(str):\n    __hash__ = lambda s: 0\n    __eq__ = lambda *a: True", "{K('a'): x}"), NO_DOUBLE
    ),
    "a tensor without its memory": Case(
        in_double("y = torch.ones(100)\ny.untyped_storage().resize_(0)", "y"), NO_DOUBLE
    ),
    "a tensor of another function's making": Case(
        in_double("kept = []\ntorch.vmap(lambda y: kept.append(y) or y)(x)", "2 * kept[0]"), NO_DOUBLE
    ),
    "a tensor of tensors": Case(in_double("pass", "torch.nested.nested_tensor([x, x])"), NO_DOUBLE),
    "a quantized tensor": Case(in_double("pass", "torch.quantize_per_tensor(2 * x, 0.1, 0, torch.qint8)"), NO_DOUBLE),
    "a class without a name": Case(in_double("C = type('', (), {})\nC.__qualname__ = ''", "C()"), NO_DOUBLE),
}
PROCESS = {
    "asks to outlive its parent": Case(
        right(double="def double(x):" + REFUSED_CALL.format(numbers=(157, 167), arguments="1, 0, 0, 0, 0, 0"))
    ),
    "counts its open files": Case(
        in_double(
            "kept = [os.path.exists(f'/proc/self/fd/{n}') for n in range(3, 64)]", "2 * x if sum(kept) < 3 else x"
        ),
        needs="own root",
    ),
}


def in_folder(**files: bytes) -> Callable[[Path], None]:
    """A folder of files of any name."""

    def make(path: Path) -> None:
        for name, content in files.items():
            file = path.with_suffix("") / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    return make


def in_latin_1(path: Path) -> None:
    """A file whose name is no UTF-8."""
    Path(os.fsdecode(os.fsencode(path.parent) + b"/Zo\xeb.ipynb")).write_bytes(raw(right()))


SIXTY = {f"n{i:02}.ipynb": raw(notebook("x = 1")) for i in range(60)}
FILES = {
    "19,000 broken cells": Case(notebook(HEADER, DOUBLE, NOISE, *["x = = 1"] * 19_000), says="more cells"),
    "sixty notebooks beside the answers": Case(in_folder(**SIXTY, **{"z.ipynb": raw(right())})),
    "Zo\\udceb": Case(in_latin_1),
    "only the checkpoints": Case(in_folder(**{".ipynb_checkpoints/a-checkpoint.ipynb": raw(right())}), NOTHING),
    "two notebooks in one file": Case(raw(right()) * 2, NOTHING, says="JSON is broken"),
    "ends in null bytes": Case(raw(right()) + bytes(4096), NOTHING, says="JSON is broken"),
    "a pointer to a large file": Case(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", NOTHING, says="JSON is broken"
    ),
    "cells twice": Case(raw(right())[:-1] + b', "cells": []}', NOTHING),
}
PLOT = "import matplotlib.pyplot as plt\ndef double(x):\n    plt.plot(x.flatten())\n    plt.show()\n    return 2 * x"
TYPED = "from jaxtyping import Float\ndef double(x: Float[torch.Tensor, 'n d']) -> Float[torch.Tensor, 'n d']:\n"
CONFIGURED = (
    "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n    by: int = 2\nCONFIG = C()\n"
    "def double(x, c=CONFIG):\n    return c.by * x"
)
UNLUCKY = {
    "display is left in": Case(in_double("display(x)\nprint(x)", "2 * x")),
    "display is imported": Case(
        right(double="from IPython.display import display\n" + DOUBLE.replace("2 * x", "display(x) or 2 * x"))
    ),
    "the shell is asked": Case(in_double("get_ipython().run_line_magic('matplotlib', 'inline')", "2 * x")),
    "a magic in the answer": Case(right(double="def double(x):\n    %matplotlib inline\n    return 2 * x")),
    "compiled": Case(right(double="@torch.compile\n" + DOUBLE)),
    "compiled with options": Case(right(double="@torch.compile(mode='max-autotune')\n" + DOUBLE)),
    "scripted": Case(right(double="@torch.jit.script\n" + DOUBLE)),
    "one example at a time": Case(right(double="double = torch.vmap(lambda x: 2 * x)")),
    "without gradients": Case(right(double="@torch.no_grad()\n" + DOUBLE)),
    "plots": Case(right(double=PLOT)),
    "a progress bar": Case(
        right(double="from tqdm.auto import tqdm\ndef double(x):\n    return sum(2 * x for _ in tqdm(range(1)))")
    ),
    "typed shapes": Case(right(double=TYPED + "    return 2 * x")),
    "full-width letters": Case(right(double=DOUBLE.replace("double", "\uff44ouble", 1))),
    "a configuration": Case(
        right(double=CONFIGURED)
    ),
    "a module of its own": Case(
        notebook(HEADER, "%%writefile mine.py\ndef two(x):\n    return 2 * x", "from mine import two",
                 "def double(x):\n    return two(x)", NOISE), NO_DOUBLE, says="%%writefile",
    ),
    "in a raw cell": Case(
        right() | {"cells": [right()["cells"][0], right()["cells"][1] | {"cell_type": "raw"}, right()["cells"][2]]},
        NO_DOUBLE, says="no definition of double",
    ),
    "from Colab": Case(
        notebook("!pip install -q torch\nfrom google.colab import drive\ndrive.mount('/content/drive')\n" + HEADER,
                 "#@title double { display-mode: \"form\" }\n" + DOUBLE, NOISE)
    ),
    "reloads": Case(notebook("%load_ext autoreload\n%autoreload 2\n" + HEADER, DOUBLE, NOISE)),
    "settings at the top": Case(
        notebook(HEADER + "\ntorch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)", DOUBLE, NOISE)
    ),
}  # fmt: skip
PARTS = (IMPORT_HOOKS, FORGED, OBJECTS, PROCESS, FILES, UNLUCKY)
