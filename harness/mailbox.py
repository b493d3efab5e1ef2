"""A worker's end of its mailbox: requests on stdin, replies on what was stdout, one line of JSON each."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

_LAST_MOMENT_S = 3.0


class Mailbox:
    """The requests that come in, and the stream that replies go out on."""

    def __init__(self) -> None:
        """Move stdin and stdout away from everybody else in this process."""
        incoming = os.fdopen(os.dup(0), "rb", buffering=0)
        self._replies = os.fdopen(os.dup(1), "wb", buffering=0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(incoming,), daemon=True, name="mailbox").start()

    def _read(self, incoming: BinaryIO) -> None:
        for line in incoming:
            self._requests.put(line)
        self._requests.put(None)
        time.sleep(_LAST_MOMENT_S)
        # The parent is gone and the main thread is still busy, or hangs: nobody waits for its answer.
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    def next(self) -> dict[str, Any] | None:
        """The next request, or None when the parent has closed the mailbox."""
        line = self._requests.get()
        return None if line is None else json.loads(line)

    def reply(self, message: Mapping[str, Any]) -> None:
        """Send one reply."""
        data = json.dumps(message).encode() + b"\n"
        while data:  # the stream is unbuffered, and a pipe takes what it has room for
            data = data[self._replies.write(data) or 0 :]
