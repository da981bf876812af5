"""The implementation under test, as a check sees it: the same verbs in the notebook and in front of a worker.

A `Subject` is called like the student's function. What comes back are fresh tensors and plain values; a function, a
module, an iterator or a schedule that the student returns comes back as an `Instance`, which is called, iterated
and asked for attributes in the same way. Inputs are copied on the way in, so nothing the student does to them is felt.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.exercises.framework.errors import StudentError
from cs348k_diffusion.exercises.framework.forms import kind_of, problem
from cs348k_diffusion.exercises.framework.observing import Counted
from cs348k_diffusion.grading.subject import protocol
from cs348k_diffusion.grading.subject.budget import Budget
from cs348k_diffusion.grading.subject.server import KeepRemote, ObjectServer, guarded, seed_everything
from cs348k_diffusion.grading.subject.watch import Rules, rules_of


@runtime_checkable
class Link(Protocol):
    """The way to a student's code: straight into this process, or over a socket; `last`: what came back, in words.

    known: what came of a property test's run on an implementation, by the implementation's id, which it keeps alive.
    """

    last: str
    known: dict[int, tuple[Any, Any]]

    def ask(self, verb: str, number: int, args: tuple, named: dict, extra: Any = None) -> Any:
        """Have one verb carried out. Raises StudentError or NotYet."""

    def restart(self) -> None:
        """Forget everything the student's code may have stored."""

    def peak_bytes(self) -> int | None:
        """The high-water mark of the process's memory, where an outsider can read it."""

    def bytes_of_imports(self) -> int | None:
        """The same of a process that has run the answer's imports alone."""


NOTHING: Mapping[str, Any] = MappingProxyType({})
BEFORE_A_CALL = 8 << 20  # bytes that definitions may take, imports aside, where the memory of a call is measured


class Handle:
    """What `Subject` and `Instance` share: call, vector-Jacobian product, attributes.

    gives: the form of what a call gives back, looked at before a check sees it.
    """

    gives = ""

    def __init__(self, link: Link, handle_id: int = 0, kind: str = "the answer", iterator: bool = False):
        self._link, self._id, self.kind, self._iterator = link, handle_id, kind, iterator

    @property
    def handle_id(self) -> int:
        """The number that the other side knows this object by."""
        return self._id

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the student's object. Raises StudentError with what it raised or gave of another form, or NotYet."""
        result = self._asked("call", args, named)
        wrong = problem(result, self.gives)
        if wrong:
            raise StudentError("wrong result", wrong)
        return result

    def _asked(self, verb: str, args: tuple = (), named: Mapping[str, Any] = NOTHING, extra: Any = None) -> Any:
        result = self._link.ask(verb, self._id, args, dict(named), extra)
        self._link.last = kind_of(result)
        return result

    def vjp(self, args: tuple, cotangent: Any, wrt: tuple[int, ...] = (0,), **named: Any) -> tuple:
        """Gradients of <cotangent, f(*args)> with respect to the arguments at positions `wrt`.

        A torch module among the arguments has its parameters' `.grad` added to, as a backward pass would.
        Raises StudentError of kind "detached gradient" when the result does not depend on anything.
        """
        return self._asked("vjp", args, named, (cotangent, tuple(wrt)))

    def largest(self, *args: Any, **named: Any) -> int:
        """Bytes of the largest tensor a call makes, counted by a dispatch mode beside the student's code."""
        return self._asked("largest", args, named)


class Instance(Handle):
    """Something the student returned or constructed that stays on their side: module, function, iterator, schedule."""

    def iterate(self, n: int) -> list:
        """The next n items of an iterator (fewer when it ends)."""
        return self._asked("iterate", extra=n)

    def state(self) -> dict[str, torch.Tensor]:
        """A module's state_dict."""
        return self._asked("state")

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Load a module's state_dict; names and shapes must fit."""
        self._asked("load_state", extra=state)

    def parameter_grads(self, args: tuple, cotangent: Any, **named: Any) -> dict[str, torch.Tensor]:
        """Gradients of <cotangent, f(*args)> with respect to a module's parameters, by name."""
        return self._asked("parameter_grads", args, named, cotangent)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._asked("get", extra=name)

    def __repr__(self) -> str:
        return f"<{self.kind}, kept on the student's side>"


class Subject(Handle):
    """The student's function or class under test."""

    def of(self, exercise: Exercise) -> Subject:
        """The same subject under the rules of an exercise: the form of its results, what it may draw and change."""
        self.gives = exercise.gives
        if isinstance(self._link, LocalLink):  # a worker knows them from its job
            self._link.rules = self._link.server.rules = rules_of(exercise)
        return self

    @property
    def last(self) -> str:
        """What came back last, in words; empty where nothing did."""
        return self._link.last

    def ran_on(self, one: Any, run: Callable[[Subject, Any], Any]) -> Any:
        """run(fresh subject, one), which for a property test is asked once, however many checks need it."""
        if id(one) not in self._link.known:
            self._link.known[id(one)] = one, run(self.restart(), one)
        return self._link.known[id(one)][1]

    def construct(self, *args: Any, **named: Any) -> Instance:
        """Make an instance of the student's class; it stays on their side."""
        return self._asked("construct", args, named)

    def restart(self) -> Subject:
        """The same subject with nothing left over from earlier calls: a new worker in batch."""
        self._link.restart()
        return self

    def memory(self, *args: Any, **named: Any) -> int:
        """Bytes a call needs: in batch the growth of a fresh worker's high-water mark, else the largest tensor made.

        Raises StudentError for definitions that take so much themselves that the mark would not show the call.
        """
        imported = self._link.bytes_of_imports()
        self._link.restart()
        before = self._link.peak_bytes()
        if before is None or imported is None:
            return self.largest(*args, **named)
        if before - imported > BEFORE_A_CALL:
            raise StudentError(
                "", f"takes {(before - imported) >> 20} MB before it is called, which hides what it needs"
            )
        self._asked("call", args, named)
        return (self._link.peak_bytes() or before) - before


