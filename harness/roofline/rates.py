"""Measures, in this process, the rates that bound an inference: a large matrix product, and streams from memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import label, machine, registry
from harness.errors import OpenFailed, Unsupported
from harness.model import Artifact, Backbone, Cell, Device, Precision, Recipe, Setup, TensorSpec
from harness.roofline.ceilings import NUMPY, TORCH, Bandwidth, Place, Rate

if TYPE_CHECKING:
    from harness.api import Session
    from harness.arrays import Array

_SECONDS, _AT_LEAST = 1.0, 5
_SIZES, _SIZES_OF_MANY, _MANY_THREADS = (1024, 2048), (2048, 4096), 8
_LEAST_STREAM_BYTES = 256 << 20
_CACHES = Path("/sys/devices/system/cpu")


def gemm(place: Place, method: str, folder: Path) -> Rate:
    """Operations per second of a product of two square matrices, the best of two sizes and at least five runs of each.

    `method` is a runtime that opens ONNX, `torch`, or `numpy`. Raises where it cannot, or where another precision runs.
    """
    found = []
    for size in _SIZES if place.threads < _MANY_THREADS else _SIZES_OF_MANY:
        seconds, available = best(_product(place, method, size, folder), place.threads)
        name = f"{method} {place.precision} product of {size}×{size} matrices"
        found.append(Rate(2 * size**3 / seconds, name, available))
    return max(found, key=lambda rate: rate.per_s)


def best(once: Callable[[], object], threads: int) -> tuple[float, float]:
    """Least seconds of one call, over at least five calls and one second, two calls before not counted.

    Beside it the share of the time of `threads` processors that this process got meanwhile.
    """
    once()
    once()
    times: list[float] = []
    begin, computed = time.perf_counter(), time.process_time()
    while len(times) < _AT_LEAST or time.perf_counter() - begin < _SECONDS:
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    share = (time.process_time() - computed) / (threads * (time.perf_counter() - begin))
    return min(times), min(1.0, share)


def _product(place: Place, method: str, size: int, folder: Path) -> Callable[[], object]:
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    if method == NUMPY:
        out = np.empty_like(left)
        return lambda: np.matmul(left, right, out=out)
    if method == TORCH:
        return _torch_product(place, left, right)
    session = _session(place, method, _model(left, right, _graph_precision(place, method), folder), folder)
    session.bind({"a": left})

    def once() -> None:
        session.run()
        session.sync()

    return once


def _torch_product(place: Place, left: Array, right: Array) -> Callable[[], object]:
    import torch

    torch.set_num_threads(place.threads)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[place.precision]
    a, b = (torch.from_numpy(array).to(kind) for array in (left, right))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _graph_precision(place: Place, runtime: str) -> Precision:
    return registry.runtime_class(runtime).casts.get(place.precision, place.precision)


def _session(place: Place, runtime: str, artifact: Artifact, folder: Path) -> Session:
    """The runtime's own session, as a cell's; what it says of itself must not contradict the place."""

    plugin = registry.runtime_class(runtime)
    batch = artifact.inputs[0].shape[0]
    assert isinstance(batch, int)
    device = Device(place.device)
    setup = Setup(device, place.precision, batch, place.threads, dict(plugin.options), str(folder))
    session = plugin().open(artifact, setup)
    cell = Cell(Backbone("product"), runtime, place.precision, batch, place.device, place.threads)
    if fault := label.contradiction(cell, session.facts()):
        raise OpenFailed(f"{runtime} multiplies otherwise than asked: {fault}", "see: backbench list runtimes")
    return session


def _model(left: Array, right: Array, precision: Precision, folder: Path) -> Artifact:
    """An ONNX file that multiplies its input with a constant matrix, as a layer does. Raises `Unsupported`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    if precision not in ("fp32", "int8"):
        raise Unsupported(f"no matrix product is made in {precision} here", "")
    size = len(left)
    if precision == "fp32":
        nodes = [helper.make_node("MatMul", ["a", "w"], ["y"])]
        constants: Mapping[str, Array] = {"w": right}
    else:
        nodes, constants = _quantised(right)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "ay"]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "product", values[:1], values[1:], weights)
    path = folder / f"product-{precision}-{size}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    a, y = (TensorSpec(name, (size, size), "float32") for name in "ay")
    return Artifact("onnx", str(path), precision, (a,), (y,), "", path.stat().st_size, Recipe("product", ""))


