"""Reference inputs and outputs, made once per backbone: what every session's outputs are compared with."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ReferenceUseless, SourceInvalid
from harness.model import Artifact, Backbone, Export, TensorSpec
from harness.onnx_file import first_line

if TYPE_CHECKING:
    from harness.arrays import Array

INPUTS, OUTPUTS, ABOUT = "inputs.npz", "outputs.npz", "reference.json"
LEAST_VARIATION = 1e-3
"""Standard deviation between inputs, relative to the output's size, below which an output says nothing."""


def make(artifact: Artifact, backbone: Backbone, folder: Path, count: int) -> Export:
    """Write `count` inputs and their outputs into `folder`.

    A timm artifact runs in PyTorch eager fp32 on the CPU; an ONNX file in ONNX Runtime with graph optimisations off.
    Raises `ReferenceUseless` where no output differs enough between inputs, or one is not finite.
    """
    import numpy as np

    inputs = {spec.name: generated(spec, artifact, backbone, count) for spec in artifact.inputs}
    outputs, made_with = _torch(artifact, inputs) if artifact.format == "timm" else _onnx(artifact, inputs)
    _refuse_useless(outputs, artifact)
    np.savez(folder / INPUTS, **inputs)
    np.savez(folder / OUTPUTS, **outputs)
    (folder / ABOUT).write_text(json.dumps({"made_with": made_with}))
    return Export(".", "fp32", artifact.inputs, artifact.outputs, {"made_with": made_with, "inputs": count})


def load(folder: Path) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Inputs and outputs by tensor name, the input's index first. Imports numpy alone."""
    import numpy as np

    with np.load(folder / INPUTS) as inputs, np.load(folder / OUTPUTS) as outputs:
        return dict(inputs), dict(outputs)


def made_with(folder: Path) -> str:
    """What the outputs were made with, for the record."""
    about = folder / ABOUT
    return str(json.loads(about.read_text())["made_with"]) if about.exists() else "unknown"


def generated(spec: TensorSpec, artifact: Artifact, backbone: Backbone, count: int) -> Any:
    """Images where the input is one, else seeded numbers; dynamic sizes become the backbone's input size."""
    import numpy as np

    from harness.images import normalised_images

    size = backbone.input_size or 224
    shape = [count, *(size if isinstance(n, str) else n for n in spec.shape[1:])]
    if len(shape) == 4 and shape[1] in (1, 3) and spec.dtype.startswith("float"):
        return normalised_images(count, shape[1:], backbone.seed, artifact.details).astype(spec.dtype)
    rng = np.random.default_rng(backbone.seed)
    if np.issubdtype(np.dtype(spec.dtype), np.integer):
        return rng.integers(0, 255, shape).astype(spec.dtype)
    return rng.normal(size=shape).astype(spec.dtype)


def _torch(artifact: Artifact, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    import numpy as np
    import torch

    from harness.backbone import load as load_model

    model = load_model(artifact)
    rows: list[list[Any]] = []
    with torch.inference_mode():
        for index in range(len(next(iter(inputs.values())))):
            given = [torch.from_numpy(array[index : index + 1]) for array in inputs.values()]
            result = model(*given)
            rows.append([r.numpy() for r in (result if isinstance(result, (list, tuple)) else [result])])
    names = [spec.name for spec in artifact.outputs]
    arrays = [np.concatenate([row[i] for row in rows]) for i in range(len(names))]
    return dict(zip(names, arrays, strict=True)), f"torch {torch.__version__} eager fp32, CPU"


def _onnx(artifact: Artifact, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(artifact.path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise SourceInvalid(
            f"onnxruntime cannot load {artifact.path}: {first_line(error)}", "is every op of it standard ONNX?"
        ) from error
    first = artifact.inputs[0].shape
    batch = first[0] if first and isinstance(first[0], int) else 1
    count = len(next(iter(inputs.values())))
    names = [spec.name for spec in artifact.outputs]
    rows = []
    for start in range(0, count, batch):
        index = [(start + j) % count for j in range(batch)]
        feed = {name: np.ascontiguousarray(array[index]) for name, array in inputs.items()}
        try:
            row = session.run(names, feed)
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
            raise SourceInvalid(
                f"{artifact.path} does not run on {shapes}: {first_line(error)}", "give the size it takes: --input-size"
            ) from error
        for name, result in zip(names, row, strict=True):
            if result.shape[:1] != (batch,):
                raise SourceInvalid(
                    f"output {name!r} of {artifact.path} has shape {result.shape} for a batch of {batch}: outputs of single "
                    "images cannot be told apart",
                    "export it again with the batch as the first dimension of every output",
                )
        rows.append(row)
    arrays = [np.concatenate([row[i] for row in rows])[:count] for i in range(len(names))]
    made_with = f"onnxruntime {importlib.metadata.version('onnxruntime')}, graph optimisations off, CPU"
    return dict(zip(names, arrays, strict=True)), made_with


def _refuse_useless(outputs: Mapping[str, Any], artifact: Artifact) -> None:
    import numpy as np

    for name, array in outputs.items():
        if not np.isfinite(array).all():
            weights = list(_weights_not_finite(artifact))
            named = f"{len(weights)} weights do: {', '.join(weights[:3])}{', …' if len(weights) > 3 else ''}"
            why = f": {named}" if weights else ", though all weights are finite: it overflows"
            raise ReferenceUseless(f"the reference output {name!r} holds NaN or infinity{why}", "check the weights")
    if all(variation(array) < LEAST_VARIATION for array in outputs.values()):
        raise ReferenceUseless(
            "the outputs barely differ between different inputs: comparing with them would pass anything",
            "give trained weights: --weights pretrained or --weights PATH",
        )


def _weights_not_finite(artifact: Artifact) -> Iterator[str]:
    """Names of the weights that hold NaN or infinity; none where the libraries to look at them are missing."""
    import importlib.util

    import numpy as np

    if artifact.format == "timm":
        from harness.backbone import load as load_model

        held = {name: tensor.float().numpy() for name, tensor in load_model(artifact).state_dict().items()}
    elif importlib.util.find_spec("onnx"):
        import onnx

        tensors = onnx.load(artifact.path).graph.initializer
        held = {tensor.name: np.asarray(onnx.numpy_helper.to_array(tensor), np.float32) for tensor in tensors}
    else:
        held = {}
    yield from (name for name, array in held.items() if not np.isfinite(array).all())


def variation(array: Any) -> float:
    """Standard deviation between inputs (first axis), averaged, relative to the root mean square of the output."""
    import numpy as np

    size = float(np.sqrt((array.astype(np.float64) ** 2).mean()))
    return float(array.std(axis=0).mean()) / size if size else 0.0
