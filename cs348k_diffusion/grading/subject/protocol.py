"""What may cross between the grader's process and a student's code, and in which form.

The parent process writes pickle to the worker. The worker writes JSON plus raw bytes, checked value by value: nothing
that a worker wrote is ever unpickled. Tensors travel as bytes, functions as callbacks that the parent answers,
everything else that is not a plain value stays where it is and is known by a handle.
The same packing is used inside the notebook, so that a check sees the same values in both places.
"""

from __future__ import annotations

import dataclasses
import io
import json
import numbers
import pickle
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PACKAGE = __name__.partition(".")[0]
MAX_JSON = 1 << 20  # bytes of structure in one message
MAX_RAW = 1 << 28  # bytes of tensors in one message
MAX_DEPTH, MAX_NDIM = 12, 10
_HEAD = struct.Struct("!IQ")
_FLOATS = (torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.complex128)
_WHOLES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _FLOATS + _WHOLES}


class ProtocolError(Exception):
    """A message that no honest worker sends, or one beyond the limits."""


class Packet:
    """One message on its way: JSON text and the bytes of its tensors."""

    def __init__(self):
        self.raw: list[bytes] = []
        self.size = 0

    def pack(self, value: Any, keep: Callable[[Any], dict], depth: int = 0) -> Any:
        """The JSON form of a value; `keep(object)` gives the handle of what cannot cross. Raises ProtocolError."""
        if depth > MAX_DEPTH:
            raise ProtocolError(f"values nested more than {MAX_DEPTH} deep cannot be compared")
        if value is None or type(value) is bool:
            return value
        if isinstance(value, numbers.Integral):  # numpy's, too
            whole = int(value)
            if not -(1 << 63) <= whole < 1 << 63:
                raise ProtocolError("an integer of more than 64 bits")
            return whole
        if isinstance(value, numbers.Real):
            return float(value)
        if isinstance(value, str):
            return str(value)[:20_000]
        if isinstance(value, Tensor):
            return self._pack_tensor(value) or keep(value)
        if isinstance(value, tuple | list):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {kind: [self.pack(item, keep, depth + 1) for item in value]}
        if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
            return {"dict": [[key, self.pack(item, keep, depth + 1)] for key, item in value.items()]}
        return keep(value)

    def _pack_tensor(self, value: Tensor) -> dict | None:
        with torch._C.DisableTorchFunctionSubclass():  # a subclass may claim to be anything; its bytes cannot
            name = str(value.dtype).removeprefix("torch.")
            if name not in DTYPES or value.layout != torch.strided or value.device.type == "meta":
                return None
            if value.numel() * value.element_size() + self.size > MAX_RAW:
                raise ProtocolError(f"more than {MAX_RAW >> 20} MB of tensors in one answer")
            data, shape = tensor_bytes(value), list(value.shape)
        self.raw.append(data)
        self.size += len(data)
        return {"tensor": [name, shape]}

    def finish(self, message: Any) -> tuple[bytes, bytes]:
        """The two parts of the message on the wire."""
        return json.dumps(message).encode(), b"".join(self.raw)


def tensor_bytes(value: Tensor) -> bytes:
    """The raw bytes of a tensor's values, row by row, from any device."""
    value = value.detach().as_subclass(Tensor).cpu().resolve_conj().resolve_neg()
    value = value.clone(memory_format=torch.contiguous_format).view(
        -1
    )  # one number may have any stride and be contiguous
    return value.view(torch.uint8).numpy().tobytes() if value.numel() else b""


def tensor_from(name: str, shape: list[int], data: Any) -> Tensor:
    """A tensor from its dtype's name, its shape and its bytes."""
    if not len(data):
        return torch.empty(shape, dtype=DTYPES[name])
    if name == "bool":
        return (torch.frombuffer(bytearray(data), dtype=torch.uint8) != 0).reshape(shape)
    return torch.frombuffer(bytearray(data), dtype=DTYPES[name]).reshape(shape)


