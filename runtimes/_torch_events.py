"""CUDA events as a device's clock."""

from __future__ import annotations


class Events:
    """Two CUDA events around a run."""

    def __init__(self) -> None:
        """Make them; they are recorded in the stream of the current device, which the session has set."""
        import torch

        self._first, self._last = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def start(self) -> None:
        """Record the first event."""
        self._first.record()

    def end(self) -> None:
        """Record the last event."""
        self._last.record()

    def elapsed_ns(self) -> int:
        """Time between them; the stream has been synchronised."""
        return int(self._first.elapsed_time(self._last) * 1e6)
