"""Failures are put into reason classes by what was said."""

from __future__ import annotations

import pytest

from harness.coverage import causes

SAID = {
    ("create", "timm cannot create x (features_only=True): not implemented"): "create: no feature maps",
    ("create", "x does not run on 3x224x224: shapes"): "create: does not run",
    ("create", "the outputs barely differ between different inputs"): "create: constant outputs",
    ("create", "the reference output 'logits' holds NaN or infinity"): "create: not finite",
    ("create", "KeyError: 'x'"): "create: other",
    ("export", "the dynamic batch does not run: Reshape"): "export: dynamic shape",
    ("export", "torch.onnx.export: your code specialized it to be a constant (2)"): "export: dynamic shape",
    ("export", "torch.onnx.export: Could not guard on data-dependent expression u0"): "export: depends on data",
    ("export", "No ONNX function found for <OpOverload(aten.x)>"): "export: unsupported op",
    ("export", "the exported file is not valid ONNX: cycle"): "export: invalid graph",
    ("export", "it was tried, and killed by SIGSEGV"): "export: crash",
    (
        "export",
        "killed by SIGSEGV; its last words: a warning of dynamic_shapes that are not supported",
    ): "export: crash",
    (
        "export",
        "torch.onnx.export: TypeError: Unsupported attribute type: '<class 'x.SymbolicTensor'>'",
    ): "export: dynamic shape",
    ("export", "DefaultCPUAllocator: can't allocate memory: you tried"): "memory",
    ("ort_cpu", "killed by SIGABRT; its last words: x"): "runtime: crash",
    ("ort_cpu", "onnxruntime cannot load the model: NOT_IMPLEMENTED : Could not find"): "runtime: unsupported",
    ("openvino", "OpenVINO cannot compile the model for CPU: x"): "runtime: does not open",
    ("openvino", "std::bad_alloc"): "memory",
    ("openvino", "OpenVINO cannot compile the model for CPU: Failed to allocate 3573547008 bytes of memory"): "memory",
    ("openvino", "it was over its limit of time, and was killed"): "time",
    ("ort_cpu", "onnxruntime: Non-zero status code returned"): "runtime: does not run",
}


@pytest.mark.parametrize(("step", "said"), SAID)
def test_the_class_is_told_from_the_words(step: str, said: str) -> None:
    assert causes.of(step, said) == SAID[step, said]


def test_outputs_that_are_not_finite_are_no_ordinary_error() -> None:
    assert causes.of_parity("logits holds NaN or infinity") == "parity: not finite"
    assert causes.of_parity("logits: relative L2 error 0.1 is over 0.0001") == "parity: error over the limit"
