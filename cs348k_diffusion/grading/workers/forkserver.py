"""A process that has torch and the package loaded, and forks a worker whenever it is asked to.

Forking takes a hundredth of a second where importing torch takes one. The fork server runs nothing of a student's; it
talks to the parent process over a socket in short JSON messages, each start with the socket of the worker-to-be.
Other processes that grade connect to its listening socket and get a clone of it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pkgutil
import select
import signal
import socket
from importlib import import_module

import torch

from cs348k_diffusion.grading.subject.server import seed_everything
from cs348k_diffusion.grading.workers import sandbox, withheld, worker

PACKAGE = __name__.partition(".")[0]
# Closed to workers, or slow to import.
NOT_LOADED = {"exercises", "grading", "authoring", "lab", "cli", "course", "commands", "evaluate", "recipes"}


def main(control_fd: int, listener_fd: int, hidden: list[str], folder: str) -> None:
    """Serve until the parent hangs up; `folder` is the server's own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control, listener = socket.socket(fileno=control_fd), socket.socket(fileno=listener_fd)
    _preload()
    layers = sandbox.Sandbox([*hidden, *_of_the_clone()], folder)
    _warm_up()
    _greet(control, layers)
    while True:
        ready, _, _ = select.select([control, listener], [], [])
        if listener in ready:
            clone, _ = listener.accept()
            if os.fork() == 0:
                control.close()
                listener.close()
                _greet(clone, layers)
                _serve(clone, layers)
            clone.close()
        if control in ready:
            listener.close()
            _serve(control, layers)


def _greet(control: socket.socket, layers: sandbox.Sandbox) -> None:
    control.send(json.dumps({"held": layers.held}).encode())


def _serve(control: socket.socket, layers: sandbox.Sandbox) -> None:
    while True:
        message, fds, _, _ = socket.recv_fds(control, 65536, 1)
        if not message:
            os._exit(0)
        asked = json.loads(message)
        answer = _start(layers, control, fds[0], **asked["start"]) if "start" in asked else _end(asked["end"])
        control.send(json.dumps(answer).encode())


def _preload() -> None:
    package = import_module(PACKAGE)
    for info in pkgutil.iter_modules(package.__path__):
        if info.name not in NOT_LOADED:
            with contextlib.suppress(Exception):  # a module that does not import is no use to a student either
                import_module(f"{PACKAGE}.{info.name}")


def _warm_up() -> None:
    """Do once what every worker would do first; then leave the memory that all share alone."""
    torch.set_num_threads(1)
    seed_everything(0)
    torch.nn.Linear(2, 2)(torch.ones(1, 2)).sum().backward()
    torch.testing.assert_close(torch.zeros(1), torch.zeros(1))  # its first call loads 500 modules, most of them sympy's
    withheld.loaded_modules()
    gc.collect()
    gc.freeze()


def _of_the_clone() -> list[str]:
    """What an instructor's clone holds beside the package."""
    root = sandbox.PACKAGE_ROOT.parent
    if not (root / "pyproject.toml").exists():
        return []
    return [str(root / name) for name in (".git", "solutions", "notebooks", "tests")]


def _start(
    layers: sandbox.Sandbox, control: socket.socket, fd: int, folder: str, seconds: int, memory: int, package: str
) -> dict:
    pid = layers.fork()
    if pid:
        os.close(fd)
        return {"pid": pid}
    try:
        os.setsid()
        control.close()
        home = layers.move_in(folder, package)
        if "another user" in layers.held:
            sandbox.become_nobody(".")
        worker.enter(socket.socket(fileno=fd), home, seconds, memory)
    finally:
        os._exit(1)


def _end(pid: int) -> dict:
    """Kill a worker with its group; its wait status and the CPU seconds it used."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)
    try:
        _, status, used = os.wait4(pid, 0)
    except ChildProcessError:
        return {"status": 0, "cpu": 0.0}
    return {"status": status, "cpu": used.ru_utime + used.ru_stime}