def _quantised(right: Array) -> tuple[list[Any], Mapping[str, Array]]:
    """The product with unsigned 8-bit activations and signed weights, as quantisers write it (QDQ)."""
    import numpy as np
    from onnx import helper

    constants = {
        "scale": np.float32(0.05), "middle": np.uint8(128), "w_scale": np.float32(0.03), "w_zero": np.int8(0),
        "y_scale": np.float32(2.0), "w_q": np.clip(np.round(right / 0.03), -127, 127).astype(np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "scale", "middle"], ["a_q"]),
        helper.make_node("DequantizeLinear", ["a_q", "scale", "middle"], ["a_d"]),
        helper.make_node("DequantizeLinear", ["w_q", "w_scale", "w_zero"], ["w_d"]),
        helper.make_node("MatMul", ["a_d", "w_d"], ["y_f"]),
        helper.make_node("QuantizeLinear", ["y_f", "y_scale", "middle"], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", "y_scale", "middle"], ["y"]),
    ]
    return nodes, {name: np.asarray(value) for name, value in constants.items()}


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────


def bandwidth(place: Place) -> Bandwidth:
    """Bytes per second beyond the last-level cache, and inside it where its size is told, with the place's threads."""
    room = machine.available_bytes() // 4
    cached = cache_bytes()
    wanted = max(4 * cached, _LEAST_STREAM_BYTES)
    lacking = {}
    memory = stream(place.threads, wanted) if wanted <= room else None
    if memory is None:
        lacking["memory"] = f"arrays of {wanted >> 20} MiB, which leave the caches, do not fit in {room >> 20} MiB"
    inside = stream(place.threads, cached // 2) if cached else None
    if inside is None:
        lacking["cache"] = "the system does not tell the size of its caches"
    return Bandwidth(memory, inside, cached, lacking)


def stream(threads: int, total: int) -> Rate:
    """The better of copying (reads and writes counted) and reading (a dot product) with arrays of `total` bytes together."""
    import numpy as np

    length = max(1, total // (2 * threads * 4))
    pairs = [(np.ones(length, np.float32), np.ones(length, np.float32)) for _ in range(threads)]
    moved = 2 * threads * length * 4
    repeats = max(1, _LEAST_STREAM_BYTES // moved)

    def copy(pair: tuple[Array, Array]) -> None:
        for _ in range(repeats):
            np.copyto(pair[0], pair[1])

    def read(pair: tuple[Array, Array]) -> None:
        for _ in range(repeats):
            np.dot(pair[0], pair[1])

    rates = []
    for name, work in (("copy", copy), ("dot product (read)", read)):
        seconds, available = _together(work, pairs)
        method = f"numpy {name}, {moved / 2**20:.0f} MiB in {threads} threads"
        rates.append(Rate(moved * repeats / seconds, method, available))
    return max(rates, key=lambda rate: rate.per_s)


def _together(work: Callable[[tuple[Array, Array]], None], pairs: list[tuple[Array, Array]]) -> tuple[float, float]:
    """`best` of a thread per pair doing its work; numpy lets go of the interpreter meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    if len(pairs) == 1:
        return best(lambda: work(pairs[0]), 1)
    with ThreadPoolExecutor(len(pairs)) as pool:
        return best(lambda: list(pool.map(work, pairs)), len(pairs))


def cache_bytes(root: Path = _CACHES) -> int:
    """Size of the last-level caches that this process's processors use, each counted once; 0 where it is not told."""
    found: dict[tuple[int, str], int] = {}
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    for cpu in cpus:
        for index in sorted((root / f"cpu{cpu}" / "cache").glob("index*")):
            try:
                kind, level, size, shared = (
                    (index / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_list")
                )
                if kind != "Instruction":
                    found[int(level), shared] = _size(size)
            except (OSError, ValueError):
                continue  # a cache that is not described is not counted; without any, 0 says so
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last)


def _size(text: str) -> int:
    """`32768K` in bytes."""
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * unit
