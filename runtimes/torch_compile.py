"""PyTorch with `torch.compile`: compilation is cold start, and its cache is kept between runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.api import (
    Artifact,
    Facts,
    OpenFailed,
    ProfiledInference,
    Session,
    Setup,
    first_line,
    quiet_warnings,
)
from runtimes._torch import TorchRuntime, TorchSession


class TorchCompile(TorchRuntime):
    """`torch.compile` (Inductor), compiled for the cell's batch while it opens."""

    options: ClassVar = {
        "channels_last": False, "cudnn_benchmark": False, "mode": "default", "fullgraph": False, "dynamic": False,
    }  # fmt: skip

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """Compile, with Inductor's cache in the runtime's own folder. Raises `OpenFailed`."""
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(setup.cache) / "inductor")
        os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = "1"
        session = CompiledSession(artifact, setup)
        session.compile_as_asked()
        return session


class CompiledSession(TorchSession):
    """A compiled module."""

    def compile_as_asked(self) -> None:
        """Compile with the setup's options. Raises `OpenFailed`."""
        options = self._setup.options
        _forget()
        try:
            with quiet_warnings():
                self.compile(
                    mode=str(options["mode"]), fullgraph=bool(options["fullgraph"]), dynamic=bool(options["dynamic"])
                )
        except Exception as error:
            raise OpenFailed(
                f"torch.compile: {first_line(error)}", "an option, or no C++ compiler (g++)? see the worker's log"
            ) from error

    def profile(self, inferences: int) -> Sequence[ProfiledInference]:
        """Operator times of the model compiled again, so that generated kernels report themselves too."""
        from torch._inductor import config

        feed, call = self._inputs, self._call
        with config.patch("cpp.enable_kernel_profile", True):
            self.compile_as_asked()
            self._inputs = feed or self._inputs
            found = self._profile(None, inferences)
        _forget()
        self._call = call  # compiled again, from Inductor's cache, should it run once more
        return found

    def facts(self) -> Facts:
        """As the eager session's, with what was compiled."""
        from dataclasses import replace

        from torch._dynamo.utils import counters

        facts = super().facts()
        compiled = {
            "mode": self._setup.options["mode"],
            "fullgraph": self._setup.options["fullgraph"],
            "dynamic": self._setup.options["dynamic"],
            "graphs": counters["stats"].get("unique_graphs", 0),
            "graph_breaks": sum(counters["graph_break"].values()),
            "inductor_cache_hits": counters["inductor"].get("fxgraph_cache_hit", 0),
        }
        return replace(facts, settings={**facts.settings, **compiled})


def _forget() -> None:
    """Nothing compiled before counts: neither as a hit nor as a graph break."""
    import torch
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
