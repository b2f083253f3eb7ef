"""Telling the workers of this machine that there is something to do, so that they need not ask each second.

A datagram at a socket that only this user can reach. One that is lost costs seconds: workers ask by themselves, too.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from flows.engine.forked import POKE


def poke() -> None:
    """Say that there is something to do, to whoever listens."""
    where = os.environ.get(POKE)
    if not where:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b".", where)


def listener() -> socket.socket | None:
    """A socket that is poked; None where none is named."""
    where = os.environ.get(POKE)
    if not where:
        return None
    with suppress(FileNotFoundError):
        Path(where).unlink()
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(where)
    receiver.setblocking(False)
    return receiver
