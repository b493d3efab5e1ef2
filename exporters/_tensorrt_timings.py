"""TensorRT's timing cache around a build."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from harness.api import JSON, nvidia


@contextlib.contextmanager
def timing_cache(
    trt: nvidia.types.TensorRT, config: nvidia.types.IBuilderConfig, belongs: Mapping[str, JSON], *, used: bool
) -> Iterator[dict[str, JSON]]:
    """Kernel timings of earlier builds on this GPU and version: attached before a build, kept after it.

    Yields what the manifest keeps. Always attached, empty where it is not `used`: two builds then differ in nothing else.
    """
    file = nvidia.timing_cache_file(belongs)
    with nvidia.locked(file):
        known = file.read_bytes() if used and file.exists() else b""
        cache, refused = _attached(config, known), False
        if cache is None:  # of another driver; and 8.5 on an H100 could not read back one that it had written
            known, refused = b"", True
            cache = _attached(config, known)
        yield {"used": used, "bytes_before": len(known), "refused": refused}
        if used and cache is not None:
            nvidia.replace_file(file, cache.serialize())


def _attached(config: nvidia.types.IBuilderConfig, known: bytes) -> nvidia.types.ITimingCache | None:
    """The timing cache that a builder takes of these bytes; None where it takes none."""
    cache = config.create_timing_cache(known)
    return cache if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False) else None