class LocalLink:
    """Straight into this process, for the notebook: copies in, copies out, functions called directly.

    budget: computing time that calls may use; prints: where what the student's code prints is shown.
    """

    last = ""
    rules: Rules | None = None

    def __init__(self, target: Any, seed: int = 0, budget: Budget | None = None, prints: Any = None):
        self.target, self.seed, self.budget, self.prints = target, seed, budget, prints
        self.known: dict[int, tuple[Any, Any]] = {}
        self.restart()

    def restart(self) -> None:
        self.server, self.callbacks = ObjectServer(self.target, self.rules), Callbacks()
        seed_everything(self.seed)

    def peak_bytes(self) -> None:
        return None

    def bytes_of_imports(self) -> None:
        return None

    def ask(self, verb: str, number: int, args: tuple, named: dict, extra: Any = None) -> Any:
        data = protocol.dumps((args, named, extra), self.callbacks.number)
        args, named, extra = protocol.loads(data, self._meant)
        with self.callbacks.blaming_checks():
            return guarded(functools.partial(self._served, verb, number, args, named, extra))

    def _meant(self, pid: tuple) -> Any:
        """What the other side's name for an object stands for."""
        if pid[0] == "handle":
            return self.server.objects[pid[1]]
        return LocalCallback(self.callbacks, pid[1]) if pid[2] is None else RemoteCallback(self.callbacks, *pid[1:3])

    def _served(self, verb: str, number: int, args: tuple, named: dict, extra: Any) -> Any:
        with self._limited():
            return round_trip(self, self.server.serve(verb, number, args, named, extra))

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        shown = contextlib.nullcontext() if self.prints is None else contextlib.redirect_stdout(self.prints)
        limit = contextlib.nullcontext() if self.budget is None else self.budget.spending()
        with shown, limit:
            yield


class Callbacks:
    """The functions that one worker may call back; an assert that fails inside one is the check's verdict."""

    def __init__(self):
        self.functions: list[Counted] = []
        self.given: list[Callable] = []
        self.failed: AssertionError | None = None

    def number(self, function: Callable) -> tuple:
        """What the other side knows a function by: its number, its schedule, whether it learns."""
        number = next((i for i, given in enumerate(self.given) if given is function), len(self.given))
        if number == len(self.given):
            self.given.append(function)
            self.functions.append(function if isinstance(function, Counted) else Counted(function))
        module = module_of(function)
        learns = module is not None and any(p.requires_grad for p in module.parameters())
        return "callback", number, getattr(function, "schedule", None), learns

    def call(self, number: int, *args: Any, **named: Any) -> Any:
        """Evaluate one of them."""
        try:
            return self.functions[number](*args, **named)
        except AssertionError as error:
            self.failed = self.failed or error
            raise

    @contextlib.contextmanager
    def blaming_checks(self):
        """Raise the first assert that failed inside a callback, whatever the student's code made of it."""
        try:
            yield
        finally:
            failed, self.failed = self.failed, None
            if failed is not None:
                raise failed


class LocalCallback:
    """A function of the check's, as the student's code sees it; a copy of it is itself."""

    def __init__(self, callbacks: Callbacks, number: int):
        self._callbacks, self._number = callbacks, number

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._callbacks.call(self._number, *args, **named)

    def __deepcopy__(self, _memo: dict) -> LocalCallback:
        return self


class RemoteCallback(LocalCallback):
    """A callback that carries a schedule, as a Denoiser does."""

    def __init__(self, callbacks: Callbacks, number: int, schedule: Any):
        super().__init__(callbacks, number)
        self.schedule = schedule


def round_trip(link: LocalLink, result: Any) -> Any:
    """A result after the same packing and unpacking that the wire does."""
    packet = protocol.Packet()
    form = pack_result(packet, link.server, result)
    return protocol.Reader(b"".join(packet.raw), handles(link)).unpack(form)


def pack_result(packet: protocol.Packet, server: ObjectServer, result: Any) -> Any:
    """The wire form of a verb's result."""
    return server.keep(result.value) if isinstance(result, KeepRemote) else packet.pack(result, server.keep)


def handles(link: Link) -> Callable[[int, str, bool], Instance]:
    """What makes an Instance of a handle that came over this link."""
    return lambda number, kind, iterator: Instance(link, number, kind, iterator)


def local(target: Any, seed: int = 0, budget: Budget | None = None, prints: Any = None) -> Subject:
    """The student's live object as a Subject, in this process."""
    return Subject(LocalLink(target, seed, budget, prints))


def module_of(function: Any) -> nn.Module | None:
    """The torch module behind a callback, if there is one."""
    inner = function.function if isinstance(function, Counted) else function
    return inner if isinstance(inner, nn.Module) else None
