"""ONNX Runtime sessions with bound inputs and outputs, whatever the execution provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import (
    JSON,
    Artifact,
    Facts,
    LayerTime,
    OpenFailed,
    Precision,
    ProfiledInference,
    RunFailed,
    Session,
    Setup,
    Unsupported,
    first_line,
    vnni,
)
from runtimes import _ort_plugin as plugin
from runtimes._onnx_file import content
from runtimes._ort_open import create, session_options, tasks
from runtimes._ort_profile import deciding, heavy_layers, profiled
from runtimes._ort_provider import CPU, Providers, absent, differing, placed_operators, told_options, untold

if TYPE_CHECKING:
    from harness.api import Array

_FLOATS = frozenset({"float", "float16", "bfloat16"})


class OnnxRuntimeSession(Session):
    """Inputs and outputs live in preallocated OrtValues; `run` is one `run_with_iobinding`."""

    def __init__(
        self, artifact: Artifact, setup: Setup, providers: Providers, own: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Open with explicit options; `own` are further ones by provider, good in this process alone (a stream).

        Raises `OpenFailed` where a provider that was asked for first is not in use, or an option does not hold.
        """
        import onnxruntime  # noqa: F401 - before threads are counted: the import may start some

        self._artifact, self._setup, self._providers = artifact, setup, providers
        before = tasks()
        here = [(name, {**options, **(own or {}).get(name, {})}) for name, options in providers]
        self._session = create(artifact.path, session_options(setup.threads, setup.options, self._fixed()), here)
        self._pool = None if before is None else (tasks() or before) - before
        in_use = self._session.get_providers()
        if lost := [name for name, _ in providers if name not in in_use]:
            raise absent(lost[0], f"in use: {', '.join(in_use)}")
        self._told = told_options(self._session)
        if wrong := [fault for name, given in providers for fault in differing(given, self._told.get(name, {}))]:
            raise OpenFailed(f"options of onnxruntime do not hold: {'; '.join(wrong)}", "see: backbench list runtimes")
        self._binding = self._session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}

    def _fixed(self) -> Mapping[str, int]:
        """Named dimensions of the graph that the session is opened with a size for; others take any."""
        return {}

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Copy into the bound inputs; the first call makes them, and the outputs. Raises `RunFailed`."""
        try:
            if not self._inputs:
                self._make_values(feed)
            for name, array in feed.items():
                self._inputs[name].update_inplace(array)
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
            raise RunFailed(f"onnxruntime does not take the inputs {shapes}: {first_line(error)}") from error

    def _make_values(self, feed: Mapping[str, Array]) -> None:
        import numpy as np
        import onnxruntime as ort

        for name, array in feed.items():
            self._inputs[name] = ort.OrtValue.ortvalue_from_numpy(np.array(array))
            self._binding.bind_ortvalue_input(name, self._inputs[name])
        batch = len(next(iter(feed.values())))
        for value, spec in zip(self._session.get_outputs(), self._artifact.outputs, strict=True):
            sizes = [batch if i == 0 else n for i, n in enumerate(spec.shape)]
            if all(isinstance(n, int) for n in sizes):
                self._outputs[value.name] = ort.OrtValue.ortvalue_from_shape_and_type(sizes, np.dtype(spec.dtype))
                self._binding.bind_ortvalue_output(value.name, self._outputs[value.name])
            else:  # a further dynamic dimension: the runtime allocates
                self._binding.bind_output(value.name)

    def run(self) -> None:
        """One inference on the bound values. Raises `RunFailed`."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise RunFailed(f"onnxruntime: {first_line(error)}") from error

    def sync(self) -> None:
        """Wait for the bound outputs; on the CPU they are there already."""
        self._binding.synchronize_outputs()

    def fetch(self) -> Mapping[str, Array]:
        """Host copies of the outputs, under the artifact's names."""
        values = self._binding.get_outputs()
        return {spec.name: value.numpy() for spec, value in zip(self._artifact.outputs, values, strict=True)}

    def facts(self) -> Facts:
        """Read back from the session, and from the graph that it loaded."""
        import onnxruntime as ort

        options = self._session.get_session_options()
        precision, executed, unknown = self._precisions()
        operators = placed_operators(self._session)
        placed = {name: sum(counts.values()) for name, counts in operators.items()}
        settings = {
            "inter_op_num_threads": options.inter_op_num_threads,
            "pool_threads": self._pool if self._pool is not None else "unavailable: no /proc",
            "execution_mode": str(options.execution_mode).rpartition(".")[2],
            "graph_optimization_level": str(options.graph_optimization_level).rpartition(".")[2],
            "enable_mem_pattern": options.enable_mem_pattern,
            "enable_cpu_mem_arena": options.enable_cpu_mem_arena,
            "allow_spinning": options.get_session_config_entry("session.intra_op.allow_spinning"),
            "provider_options": {name: dict(options) for name, options in self._told.items()},
            **self._settings(operators),
            **({"precision": f"unavailable: {unknown}"} if unknown else {}),
            **({} if placed else {"placement": "unavailable: this onnxruntime does not tell it"}),
        }
        return Facts(
            precision=precision,
            device=self._setup.device.id,
            providers=tuple(self._session.get_providers()),
            placement=placed,
            layer_precisions=dict(Counter(layer.precision for layer in executed)),
            heavy_layers=dict(heavy_layers(executed)),
            threads=self._threads(options.intra_op_num_threads),
            versions={"onnxruntime": ort.__version__},
            settings=settings,
        )

    def _settings(self, operators: Mapping[str, Mapping[str, int]]) -> Mapping[str, JSON]:
        """The CPU's: whether it multiplies int8 without overflow. Another's: what it left to others or does not tell."""
        first, asked = self._providers[0]
        if first == CPU:
            return {"vnni": has} if (has := vnni()) is not None else {}
        left = {name: dict(counts) for name, counts in operators.items() if name != first}
        unknown: list[JSON] = [*untold(asked, self._told.get(first, {}))]
        unknown = [name for name in unknown if name != plugin.KIND]  # which is ours, and held by opening
        return {"left_to": left, **({"options_not_told": unknown} if unknown else {})}

    def _threads(self, asked: int) -> int:
        """The thread that calls and those of the pool, counted; other providers start threads of their own."""
        only_cpu = [name for name, _ in self._providers] == [CPU]
        return asked if self._pool is None or not only_cpu else self._pool + 1

    def _precisions(self) -> tuple[Precision | None, Sequence[LayerTime], str]:
        """What the kernels run in, the executed layers where they had to be looked at, and why it is unknown.

        float32 weights are proof. For others only the executed kernels are: the CPU provider runs fp16 graphs in
        float between casts, and the convolutions of a QDQ graph that it cannot fuse in float too (both measured).
        """
        try:
            found = content(Path(self._artifact.path))
        except (OSError, ValueError) as error:
            return None, (), first_line(error)
        floats = _FLOATS & set(found.elements)
        if not found.quantised and floats <= {"float"}:
            return self._of_floats() if floats else (None, (), "the graph has no weights")
        try:
            executed = profiled(self._order(1))[-1].layers
        except Unsupported as error:
            return None, (), error.message
        return deciding(executed), executed, ""

    def _of_floats(self) -> tuple[Precision | None, Sequence[LayerTime], str]:
        """What a graph runs in whose weights are all float32."""
        return "fp32", (), ""

    def profile(self, inferences: int) -> Sequence[ProfiledInference]:
        """Kernel times, in a process of its own with ONNX Runtime's profiler on."""
        return profiled(self._order(inferences))

    def _order(self, inferences: int) -> Mapping[str, Any]:
        """What that process is told."""
        specs = self._artifact.inputs
        shapes = {s.name: [self._setup.batch if i == 0 else n for i, n in enumerate(s.shape)] for s in specs}
        shapes |= self._shapes()
        return {
            "path": self._artifact.path, "threads": self._setup.threads, "options": dict(self._setup.options),
            "providers": [(name, self._profiled(options)) for name, options in self._providers], "shapes": shapes,
            "inferences": inferences, "fixed": dict(self._fixed()),
        }  # fmt: skip

    def _profiled(self, options: Mapping[str, str]) -> dict[str, str]:
        """A provider's options in the process that profiles."""
        return dict(options)

    def _shapes(self) -> Mapping[str, list[int | str]]:
        """Of the bound inputs."""
        return {name: list(value.shape()) for name, value in self._inputs.items()}

    def close(self) -> None:
        """Let go of the session, its binding and its values."""
        self._inputs, self._outputs = {}, {}
        self._binding = self._session = None
