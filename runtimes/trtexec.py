"""NVIDIA's own benchmark, `trtexec`: for boxes whose Python cannot import TensorRT (JetPack 5 and 6).

It builds and times by itself. So a record of it is timed by a foreign clock, and its inferences are not in turn with the
baseline's: `not_interleaved` in the verdict. Not executed on a GPU yet; tested with a scripted `trtexec`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.api import Artifact, Device, Runtime, Session, Setup
from runtimes._tensorrt_takes import INT8_ASKS, NOT_ON_DLA
from runtimes._trtexec import Tool, engine_for
from runtimes._trtexec_session import TrtexecSession


class Trtexec(Runtime):
    """The box's `trtexec` (`$TRTEXEC`, on the PATH, or where JetPack puts it): its times, its outputs, its layers."""

    accepts = ("onnx",)
    precisions: ClassVar = {"cuda": ("fp32", "tf32", "fp16", "bf16", "int8"), "dla": ("fp16",)}
    refuses: ClassVar = {"dla": NOT_ON_DLA}
    asks: ClassVar = INT8_ASKS
    casts: ClassVar = {"tf32": "fp32"}
    # `duration_s`: how long trtexec measures each time that its samples are used up. `keep_engine`: take the engine that was
    # built here for the same file and options.
    independent: ClassVar = {"keep_engine": False}
    options: ClassVar = {
        "cuda_graph": False,
        "spin_wait": True,
        "duration_s": 1,
        "builder_level": 3,
        "workspace_mib": 0,
        "keep_engine": True,
    }

    def devices(self) -> Sequence[Device]:
        """The GPU that trtexec ran a small network on, and the DLA cores that it takes. Raises `MissingLibrary`."""
        tool = Tool.found()
        return (tool.probe(), *tool.dla_cores())

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """Build the engine, or take the one that was built here for the same file and options. Raises `OpenFailed`."""
        tool = Tool.found()
        engine = engine_for(tool, artifact, setup, Path(setup.cache))
        return TrtexecSession(tool, engine, artifact, setup)
