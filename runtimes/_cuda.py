"""Buffers, a stream, events and graphs of CUDA by cuda-core: no torch and no CuPy on a box that only measures.

The Protocols are the part of cuda-core that is used; `scripts/check-tensorrt-api` holds them to the installed cuda-core.
https://nvidia.github.io/cuda-python/cuda-core/latest/api.html. All but graphs executed on an H100 (docs/edge.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from harness.api import RunFailed, nvidia

if TYPE_CHECKING:
    from harness.api import Array


class Event(Protocol):
    """A moment in a stream; the difference of two that were recorded with timing is in milliseconds."""

    def sync(self) -> None: ...
    def close(self) -> None: ...
    def __sub__(self, other: Event) -> float: ...


class Buffer(Protocol):
    """Memory that CUDA allocated; `handle` is its address."""

    handle: Any
    size: int

    def copy_from(self, src: Buffer, *, stream: Stream) -> None: ...
    def close(self, stream: Stream | None = None) -> None: ...


class Graph(Protocol):
    """Work that was captured, to be launched as one."""

    def launch(self, stream: Stream) -> None: ...
    def close(self) -> None: ...


class GraphBuilder(Protocol):
    """Captures what is put into its stream."""

    stream: Stream

    def begin_building(self, mode: str = "relaxed") -> GraphBuilder: ...
    def end_building(self) -> GraphBuilder: ...
    def complete(self) -> Graph: ...
    def close(self) -> None: ...


class Stream(Protocol):
    """Work in order; `handle` is its address."""

    handle: Any

    def record(self, event: Event | None = None) -> Event: ...
    def sync(self) -> None: ...
    def create_graph_builder(self) -> GraphBuilder: ...
    def close(self) -> None: ...


class Device(Protocol):
    """A GPU."""

    def set_current(self) -> object: ...
    def create_stream(self) -> Stream: ...
    def create_event(self, options: Any = None) -> Event: ...
    def allocate(self, size: int, *, stream: Stream) -> Buffer: ...


class LegacyPinnedMemoryResource(Protocol):
    """Host memory that the GPU copies from and to without a detour."""

    def allocate(self, size: int, *, stream: Stream | None = None) -> Buffer: ...


class Cuda:
    """A GPU made current for this thread, and one stream on it. What CUDA refuses is a RuntimeError."""

    @nvidia.cuda_errors()
    def __init__(self, index: int) -> None:
        from cuda import core

        self.device = cast(Device, core.Device(index))
        self.device.set_current()
        self.stream = self.device.create_stream()
        self._pinned = cast(LegacyPinnedMemoryResource, core.LegacyPinnedMemoryResource())
        self._timed = core.EventOptions(timing_enabled=True)

    @nvidia.cuda_errors()
    def pair(self, shape: tuple[int, ...], dtype: str) -> Pair:
        """Memory for one tensor on the host and on the device."""
        import numpy as np

        size = max(1, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
        host = self._pinned.allocate(size, stream=self.stream)
        return Pair(host, self.device.allocate(size, stream=self.stream), _view(host, shape, dtype))

    def clock(self) -> Events:
        """A clock of events in this stream."""
        first, last = (self.device.create_event(self._timed) for _ in range(2))
        return Events(self.stream, first, last)

    def wait(self) -> None:
        """Wait for the stream. Raises `RunFailed` for what went wrong on the device meanwhile."""
        try:
            self.stream.sync()
        except Exception as error:  # cuda-core's own is no RuntimeError, and this is timed: no context manager
            raise nvidia.failure(RunFailed, "the GPU failed while it ran", str(error)) from error

    def split(self, inputs: Iterable[Pair], run: Callable[[], None], outputs: Iterable[Pair]) -> Mapping[str, int]:
        """Time of the copies to the device, of `run`, and of the copies back, between events in the stream, in ns."""

        def upload() -> None:
            for pair in inputs:
                pair.upload(self.stream)

        def download() -> None:
            for pair in outputs:
                pair.download(self.stream)

        return dict(zip(("h2d", "compute", "d2h"), self.divide(upload, run, download), strict=True))

    def divide(self, *works: Callable[[], None]) -> list[int]:
        """Put works into the stream one after another, and give the time of each between events, in ns."""
        events = [self.device.create_event(self._timed) for _ in range(len(works) + 1)]
        self.stream.record(events[0])
        for work, event in zip(works, events[1:], strict=True):
            work()
            self.stream.record(event)
        events[-1].sync()
        times = [round((last - first) * 1e6) for first, last in itertools.pairwise(events)]
        for event in events:
            event.close()
        return times

    @nvidia.cuda_errors()
    def capture(self, enqueue: Callable[[int], None]) -> Graph:
        """What `enqueue` puts into the stream whose address it is given, as a graph."""
        builder = self.stream.create_graph_builder()
        try:
            builder.begin_building()
            enqueue(int(builder.stream.handle))
            return builder.end_building().complete()
        finally:
            builder.close()

    def close(self) -> None:
        """Give the stream back."""
        self.stream.close()


class Pair:
    """One tensor's page-locked host memory, seen as `array`, and its device memory, at `address`."""

    def __init__(self, host: Buffer, device: Buffer, array: Array) -> None:
        self._host, self._device, self.array = host, device, array

    @property
    def address(self) -> int:
        """Where the device finds it."""
        return int(self._device.handle)

    @property
    def size_bytes(self) -> int:
        """Size on the device."""
        return self._device.size

    def upload(self, stream: Stream) -> None:
        """Host to device, in the order of the stream."""
        self._device.copy_from(self._host, stream=stream)

    def download(self, stream: Stream) -> None:
        """Device to host, in the order of the stream."""
        self._host.copy_from(self._device, stream=stream)

    def close(self, stream: Stream) -> None:
        """Give both back, once the stream has passed what it still does."""
        self._device.close(stream)
        self._host.close()


class Events:
    """The device's own clock: two events around what is put into the stream between them."""

    def __init__(self, stream: Stream, first: Event, last: Event) -> None:
        self._stream, self._first, self._last = stream, first, last

    def start(self) -> None:
        """Record the first event."""
        self._stream.record(self._first)

    def end(self) -> None:
        """Record the last event."""
        self._stream.record(self._last)

    def elapsed_ns(self) -> int:
        """Time between the events, in ns; CUDA resolves about half a microsecond."""
        self._last.sync()
        return round((self._last - self._first) * 1e6)


def _view(host: Buffer, shape: tuple[int, ...], dtype: str) -> Array:
    """The host memory as an array; the caller keeps the buffer alive."""
    import ctypes

    import numpy as np

    raw = memoryview((ctypes.c_char * host.size).from_address(int(host.handle)))
    count = int(np.prod(shape, dtype=np.int64))
    array: Array = np.frombuffer(raw, np.dtype(dtype), count).reshape(shape)
    return array
