"""A Dask cluster that runs elsewhere: connect to its scheduler, or say in one sentence why not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

EXTRA = "--dask needs Dask's distributed: install the course with its extra, cs348k_diffusion[cluster]"
PATIENCE = 10.0  # seconds for a scheduler to answer


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Any]:
    """A client of the scheduler at an address, "tcp://10.0.0.1:8786", closed at the end.

    Raises RuntimeError without Dask, ValueError for an address of another form, OSError where no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise RuntimeError(EXTRA) from error
    answers(address)
    with Client(address, set_as_default=False, timeout=PATIENCE) as client:
        yield client


def answers(address: str) -> None:
    """Raise OSError unless a scheduler answers: one that listens on TCP greets whoever connects.

    Asked before Dask is, which may wait for ever for the greeting of a server of another kind. Raises ValueError for an
    address that is not of the form tcp://HOST:PORT (Dask's other protocols are left to Dask).
    """
    parts = urlsplit(address)
    if parts.scheme in ("inproc", "tls", "ucx", "ws", "wss"):
        return
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme != "tcp" or not host or not port:
        raise ValueError(f"a Dask scheduler's address has the form tcp://HOST:PORT, not {address!r}")
    try:
        with socket.create_connection((host, port), PATIENCE) as connection:
            greeting = connection.recv(1)
    except OSError as error:
        raise OSError(f"no Dask scheduler answers at {address} ({error})") from error
    if not greeting:
        raise OSError(f"what answers at {address} is not a Dask scheduler")
