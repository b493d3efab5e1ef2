"""Whether TensorRT really runs on a device: a small network is built and run there.

Not executed to its end on a GPU yet: on an H100 without cuDNN it stopped where TensorRT 8.5 looked for that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.api import Device, OpenFailed, nvidia
from runtimes._ort_provider import PROBE


def prove(trt: nvidia.types.TensorRT, device: Device) -> None:
    """Build a Relu, run it, and compare. Raises `OpenFailed` with what is missing."""
    try:
        right = _right(trt, device.index or 0)
    except (RuntimeError, TypeError) as error:
        raise nvidia.failure(OpenFailed, f"TensorRT does not run on {device.id}", str(error)) from error
    if not right:
        raise OpenFailed(f"TensorRT computes a wrong result on {device.id}", "see: backbench doctor")


@nvidia.cuda_errors()
def _right(trt: nvidia.types.TensorRT, index: int) -> bool:
    """Whether the Relu's result is one. Raises `RuntimeError`, `TypeError`."""
    import numpy as np

    from runtimes._cuda import Cuda

    log = nvidia.log_of(trt)
    cuda = Cuda(index)
    engine = _engine(trt, log)
    context = engine.create_execution_context()
    if context is None:
        raise RuntimeError(nvidia.said(log))
    pairs = {name: cuda.pair((1, 4), "float32") for name in ("x", "y")}
    np.copyto(pairs["x"].array, np.array([[-1, 0, 1, 2]], np.float32))
    pairs["x"].upload(cuda.stream)
    context.set_input_shape("x", (1, 4))
    for name, pair in pairs.items():
        context.set_tensor_address(name, pair.address)
    if not context.execute_async_v3(int(cuda.stream.handle)):
        raise RuntimeError(nvidia.said(log))
    pairs["y"].download(cuda.stream)
    cuda.stream.sync()
    right: bool = pairs["y"].array.tolist() == [[0, 0, 1, 2]]
    for pair in pairs.values():
        pair.close(cuda.stream)
    cuda.close()
    return right


def _engine(trt: nvidia.types.TensorRT, log: nvidia.types.ILogger) -> nvidia.types.ICudaEngine:
    builder = trt.Builder(log)
    flag = nvidia.optional(trt.NetworkDefinitionCreationFlag, "NetworkDefinitionCreationFlag.EXPLICIT_BATCH")
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe.onnx"
        file.write_bytes(PROBE)
        if not trt.OnnxParser(network, log).parse_from_file(str(file)):
            raise RuntimeError(nvidia.said(log))
    config = builder.create_builder_config()
    config.set_tactic_sources(0)  # a Relu needs neither cuBLAS nor cuDNN, which TensorRT 8 would load
    plan = builder.build_serialized_network(network, config)
    engine = None if plan is None else trt.Runtime(log).deserialize_cuda_engine(bytes(plan))
    if engine is None:
        raise RuntimeError(nvidia.said(log))
    return engine


def dla_cores(trt: nvidia.types.TensorRT, gpus: Sequence[Device]) -> Sequence[Device]:
    """The DLA cores that TensorRT's builder sees; none has run an inference here, and each says so."""
    if not gpus:
        return ()
    number = trt.Builder(nvidia.log_of(trt)).num_DLA_cores
    name = f"DLA core of {gpus[0].name}"
    return tuple(Device("dla", core, name, None, {"proven": False}) for core in range(number))
