"""ONNX Runtime sessions with bound inputs and outputs, whatever the execution provider."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import Artifact, Facts, LayerTime, OpenFailed, Session, Setup, first_line

if TYPE_CHECKING:
    from harness.api import Array

# Relu on float32[1, 4], opset 13: the smallest model that proves a provider runs, without the onnx package.
_PROBE = bytes.fromhex(
    "080712003a3b0a0c0a0178120179220452656c751201705a130a0178120e0a0c080112080a0208010a0208046213"
    "0a0179120e0a0c080112080a0208010a02080442040a00100d"
)
Providers = Sequence[tuple[str, Mapping[str, str]]]


class OnnxRuntimeSession(Session):
    """Inputs and outputs live in preallocated OrtValues; `run` is one `run_with_iobinding`."""

    def __init__(self, artifact: Artifact, setup: Setup, providers: Providers) -> None:
        """Open with explicit options. Raises `OpenFailed` where a provider that was asked for is not in use."""
        self._artifact, self._setup, self._providers = artifact, setup, providers
        self._options = session_options(setup)
        self._session = create(artifact, self._options, providers)
        in_use = self._session.get_providers()
        if lost := [name for name, _ in providers if name not in in_use]:
            raise OpenFailed(
                f"onnxruntime left out {', '.join(lost)} in silence; in use: {', '.join(in_use)}",
                "see: backbench doctor",
            )
        self._binding = self._session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Copy into the bound inputs; the first call makes them, and the outputs."""
        if not self._inputs:
            self._make_values(feed)
        for name, array in feed.items():
            self._inputs[name].update_inplace(array)

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
        """One inference on the bound values."""
        self._session.run_with_iobinding(self._binding)

    def sync(self) -> None:
        """Wait for the bound outputs; on the CPU they are there already."""
        self._binding.synchronize_outputs()

    def fetch(self) -> Mapping[str, Array]:
        """Host copies of the outputs, under the artifact's names."""
        values = self._binding.get_outputs()
        return {spec.name: value.numpy() for spec, value in zip(self._artifact.outputs, values, strict=True)}

    def facts(self) -> Facts:
        """Read back from the session and from the graph that it loaded."""
        import onnxruntime as ort

        options = self._session.get_session_options()
        settings = {
            "inter_op_num_threads": options.inter_op_num_threads,
            "execution_mode": str(options.execution_mode).rpartition(".")[2],
            "graph_optimization_level": str(options.graph_optimization_level).rpartition(".")[2],
            "enable_mem_pattern": options.enable_mem_pattern,
            "enable_cpu_mem_arena": options.enable_cpu_mem_arena,
            "allow_spinning": options.get_session_config_entry("session.intra_op.allow_spinning"),
            "provider_options": json.loads(json.dumps(self._session.get_provider_options())),
        }
        return Facts(
            precision=self._artifact.precision,  # read from the graph itself; kernels run in the graph's types
            device=self._setup.device.id,
            providers=tuple(self._session.get_providers()),
            placement=placement(self._session),
            threads=options.intra_op_num_threads,
            versions={"onnxruntime": ort.__version__},
            settings=settings,
        )

    def profile(self) -> Sequence[LayerTime]:
        """Node times of one inference, in a session of its own with ORT's profiler on."""
        with tempfile.TemporaryDirectory() as folder:
            options = session_options(self._setup)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = create(self._artifact, options, self._providers)
            feed = {name: value.numpy() for name, value in self._inputs.items()}
            for _ in range(3):
                session.run(None, feed)
            events = json.loads(Path(session.end_profiling()).read_text())
        return _layers(events)


def prove(provider: str) -> None:
    """Run one inference on a provider. Raises `OpenFailed` where it is left out or does not run."""
    import numpy as np
    import onnxruntime as ort

    try:
        session = ort.InferenceSession(_PROBE, providers=[provider])
        result = session.run(None, {"x": np.array([[-1, 0, 1, 2]], np.float32)})[0]
    except Exception as error:
        raise OpenFailed(f"{provider} does not run: {first_line(error)}", "see: backbench doctor") from error
    if provider not in session.get_providers() or result.tolist() != [[0, 0, 1, 2]]:
        raise OpenFailed(
            f"onnxruntime left out {provider} in silence", "is it of this onnxruntime? see: backbench doctor"
        )


def session_options(setup: Setup) -> Any:
    """Session options with everything that matters set explicitly."""
    import onnxruntime as ort

    levels = {
        "all": "ORT_ENABLE_ALL",
        "extended": "ORT_ENABLE_EXTENDED",
        "basic": "ORT_ENABLE_BASIC",
        "off": "ORT_DISABLE_ALL",
    }
    level = str(setup.options["graph_optimization"])
    if level not in levels:
        raise OpenFailed(f"graph_optimization={level} is none of {', '.join(levels)}", "see: backbench list runtimes")
    options = ort.SessionOptions()
    options.intra_op_num_threads = setup.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, levels[level])
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if setup.options["spinning"] else "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def create(artifact: Artifact, options: Any, providers: Providers) -> Any:
    """An InferenceSession. Raises `OpenFailed`."""
    import onnxruntime as ort

    try:
        return ort.InferenceSession(
            artifact.path,
            options,
            providers=[name for name, _ in providers],
            provider_options=[dict(o) for _, o in providers],
        )
    except Exception as error:
        raise OpenFailed(f"onnxruntime cannot open the model: {first_line(error)}", "see the worker's log") from error


def placement(session: Any) -> Mapping[str, int]:
    """Graph nodes per execution provider; empty before ONNX Runtime 1.24, which does not tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return {}
    counts: Counter[str] = Counter()
    for part in tell():
        counts[part.ep_name] += len(part.get_nodes())
    return dict(counts)


def _layers(events: Sequence[Mapping[str, Any]]) -> Sequence[LayerTime]:
    """The kernel times of the last run in ORT's profile."""
    last: dict[str, LayerTime] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            args = event["args"]
            last[name] = LayerTime(
                name, args.get("op_name", ""), event["dur"] * 1000, "", args.get("provider", ""), name
            )
    return tuple(last.values())
