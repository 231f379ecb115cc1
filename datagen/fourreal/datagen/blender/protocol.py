"""The messages between a job and its Blender child: JSON behind a length, over a Unix socket pair.

JSON and not pickle, so that a child that read a hostile file cannot make its parent run anything. A message may
carry one file descriptor: the memory into which the child writes the pixels.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

_HEADER = struct.Struct(">I")
MESSAGE_LIMIT_BYTES = 256 * 2**20


def send(connection: socket.socket, message: dict[str, Any], descriptor: int | None = None) -> None:
    """Send one message, with a file descriptor for the other side if given.

    Raises ValueError for numbers that JSON lacks (NaN, infinities), OSError when the other side is gone.
    """
    body = json.dumps(message, allow_nan=False).encode()
    header = _HEADER.pack(len(body))
    if descriptor is None:
        connection.sendall(header)
    else:
        socket.send_fds(connection, [header], [descriptor])
    connection.sendall(body)


def receive(connection: socket.socket) -> tuple[dict[str, Any], int | None]:
    """Wait for one message; returns it and the descriptor that came with it (the caller closes it).

    Raises EOFError when the other side is gone, ValueError for anything that is not such a message.
    """
    header, descriptors, _flags, _address = socket.recv_fds(connection, _HEADER.size, maxfds=1)
    descriptor = descriptors[0] if descriptors else None
    try:
        header += _receive_exactly(connection, _HEADER.size - len(header))
        (length,) = _HEADER.unpack(header)
        if length > MESSAGE_LIMIT_BYTES:
            raise ValueError(f"a message of {length} bytes is more than {MESSAGE_LIMIT_BYTES}")
        message = json.loads(_receive_exactly(connection, length))
        if not isinstance(message, dict):
            raise ValueError(f"a message must be an object, not {type(message).__name__}")
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        raise
    return message, descriptor


def _receive_exactly(connection: socket.socket, size_bytes: int) -> bytes:
    chunks = []
    while size_bytes > 0:
        chunk = connection.recv(min(size_bytes, 2**20))
        if not chunk:
            raise EOFError("the other side closed the connection")
        chunks.append(chunk)
        size_bytes -= len(chunk)
    return b"".join(chunks)
