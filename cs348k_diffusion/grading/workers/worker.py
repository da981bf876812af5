"""What runs beside a student's code in its own process: it is handed inputs and gives back plain values.

Nothing here knows a truth, a tolerance or a mark. First comes a job (the definitions to run, what to withhold), then
one request after the other. A function among the inputs stays in the parent process; calling it sends a message there.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import json
import linecache
import os
import signal
import socket
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from cs348k_diffusion.exercises.framework.errors import NotYet, StudentError
from cs348k_diffusion.grading.subject import protocol
from cs348k_diffusion.grading.subject.server import ObjectServer, guarded, seed_everything
from cs348k_diffusion.grading.subject.subject import pack_result
from cs348k_diffusion.grading.subject.watch import Rules
from cs348k_diffusion.grading.workers import sandbox, withheld


@dataclass(frozen=True)
class Job:
    """All that a worker is told: which statements of which cells to run, and what is out of bounds."""

    exercise: str
    name: str
    cells: list[tuple[int, str, list[int]]]  # number of the cell, its text, the statements to run
    closed: list[tuple[str, str]] = field(default_factory=list)
    ours: dict[str, str] = field(default_factory=dict)  # exercise name -> the package's answer, for `mine_or_ours`
    fallbacks: dict[str, str] = field(default_factory=dict)  # those that take the place of the notebook's own
    rules: Rules = field(default_factory=Rules)
    flags: int = 0  # the notebook's own `from __future__` imports
    package: str = ""  # the copy of the package without the closed names
    imports_only: bool = False  # what the imports alone take is measured, and the answer is not there


def enter(sock: socket.socket, folder: str, seconds: int, memory: int) -> None:
    """Become a worker: quiet, limited, without privileges; then serve until the parent process hangs up."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(HOME=folder, TMPDIR=folder, OMP_NUM_THREADS="1", MPLBACKEND="Agg", PATH="/usr/bin:/bin")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sandbox.limit(seconds, memory)
    sandbox.renounce()
    torch.set_num_threads(1)
    torch.compile = _as_it_is  # a compiler is another program, and takes longer than any answer
    warnings.simplefilter("ignore")
    try:
        Serving(sock).run()
    except (EOFError, OSError):
        os._exit(0)


def _as_it_is(model: Any = None, **options: Any) -> Any:
    """In place of `torch.compile`: the same function, not compiled."""
    return (lambda function: function) if model is None else model


