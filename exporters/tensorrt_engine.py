"""ONNX to a TensorRT engine: 8.5, 8.6, 10.x and 11.x, the precision from the types in the ONNX graph.

Held to NVIDIA's bindings by `scripts/check-tensorrt-api`, and tested on a typed double; by it TensorRT
8.5.3.1 built engines of resnet50 in fp16 and tf32 on an H100.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from exporters._specs import fixed
from exporters._tensorrt import build, configure
from exporters._tensorrt_parse import parse
from exporters._tensorrt_timings import timing_cache
from harness.api import JSON, Artifact, Export, Exporter, ExportFailed, Request, RunFailed, nvidia


class TensorRtEngine(Exporter):
    """TensorRT's builder. An engine belongs to the GPU's model and the version it was built with, and is cached so.

    `workspace_mib` 0 is all of the device's memory; `profile` is the least, best and largest batch of an engine for any
    batch (one for a single batch, which is what is built, has no other); `tactic_sources` are the libraries that kernels may
    come from besides TensorRT itself (none named: what it chooses).
    """

    source = "onnx"
    target = "tensorrt-engine"
    precisions = ("fp32", "tf32", "fp16", "bf16", "int8")
    reads: ClassVar = {"tf32": "fp32"}
    needs: ClassVar = {"tensorrt": "tensorrt", "cuda.core": "cuda-core>=1.0", "cuda.bindings": "cuda-bindings>=12.6"}
    portable = False
    dynamic_batch = False
    independent: ClassVar = {"timing_cache": False}
    words: ClassVar = {
        "tactic_sources": ("CUBLAS", "CUBLAS_LT", "CUDNN", "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"),
    }  # fmt: skip
    options: ClassVar = {
        "workspace_mib": 0, "builder_level": 3, "timing_cache": True, "profile": [1, 8, 32], "tactic_sources": [],
    }  # fmt: skip

    def belongs_to(self, device: str) -> Mapping[str, JSON]:
        """The GPU's name and compute capability, and TensorRT's version. Raises `Unsupported` without a GPU."""
        return nvidia.belongs_to(nvidia.gpu(device), nvidia.library().__version__, device)

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Parse, configure, build. Raises `Unsupported` for what this TensorRT cannot, `RunFailed` for a full GPU."""
        from cuda.core import Device

        trt, belongs = nvidia.library(), self.belongs_to(want.device)
        log = nvidia.log_of(trt)
        try:
            with nvidia.cuda_errors():
                Device(nvidia.gpu_index(want.device)).set_current()
            builder = trt.Builder(log)
            network = parse(trt, builder, log, Path(source.path), want.device)
            config, settings = configure(trt, builder, network, want)
            with timing_cache(trt, config, belongs, used=bool(want.options["timing_cache"])) as cached:
                plan = build(builder, network, config, log)
        except (RuntimeError, TypeError, ValueError) as error:  # CUDA's errors, and what pybind11 makes of C++'s
            kind = RunFailed if nvidia.why(error) else ExportFailed
            raise nvidia.failure(kind, "TensorRT did not build the engine", str(error)) from error
        (folder / "model.engine").write_bytes(plan)
        details = {key: source.details[key] for key in ("opset", "name") if key in source.details} | settings
        details |= {"belongs_to": dict(belongs), "source_digest": source.digest, "timing_cache": cached}
        inputs, outputs = (fixed(specs, want.batch) for specs in (source.inputs, source.outputs))
        return Export("model.engine", want.precision, inputs, outputs, details)