class Reader:
    """Turns JSON and bytes back into values, trusting neither."""

    def __init__(self, raw: Any, handle: Callable[[int, str, bool], Any]):
        self.raw, self.handle, self.at = memoryview(raw), handle, 0

    def unpack(self, form: Any) -> Any:
        """The value of a JSON form. Raises ProtocolError for anything that `Packet.pack` does not write."""
        if form is None or isinstance(form, bool | int | float | str):
            return form
        if not isinstance(form, dict) or len(form) != 1:
            raise ProtocolError("malformed answer")
        ((kind, body),) = form.items()
        if not isinstance(body, list):
            raise ProtocolError("malformed answer")
        if kind in ("tuple", "list"):
            items = [self.unpack(item) for item in body]
            return tuple(items) if kind == "tuple" else items
        if kind == "dict" and all(isinstance(pair, list) and len(pair) == 2 for pair in body):
            return {key: self.unpack(item) for key, item in body if isinstance(key, str | int)}
        if kind == "tensor" and len(body) == 2:
            return self._tensor(*body)
        if kind == "handle" and len(body) == 3 and [type(part) for part in body] == [int, str, bool]:
            return self.handle(body[0], body[1][:200], body[2])
        raise ProtocolError("malformed answer")

    def _tensor(self, name: Any, shape: Any) -> Tensor:
        if name not in DTYPES or not isinstance(shape, list) or len(shape) > MAX_NDIM:
            raise ProtocolError("malformed tensor")
        if not all(type(n) is int and 0 <= n <= MAX_RAW for n in shape):
            raise ProtocolError("malformed tensor shape")
        size = DTYPES[name].itemsize
        for n in shape:
            size *= n
        if size > len(self.raw) - self.at:
            raise ProtocolError("a tensor without its bytes")
        data = self.raw[self.at : self.at + size]
        self.at += size
        try:
            return tensor_from(name, shape, data)
        except RuntimeError as error:  # no bytes, and lengths whose product overflows
            raise ProtocolError(f"malformed tensor shape: {error}") from error


PLAIN = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict, set})


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, callback: Callable[[Any], tuple]):
        super().__init__(file, protocol=5)
        self.callback = callback

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) in PLAIN:  # asked for every number and name: most of what is packed
            return None
        if isinstance(obj, Tensor):
            return "tensor", str(obj.dtype).removeprefix("torch."), list(obj.shape), tensor_bytes(obj)
        if isinstance(obj, torch.Generator):
            return "generator", tensor_bytes(obj.get_state())
        if hasattr(type(obj), "handle_id"):
            return "handle", obj.handle_id
        return self.callback(obj) if is_callback(obj) else None


def is_callback(obj: Any) -> bool:
    """Functions, modules and other callables; not classes, nor the package's own dataclasses such as Schedule."""
    ours = dataclasses.is_dataclass(obj) and type(obj).__module__.startswith(PACKAGE + ".")
    return callable(obj) and not isinstance(obj, type) and not ours


def dumps(value: Any, callback: Callable[[Any], tuple]) -> bytes:
    """Pickle for the worker; `callback(function)` gives ("callback", number, ...), what the worker knows it by."""
    file = io.BytesIO()
    _Pickler(file, callback).dump(value)
    return file.getvalue()


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, other: Callable[[tuple], Any]):
        super().__init__(io.BytesIO(data))
        self.other = other

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "tensor":
            return tensor_from(*pid[1:])
        if pid[0] == "generator":
            state = tensor_from("uint8", [len(pid[1])], pid[1])
            return torch.Generator().set_state(state)
        return self.other(pid)


def loads(data: bytes, other: Callable[[tuple], Any]) -> Any:
    """Unpickle what the parent process wrote; `other(pid)` finds handles and makes callbacks."""
    return _Unpickler(data, other).load()


def send(sock: socket.socket, head: bytes, raw: bytes = b"") -> None:
    """Send one message: two lengths, then two parts."""
    sock.sendall(_HEAD.pack(len(head), len(raw)) + head)
    if raw:
        sock.sendall(raw)


def receive(sock: socket.socket, deadline: float | None = None, trusted: bool = False) -> tuple[bytes, bytearray]:
    """The next message. Raises TimeoutError at the deadline, EOFError when it was closed, ProtocolError if too big."""
    head, raw = _HEAD.unpack(_exactly(sock, _HEAD.size, deadline))
    if not trusted and (head > MAX_JSON or raw > MAX_RAW):
        raise ProtocolError("an answer too large to read")
    return bytes(_exactly(sock, head, deadline)), _exactly(sock, raw, deadline)


def _exactly(sock: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray()
    while len(data) < size:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        chunk = sock.recv(min(size - len(data), 1 << 20))
        if not chunk:
            raise EOFError
        data += chunk
    return data
