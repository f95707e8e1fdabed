"""Ports that no two workers of one test run give away twice: each has a range of its own, below those that the kernel hands out."""

import os
import socket
from itertools import count

_FIRST, _EACH = 15_000, 1_500
_WORKER = int("0" + "".join(letter for letter in os.environ.get("PYTEST_XDIST_WORKER", "") if letter.isdigit())) % 10
_tried = count(os.getpid())


def free_port() -> int:
    """A port on the loopback that nobody listens on, and that this run gives to nobody else for a while."""
    while True:
        port = _FIRST + _WORKER * _EACH + next(_tried) % _EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
