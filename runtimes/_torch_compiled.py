"""Compiled PyTorch sessions: of a module, and of a quantised program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from harness.api import (
    Artifact,
    Facts,
    MissingLibrary,
    OpenFailed,
    ProfiledInference,
    Setup,
    first_line,
    quiet_warnings,
)
from runtimes._torch import TorchSession

_INT8_KERNELS = ("onednn::qconv", "onednn::qlinear")
_FLOAT_KERNELS = (
    "aten::mkldnn_convolution", "mkldnn::_convolution", "mkldnn::_linear", "mkl::_mkl_linear", "aten::addmm", "aten::mm",
    "aten::bmm", "aten::baddbmm",
)  # fmt: skip


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
        from torch._dynamo.utils import counters

        facts = super().facts()
        compiled = {
            "mode": self._setup.options["mode"],
            "fullgraph": self._setup.options["fullgraph"],
            "dynamic": self._setup.options["dynamic"],
            "graphs": counters["stats"].get("unique_graphs", 0),
            "graph_breaks": sum(counters["graph_break"].values()),
            "inductor_cache_hits": _cache_hits(counters),
        }
        return replace(facts, settings={**facts.settings, **compiled})


class QuantizedSession(CompiledSession):
    """A program that PT2E has quantised; Inductor lowers it to int8 kernels where weights are constants (`freezing`)."""

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        """As the eager session's. Raises `OpenFailed`, or `MissingLibrary` without torchao."""
        super().__init__(artifact, setup)
        self._until_closed = ExitStack()

    def compile_as_asked(self) -> None:
        """As any module's, with weights as constants: a setting of the process, which `close` takes back."""
        from torch._inductor import config

        if (
            not config.freezing
        ):  # without it every convolution runs in float (measured, 2.13), and only the label says int8
            self._until_closed.enter_context(config.patch(freezing=True))
        super().compile_as_asked()

    def close(self) -> None:
        """What is compiled in this process afterwards is compiled as before."""
        self._until_closed.close()
        super().close()

    def _load(self) -> Any:
        try:
            import torchao.quantization.pt2e  # noqa: F401 - registers the program's operators
        except ImportError as error:
            raise MissingLibrary("torch_compile needs torchao for int8", "pip install torchao") from error
        with quiet_warnings():
            try:
                return self._torch.export.load(self._artifact.path).module()
            except Exception as error:
                why = f"PyTorch cannot load the quantised program: {first_line(error)}"
                raise OpenFailed(why, "is torchao the version that made it? see the worker's log") from error

    def facts(self) -> Facts:
        """Kernels are told by a profiled inference; the precision is int8 as soon as one of them runs in it."""
        heavy = self._heavy()
        return replace(super().facts(), precision="int8" if heavy.get("int8") else "fp32", heavy_layers=heavy)

    def _heavy(self) -> Mapping[str, int]:
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            self.run()
        counted: Counter[str] = Counter()
        for event in profiler.key_averages():
            if event.key.startswith((*_INT8_KERNELS, *_FLOAT_KERNELS)):
                counted["int8" if event.key.startswith(_INT8_KERNELS) else "fp32"] += event.count
        return dict(counted)


def _cache_hits(counters: Mapping[str, Mapping[str, int]]) -> int:
    """Graphs that were not compiled anew. One that AOTAutograd's cache holds counts as Inductor's too, if not bundled."""
    return max(counters["inductor"].get("fxgraph_cache_hit", 0), counters["aot_autograd"].get("autograd_cache_hit", 0))


def _forget() -> None:
    """Nothing compiled before counts: neither as a hit nor as a graph break."""
    import torch
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
