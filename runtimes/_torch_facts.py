"""What a PyTorch session really runs in, read back from its tensors and from PyTorch's switches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.api import Facts, Precision

_ROUNDED: Mapping[str, Precision] = {"bf16": "bf16", "tf32": "tf32"}


def told(parameters: Iterable[Any], inputs: Sequence[Any]) -> Facts:
    """The facts of a session with these parameters and these bound inputs."""
    import torch

    weights = list(parameters)
    tensors = [*weights, *inputs]
    has_mkldnn = torch.backends.mkldnn.is_available()  # else its operators are not there to be asked
    settings = {
        "interop_threads": torch.get_num_interop_threads(),
        "mkldnn": has_mkldnn and torch.backends.mkldnn.enabled,
        # Without it PyTorch takes kernels of its own, which are much slower.
        "mkldnn_fp16": has_mkldnn and torch.ops.mkldnn._is_mkldnn_fp16_supported(),
        "mkldnn_bf16": has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "fp32_precision": _fp32_precision(),
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cuda_fp16_reduced_precision_reduction": torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        "input_memory_format": _memory_format(inputs),
        "parallel": _parallel(torch.__config__.parallel_info()),
    }
    return Facts(
        precision=precision_of(tensors),
        device=str(tensors[0].device),
        threads=torch.get_num_threads(),
        memory_format=_memory_format(weights),
        versions=_versions(tensors[0].device.type),
        settings=settings,
    )


def precision_of(tensors: Sequence[Any]) -> Precision | None:
    """The precision of computing with these parameters and inputs; None where they or the switches differ."""
    import torch

    names: dict[Any, Precision] = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
    found = {names.get(t.dtype) for t in tensors}
    precision = found.pop() if len(found) == 1 else None
    where = tensors[0].device.type if tensors else ""
    if precision == "fp32" and where == "cpu":
        rounded = {"bf16", "tf32"} & set(_fp32_precision().values())
        return _ROUNDED[rounded.pop()] if rounded else "fp32"
    if precision != "fp32" or where != "cuda":
        return precision
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if matmul != convolution:
        return None
    return "tf32" if matmul else "fp32"


def _memory_format(tensors: Iterable[Any]) -> str | None:
    """The layout of 4-D tensors; None where none tells (with one channel or a size of 1x1, both are the same)."""
    import torch

    telling = [t for t in tensors if t.ndim == 4 and t.shape[1] > 1 and t.shape[2] * t.shape[3] > 1]
    found = {bool(t.is_contiguous(memory_format=torch.channels_last)) for t in telling}
    return {frozenset([True]): "channels_last", frozenset([False]): "contiguous"}.get(frozenset(found))


def _versions(where: str) -> Mapping[str, str]:
    import torch

    versions = {"torch": str(torch.__version__)}
    if where == "cuda":
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return versions


def _fp32_precision() -> Mapping[str, str]:
    """In what oneDNN computes fp32 products and convolutions, where this PyTorch tells it: `none` and `ieee` are fp32."""
    import torch

    backend: Any = torch.backends.mkldnn
    whole = getattr(backend, "fp32_precision", "none")
    found = {}
    for name in ("matmul", "conv"):
        own = getattr(getattr(backend, name, None), "fp32_precision", None)
        if own is not None:
            found[name] = str(whole if own == "none" else own)
    return found


def _parallel(info: str) -> Mapping[str, str]:
    """What `torch.__config__.parallel_info` tells of thread pools: `name : value` lines."""
    pairs = (line.split(" : ", 1) for line in info.splitlines() if " : " in line)
    return {name.strip(): value.strip() for name, value in pairs}