class Serving:
    """The worker's half of the conversation."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        head, _ = protocol.receive(sock, trusted=True)
        self.job: Job = protocol.loads(head, lambda pid: None)
        withheld.withhold(self.job.closed, self.job.exercise, self.job.ours, NotYet, self.job.package)
        self.server: ObjectServer | None = None

    def run(self) -> None:
        """Answer requests for ever."""
        while True:
            head, _ = protocol.receive(self.sock, trusted=True)
            packet = protocol.Packet()
            try:
                message = {"value": guarded(functools.partial(self._serve, packet, head))}
            except NotYet as stub:
                message, packet = {"not yet": str(stub.exercise)}, protocol.Packet()
            except StudentError as error:
                message, packet = {"raised": [error.kind, error.text, error.where]}, protocol.Packet()
            except BaseException as error:  # KeyboardInterrupt, raised by the answer itself
                message, packet = {"raised": [type(error).__name__, "", ""]}, protocol.Packet()
            protocol.send(self.sock, *packet.finish(message))

    def _serve(self, packet: protocol.Packet, request: bytes) -> Any:
        verb, number, args, named, extra = protocol.loads(request, self._other)
        if self.server is None:
            self.server = ObjectServer(defined(self.job), self.job.rules)
        if verb == "seed":
            return seed_everything(extra)
        return pack_result(packet, self.server, self.server.serve(verb, number, args, named, extra))

    def _other(self, pid: tuple) -> Any:
        if pid[0] == "handle":
            return self.server.objects[pid[1]] if self.server else None
        return Remote(self, *pid[1:])

    def ask(self, kind: str, number: int, args: Any, named: Any = None) -> Any:
        """Have the parent evaluate its own function; raises what that raised, or RuntimeError for strange types."""
        packet = protocol.Packet()
        form = packet.pack((args, named or {}), lambda value: _cannot_cross(value))
        protocol.send(self.sock, *packet.finish({kind: [number, form]}))
        head, _ = protocol.receive(self.sock, trusted=True)
        fine, value = protocol.loads(head, self._other)
        if not fine:
            raise _as_raised(*value)
        return value


def _as_raised(kind: str, said: str) -> Exception:
    error = getattr(builtins, kind, None)
    if isinstance(error, type) and issubclass(error, Exception):
        with contextlib.suppress(Exception):  # some want more than one argument
            return error(said)
    return RuntimeError(f"{kind}: {said}")


def _cannot_cross(value: Any) -> Any:
    raise TypeError(f"a {type(value).__name__} cannot be passed to this function; pass tensors and plain values")


class Remote:
    """A function of the parent process. Autograd goes through it once (no second derivatives)."""

    def __init__(self, serving: Serving, number: int, schedule: Any, learns: bool):
        self._serving, self._number, self.schedule = serving, number, schedule
        self._gate = torch.zeros((), requires_grad=learns)

    def __call__(self, *args: Any, **named: Any) -> Any:
        flat = [*args, *named.values()]
        if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in [self._gate, *flat]):
            return _Through.apply(self._serving, self._number, len(args), tuple(named), self._gate, *flat)
        return self._serving.ask("call", self._number, args, named)

    def __deepcopy__(self, _memo: dict) -> Remote:
        """A copy of a function is itself, as everywhere in Python."""
        return self

    __copy__ = lambda self: self  # noqa: E731


class _Through(torch.autograd.Function):
    """A call there and a vector-Jacobian product back; torch.func.grad, vjp and jacrev go through it, too."""

    @staticmethod
    def forward(serving: Serving, number: int, count: int, names: tuple, gate: Tensor, *flat: Any) -> Any:
        return serving.ask("call", number, flat[:count], dict(zip(names, flat[count:])))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.serving, ctx.number, ctx.count, ctx.names = inputs[:4]
        ctx.flat = [x.detach().clone() if isinstance(x, Tensor) else x for x in inputs[5:]]

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        with temporarily_clear_interpreter_stack():  # of torch.func, which would wrap what is only packed
            pulled, flat = ([_value(x) for x in each] for each in (cotangents, ctx.flat))
            args, named = tuple(flat[: ctx.count]), dict(zip(ctx.names, flat[ctx.count :]))
            grads = ctx.serving.ask("backward", ctx.number, (args, tuple(pulled)), named)
        return None, None, None, None, torch.zeros(()), *grads


def _value(x: Any) -> Any:
    """The numbers of a tensor, whatever transforms of torch.func it is wrapped by; anything else as it is."""
    if not isinstance(x, Tensor):
        return x
    while is_functorch_wrapped_tensor(x):
        x = get_unwrapped(x)
    return x.detach().clone()


def defined(job: Job) -> Any:
    """Run the job's definitions and hand over the one it is about.

    A statement that fails costs only the names it would have bound; one that misses a name is tried again after the
    others, since cells may stand in another order than they ran in. Raises NotYet when the exercise's name is missing.
    """
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    fallbacks = {name: withheld.answer(home) for name, home in job.fallbacks.items()}
    vars(module).update(_of_a_notebook() | fallbacks)
    problems: list[str] = []
    waiting = list(_statements(job))
    if job.imports_only:
        waiting = [each for each in waiting if isinstance(each[1], ast.Import | ast.ImportFrom)]
    while waiting:
        again = [each for each in waiting if _missed(each, vars(module), job.flags, problems)]
        if len(again) == len(waiting):
            break
        waiting = again
    for number, statement in waiting:
        problems.append(f"cell {number}, line {statement.lineno}: NameError: {_missing_name(statement, module)}")
    vars(module).update(fallbacks)
    if job.name in vars(module):
        return vars(module)[job.name]
    if problems:
        raise StudentError("", f"could not be defined: {'; '.join(problems[:3])}")
    raise NotYet(job.exercise)


def _of_a_notebook() -> dict[str, Any]:
    """Names that every notebook has and an answer may be left with; here they show nothing and run nothing."""
    silent = type("Silent", (), {"__getattr__": lambda self, name: lambda *args, **named: None})()
    return {"display": lambda *args, **named: None, "get_ipython": lambda: silent}


def _missing_name(statement: ast.stmt, module: types.ModuleType) -> str:
    names = [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    unknown = [name for name in names if name not in vars(module) and not hasattr(builtins, name)]
    return f"{', '.join(dict.fromkeys(unknown)) or 'a name'} is not defined"


def _statements(job: Job) -> Iterator[tuple[int, ast.stmt]]:
    for number, text, statements in job.cells:
        file = f"<cell {number}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        body = ast.parse(text).body
        yield from ((number, body[index]) for index in statements)


def _missed(numbered: tuple[int, ast.stmt], space: dict, flags: int, problems: list[str]) -> bool:
    """Run one statement; True if it misses a name."""
    number, statement = numbered
    try:
        code = compile(ast.Module([statement], []), f"<cell {number}>", "exec", flags, dont_inherit=True)
        exec(code, space)
    except NameError:
        return True
    except Exception as error:
        problems.append(f"cell {number}, line {statement.lineno}: {type(error).__name__}: {error}"[:300])
    return False


def main(given: str) -> None:
    """Entry where there is no fork server: connect to the parent's port with the token it gave, then work."""
    facts = json.loads(given)
    sock = socket.create_connection(("127.0.0.1", facts["port"]))
    sock.sendall(facts["token"].encode())
    os.chdir(facts["folder"])
    enter(sock, facts["folder"], facts["seconds"], facts["memory"])
