"""An engine beside its manifest: the tensors, types and batches that it was built for."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api import JSON, Artifact, OpenFailed, Unsupported, nvidia

_DTYPES: Mapping[str, str] = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
    "UINT8": "uint8",
}  # fmt: skip
_REBUILD = "run it again: an engine of here is built"


def shapes_of(engine: nvidia.types.ICudaEngine, name: str) -> JSON:
    """Least, best and largest shape of an input."""
    return [list(shape) for shape in engine.get_tensor_profile_shape(name, 0)]


def check_tensors(engine: nvidia.types.ICudaEngine, artifact: Artifact, batch: int) -> None:
    """Raise where the engine's tensors are not the manifest's (memory would be overrun), or take another batch.

    `OpenFailed` for another name or type, `Unsupported` for a batch that the engine is not built for.
    """
    names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    for spec in (*artifact.inputs, *artifact.outputs):
        if spec.name not in names:
            raise OpenFailed(f"the engine has no tensor {spec.name!r}: it has {', '.join(sorted(names))}", _REBUILD)
        kind = str(engine.get_tensor_dtype(spec.name)).rpartition(".")[2]
        if _DTYPES.get(kind) != spec.dtype:
            raise OpenFailed(f"the engine's tensor {spec.name!r} is {kind}, its manifest says {spec.dtype}", _REBUILD)
    for spec in artifact.inputs:
        size = engine.get_tensor_shape(spec.name)[0]
        least, most = size, size
        if size < 0:
            shapes = engine.get_tensor_profile_shape(spec.name, 0)
            least, most = shapes[0][0], shapes[-1][0]
        if not least <= batch <= most:
            built = str(least) if least == most else f"{least} to {most}"
            raise Unsupported(f"the engine is built for batch {built}, not for {batch}", _REBUILD)
