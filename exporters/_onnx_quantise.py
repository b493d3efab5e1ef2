"""What `onnxruntime.quantization` needs around it: images in strides, a prepared graph, and who failed."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters._onnx_model import beside, too_large
from harness.api import Artifact, ExportFailed, first_line

if TYPE_CHECKING:
    from harness.api import Array

MOST_IN_MEMORY = 16
"""Inferences whose every activation is held at once (resnet50: 44 MB each)."""
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Cast", "Mul", "Add", "Concat", "Slice", "Identity"})
"""What may stand between a softmax and the product with the values."""
log = logging.getLogger("backbench")


class Feed:
    """A `CalibrationDataReader`: images in the graph's batch size, and the stride in which they are watched.

    The quantiser holds all activations of what it reads at once. Its own limit on that, `CalibMaxIntermediateOutputs`,
    throws away what was read (1.32: the ranges are those of the last part); strides are merged for every method.
    """

    def __init__(self, inputs: Mapping[str, Array], batch: int | None) -> None:
        """`batch` None feeds one image at a time. The last images that fill no batch are left out."""
        size = batch or 1
        count = len(next(iter(inputs.values()))) // size
        if not count:
            raise ExportFailed(
                f"the calibration images do not fill one batch of {size}", f"give --calib-images {16 * size}"
            )
        self._inputs = inputs
        self._size = size
        self._count = count
        self._next, self._end = 0, count
        self.stride = next(n for n in range(min(MOST_IN_MEMORY, count), 0, -1) if count % n == 0)

    def get_next(self) -> dict[str, Array] | None:
        """The next batch, or None at the end."""
        if self._next >= self._end:
            return None
        begin = self._next * self._size
        self._next += 1
        return {name: array[begin : begin + self._size] for name, array in self._inputs.items()}

    def __len__(self) -> int:
        return self._count

    def set_range(self, start_index: int, end_index: int) -> None:
        """Read the batches from `start_index` to before `end_index` next."""
        self._next, self._end = start_index, end_index


def prepared(source: Artifact, folder: Path) -> tuple[Path, str]:
    """The graph with constants folded and shapes inferred, and by what: a tensor of unknown shape is not quantised.

    Raises `ExportFailed`. Symbolic inference does not know every operator; ONNX's own then has to do.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given, file = str(Path(source.path).absolute()), folder.absolute() / "prepared.onnx"
    large: dict[str, Any] = {}
    if too_large(source.size_bytes):
        large = {"save_as_external_data": True, "all_tensors_to_one_file": True, "external_data_location": beside(file)}
    try:
        with _working_in_a_folder_below(folder):  # where it fails, it leaves the whole model there
            quant_pre_process(given, str(file), **large)
        return file, "symbolic"
    except Exception as error:  # noqa: BLE001 - whatever it is, the second way is tried, and is what counts
        log.warning("symbolic shape inference failed: %s", first_line(error))
    remove(file)
    try:
        quant_pre_process(given, str(file), skip_symbolic_shape=True, **large)
        return file, "onnx"
    except Exception as error:
        raise ExportFailed(f"onnxruntime cannot prepare the graph: {first_line(error)}", "see the log") from error


def remove(file: Path) -> None:
    """Delete an ONNX file and its weights; what is not there may be missing."""
    file.unlink(missing_ok=True)
    file.with_name(beside(file)).unlink(missing_ok=True)


@contextmanager
def _working_in_a_folder_below(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory(dir=folder) as working:
        os.chdir(working)
        try:
            yield
        finally:
            os.chdir(before)


def operators(file: Path) -> list[str]:
    """Operators to quantise; empty for all that the quantiser knows, which keeps the layers of a convolutional net in int8.

    In a graph with attention only convolutions and matrix products: with softmax, LayerNormalization and GELU in int8
    too, vit_tiny_patch16_224 was off by a relative L2 of 0.26 instead of 0.04.
    """
    import onnx

    nodes = onnx.load(str(file), load_external_data=False).graph.node
    takers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    softmaxes = [name for node in nodes if node.op_type == "Softmax" for name in node.output]
    attends = any(node.op_type == "Attention" for node in nodes) or _reach_product(softmaxes, takers)
    return list(PRODUCTS) if attends else []


def _reach_product(names: list[str], takers: Mapping[str, list[Any]]) -> bool:
    """Whether a matrix product takes one of the tensors, with nothing but moves between."""
    waiting, seen = list(names), set(names)
    while waiting:
        for node in takers.get(waiting.pop(), ()):
            if node.op_type == "MatMul":
                return True
            if node.op_type in MOVES:
                waiting += [name for name in node.output if name not in seen]
                seen |= set(node.output)
    return False


def culprit(error: BaseException) -> Any:
    """The ONNX node that the quantiser was at when it failed, found in the innermost frame that has one; else None."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        held = trace.tb_frame.f_locals
        for node in (held.get("node"), getattr(held.get("self"), "node", None)):
            if hasattr(node, "op_type"):
                found = node
        trace = trace.tb_next
    return found
