"""PyTorch, eager: the framework that every other runtime is compared with."""

from __future__ import annotations

from typing import ClassVar

from harness.api import Artifact, Session, Setup
from runtimes._torch import TorchRuntime, TorchSession


class TorchEager(TorchRuntime):
    """PyTorch eager in inference mode: what a model costs before anything is done for its deployment."""

    options: ClassVar = {"channels_last": False, "cudnn_benchmark": False}

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """The model on the device."""
        return TorchSession(artifact, setup)
