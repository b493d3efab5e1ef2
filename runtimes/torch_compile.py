"""PyTorch with `torch.compile`: compilation is cold start, and its cache is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from harness.api import Artifact, Session, Setup
from runtimes._torch import TorchRuntime
from runtimes._torch_compiled import CompiledSession, QuantizedSession


class TorchCompile(TorchRuntime):
    """`torch.compile` (Inductor), compiled for the cell's batch while it opens."""

    accepts = ("timm", "torch-export")
    precisions: ClassVar = {**TorchRuntime.precisions, "cpu": ("fp32", "fp16", "bf16", "int8")}
    refuses: ClassVar = {**TorchRuntime.refuses, "cpu": {"tf32": TorchRuntime.refuses["cpu"]["tf32"]}}
    options: ClassVar = {
        "channels_last": False, "cudnn_benchmark": False, "mode": "default", "fullgraph": False, "dynamic": False,
    }  # fmt: skip
    words: ClassVar = {"mode": ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")}

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """Compile, with Inductor's cache in the runtime's own folder. Raises `OpenFailed`."""
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(setup.cache) / "inductor")
        os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = "1"
        session = (QuantizedSession if artifact.format == "torch-export" else CompiledSession)(artifact, setup)
        try:
            session.compile_as_asked()
        except BaseException:
            session.close()
            raise
        return session
