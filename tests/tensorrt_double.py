"""A typed double of TensorRT and CUDA for the logic around them: no figure of it means anything.

Its classes are those of `harness.tensorrt_types`, which mypy holds it to, and which `scripts/check-tensorrt-api` holds to
NVIDIA's bindings. An "engine" is a JSON text; a "layer" is what the test says; memory is host memory.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from harness.nvidia import types


class Enum:
    """One member of an enumeration: pybind11 prints `Kind.NAME`, and gives a number."""

    def __init__(self, kind: str, name: str, value: int) -> None:
        self.kind, self.name, self.value = kind, name, value

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}"

    def __int__(self) -> int:
        return self.value


def enum(kind: str, *names: str) -> Any:
    """An enumeration of these names."""
    return SimpleNamespace(**{name: Enum(kind, name, value) for value, name in enumerate(names)})


class Logger:
    """The base that a logger is derived from."""

    def log(self, severity: object, msg: str) -> None:
        """Not overridden."""


class Profiler:
    """The base that a profiler is derived from."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Not overridden."""


class Tensor:
    """An input."""

    def __init__(self, name: str, shape: types.Shape) -> None:
        self.name, self.shape = name, shape


class NamedLayer:
    """A layer of a network."""

    def __init__(self, name: str) -> None:
        self.name = name


class Network:
    """What the parser filled."""

    def __init__(self, flags: int, layers: Sequence[str] = ("/conv",)) -> None:
        self.flags, self.inputs = flags, [Tensor("x", (-1, 3, 4, 4))]
        self.layers = [NamedLayer(name) for name in layers]
        self.num_layers = len(layers)

    def get_layer(self, index: int) -> types.ILayer:
        """One layer."""
        return self.layers[index]

    @property
    def num_inputs(self) -> int:
        """How many inputs."""
        return len(self.inputs)

    @num_inputs.setter
    def num_inputs(self, value: int) -> None:
        raise AttributeError

    def get_input(self, index: int) -> types.ITensor:
        """One input."""
        return self.inputs[index]


class Problem8:
    """A parser's error as TensorRT 8 tells it: without the node's name."""

    def __init__(self, index: int, desc: str) -> None:
        self._index, self._desc = index, desc

    def code(self) -> object:
        """Which kind."""
        return Enum("ErrorCode", "UNSUPPORTED_NODE", 8)

    def desc(self) -> str:
        """What is wrong."""
        return self._desc

    def node(self) -> int:
        """Number of the node."""
        return self._index


class Problem10(Problem8):
    """With the name and the operator."""

    def node_name(self) -> str:
        """The node's name."""
        return f"/stage/{self._index}"

    def node_operator(self) -> str:
        """Its operator."""
        return "GridSample"


class Parser:
    """Takes every file, unless it is given problems."""

    problems: Sequence[Problem8] = ()

    def __init__(self, problems: Sequence[Problem8], network: Network, fixed: int | None) -> None:
        self.problems = problems
        if fixed is not None:
            network.inputs = [Tensor("x", (fixed, 3, 4, 4))]
        self.num_errors = len(problems)

    def parse_from_file(self, model: str) -> bool:
        """Whether there was no problem."""
        return not self.problems

    def get_error(self, index: int) -> types.ParserError:
        """One problem."""
        return self.problems[index]


class OptimisationProfile:
    """The shapes that were set."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[types.Shape, ...]] = {}

    def set_shape(self, input: str, min: types.Shape, opt: types.Shape, max: types.Shape) -> None:  # noqa: A002
        """Keep them."""
        self.shapes[input] = (min, opt, max)


class Memory(bytes):
    """Bytes that TensorRT owns."""

    nbytes = 0


class TimingCache:
    """Grows by a mark at each build."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> types.IHostMemory:
        """Its bytes."""
        memory: Any = Memory(self.content + b"t")
        return memory  # type: ignore[no-any-return]


class Config:
    """What was configured."""

    def __init__(self, refuses_cache: bool, not_on_dla: Sequence[str] = ()) -> None:
        self.profiling_verbosity: object = None
        self.default_device_type: object = None
        self.DLA_core, self._not_on_dla = -1, not_on_dla
        self.flags = {"TF32"}  # it is on by default
        self.pool = 0
        self.tactics = 0b101
        self.profiles: list[types.IOptimizationProfile] = []
        self.cache: types.ITimingCache | None = None
        self._refuses = refuses_cache

    def can_run_on_DLA(self, layer: types.ILayer) -> bool:  # noqa: N802
        """As the test says."""
        return layer.name not in self._not_on_dla

    def set_flag(self, flag: object) -> None:
        """On."""
        self.flags.add(_name(flag))

    def clear_flag(self, flag: object) -> None:
        """Off."""
        self.flags.discard(_name(flag))

    def get_flag(self, flag: object) -> bool:
        """Whether on."""
        return _name(flag) in self.flags

    def set_memory_pool_limit(self, pool: object, pool_size: int) -> None:
        """Keep it."""
        self.pool = pool_size

    def get_memory_pool_limit(self, pool: object) -> int:
        """What was set, or the whole."""
        return self.pool or 1 << 34

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        """Keep them."""
        self.tactics = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        """Those that were set, or TensorRT's own choice."""
        return self.tactics

    def add_optimization_profile(self, profile: types.IOptimizationProfile) -> int:
        """Keep it."""
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> types.ITimingCache:
        """One of these bytes."""
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: types.ITimingCache, ignore_mismatch: bool) -> bool:
        """Refused where the test says so and there is something in it."""
        assert isinstance(cache, TimingCache)
        if self._refuses and cache.content:
            return False
        self.cache = cache
        return True


class LevelConfig(Config):
    """From 8.6 on there are builder levels."""

    builder_optimization_level = 3


def _name(flag: object) -> str:
    return str(flag).rpartition(".")[2]


class Builder:
    """Writes what it was told into the engine."""

    def __init__(self, trt: Double, logger: types.ILogger) -> None:
        self.trt, self.logger, self.num_DLA_cores = trt, logger, trt.dla_cores

    def create_network(self, flags: int) -> types.INetworkDefinition:
        """A network."""
        return Network(flags, self.trt.network_layers)

    def create_builder_config(self) -> types.IBuilderConfig:
        """With levels or without."""
        kind = Config if self.trt.__version__.startswith("8.5") else LevelConfig
        self.trt.config = kind(self.trt.refuses_cache, self.trt.not_on_dla)
        return self.trt.config

    def create_optimization_profile(self) -> types.IOptimizationProfile:
        """An empty one."""
        return OptimisationProfile()

    def build_serialized_network(
        self, network: types.INetworkDefinition, config: types.IBuilderConfig
    ) -> types.IHostMemory | None:
        """JSON; None with a logged error where the test says so."""
        assert isinstance(network, Network) and isinstance(config, Config)
        if self.trt.build_error:
            for line in self.trt.build_error.splitlines():
                self.logger.log(self.trt.severity.ERROR, line)
            return None
        shapes: Mapping[str, Any] = {}
        for profile in config.profiles:
            assert isinstance(profile, OptimisationProfile)
            shapes = profile.shapes
        told = {
            "network": network.flags,
            "flags": sorted(config.flags),
            "level": getattr(config, "builder_optimization_level", None),
            "shapes": shapes,
            "verbosity": str(config.profiling_verbosity),
            "device": str(config.default_device_type or ""),
            "core": config.DLA_core,
        }
        memory: Any = Memory(json.dumps(told).encode())
        return memory  # type: ignore[no-any-return]


class Context:
    """Doubles its input in the order of its addresses."""

    def __init__(self, engine: Engine, has_profile: bool = True) -> None:
        self.profiler: types.IProfiler | None = None
        self._has_profile = has_profile
        self.engine, self.addresses, self.shape = engine, {"x": 0, "y": 0}, (1, 3, 4, 4)
        self.runs = 0

    def set_input_shape(self, name: str, shape: types.Shape) -> bool:
        """Keep it; False with a logged error where another context has the optimisation profile."""
        if not self._has_profile:
            self.engine.logger.log(self.engine.trt.severity.ERROR, "No optimization profile has been selected.")
            return False
        self.shape = tuple(shape)  # type: ignore[assignment]
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Keep it; False for a name that there is not."""
        known = name in self.addresses
        self.addresses[name] = memory
        return known

    def get_tensor_shape(self, name: str) -> types.Shape:
        """That of the input."""
        return self.shape

    def infer_shapes(self) -> Sequence[str]:
        """Nothing is lacking."""
        return ()

    def execute_async_v3(self, stream_handle: int) -> bool:
        """y = 2 x, and a time for every layer."""
        import numpy as np

        self.runs += 1
        if self.engine.trt.run_error:
            self.engine.logger.log(self.engine.trt.severity.ERROR, self.engine.trt.run_error)
            return False
        count = int(np.prod(self.shape))
        source, target = ((ctypes.c_float * count).from_address(self.addresses[name]) for name in "xy")
        np.ctypeslib.as_array(target)[:] = 2 * np.ctypeslib.as_array(source)
        if self.profiler is not None:
            for layer in self.engine.trt.layers:
                self.profiler.report_layer_time(layer["Name"], 0.25)
        return True


class Inspector:
    """Tells the layers that the test gave."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.execution_context: types.IExecutionContext = Context(engine)

    def get_engine_information(self, format: object) -> str:  # noqa: A002
        """JSON."""
        assert str(format) == "LayerInformationFormat.JSON"
        return json.dumps({"Layers": list(self._engine.trt.layers)})


class Engine:
    """An engine with one input and one output."""

    def __init__(self, trt: Double, logger: types.ILogger, told: Mapping[str, Any]) -> None:
        self.trt, self.logger, self._told = trt, logger, told
        self.num_io_tensors, self.num_optimization_profiles = 2, 1
        self.num_layers, self._contexts = len(trt.layers), 0
        self.profiling_verbosity: object = told["verbosity"]

    def get_tensor_name(self, index: int) -> str:
        """x, y."""
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> object:
        """In or out."""
        return self.trt.TensorIOMode.INPUT if name == "x" else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> object:
        """What the test says."""
        return getattr(self.trt.DataType, self.trt.io_type)

    def get_tensor_shape(self, name: str) -> types.Shape:
        """Dynamic where there is a profile."""
        shapes = self._told["shapes"].get("x")
        return (-1 if shapes else 4, 3, 4, 4)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[types.Shape]:
        """The profile's."""
        shapes: Sequence[types.Shape] = self._told["shapes"]["x"]
        return shapes

    def create_execution_context(self) -> types.IExecutionContext | None:
        """None with a logged error where the test says so. In 8 the first one has the optimisation profile alone."""
        if self.trt.context_error:
            self.logger.log(self.trt.severity.ERROR, self.trt.context_error)
            return None
        self._contexts += 1
        alone = self.trt.__version__.startswith("8") and bool(self._told["shapes"])
        return Context(self, has_profile=self._contexts == 1 or not alone)

    def create_engine_inspector(self) -> types.EngineInspector:
        """An inspector."""
        return Inspector(self)


class RuntimeOf:
    """Reads JSON engines."""

    def __init__(self, trt: Double, logger: types.ILogger) -> None:
        self.trt, self.logger, self.DLA_core = trt, logger, -1
        trt.runtime = self

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> types.ICudaEngine | None:
        """None with a logged error where it is no JSON."""
        try:
            return Engine(self.trt, self.logger, json.loads(serialized_engine))
        except ValueError:
            self.logger.log(
                self.trt.severity.ERROR, "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed"
            )
            return None


class Double:
    """The module `tensorrt` of a version, with the names that this version has."""

    def __init__(self, version: str = "10.3.0") -> None:
        self.__version__ = version
        major = int(version.partition(".")[0])
        self.ILogger: type[types.ILogger] = Logger
        self.IProfiler: type[types.IProfiler] = Profiler
        weak = ("FP16", "INT8") if major == 8 else ("FP16", "INT8", "BF16") if major == 10 else ()
        self.BuilderFlag: types.BuilderFlag = enum("BuilderFlag", "TF32", "GPU_FALLBACK", *weak)
        created = {8: ("EXPLICIT_BATCH",), 10: ("EXPLICIT_BATCH", "STRONGLY_TYPED"), 11: ("STRONGLY_TYPED",)}[major]
        self.NetworkDefinitionCreationFlag: types.NetworkDefinitionCreationFlag = enum("Flag", *created)
        self.DataType: types.DataType = enum("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8")
        self.DeviceType: types.DeviceType = enum("DeviceType", "GPU", "DLA")
        self.LayerInformationFormat: types.LayerInformationFormat = enum("LayerInformationFormat", "JSON")
        self.MemoryPoolType: types.MemoryPoolType = enum("MemoryPoolType", "WORKSPACE")
        sources = {name: Enum("TacticSource", name, value) for value, name in enumerate(("CUBLAS", "CUDNN", "JIT"))}
        self.TacticSource: types.TacticSource = SimpleNamespace(__members__=sources)
        self.ProfilingVerbosity: types.ProfilingVerbosity = enum("ProfilingVerbosity", "DETAILED")
        self.TensorIOMode: types.TensorIOMode = enum("TensorIOMode", "INPUT", "OUTPUT")
        self.severity = enum("Severity", "ERROR", "WARNING", "INFO")
        self.problems: Sequence[Problem8] = ()
        self.layers: Sequence[Mapping[str, Any]] = ()
        self.build_error = self.run_error = self.context_error = ""
        self.io_type, self.refuses_cache = "FLOAT", False
        self.fixed: int | None = None
        self.config: Config | None = None
        self.runtime: RuntimeOf | None = None
        self.dla_cores = 2
        self.network_layers: Sequence[str] = ("/conv", "/resize")
        self.not_on_dla: Sequence[str] = ()

    def Builder(self, logger: types.ILogger) -> types.Builder:  # noqa: N802
        """A builder."""
        return Builder(self, logger)

    def OnnxParser(self, network: types.INetworkDefinition, logger: types.ILogger) -> types.OnnxParser:  # noqa: N802
        """A parser."""
        assert isinstance(network, Network)
        return Parser(self.problems, network, self.fixed)

    def Runtime(self, logger: types.ILogger) -> types.Runtime:  # noqa: N802
        """A runtime."""
        return RuntimeOf(self, logger)


# ── CUDA ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class CUDAError(Exception):
    """As cuda-core's: no RuntimeError, and of a module below `cuda`."""


CUDAError.__module__ = "cuda.core._utils.cuda_utils"


class CudaBuffer:
    """Host memory in the place of the device's."""

    def __init__(self, size: int) -> None:
        self._memory = ctypes.create_string_buffer(size)
        self.size, self.handle, self.closed = size, ctypes.addressof(self._memory), False

    def copy_from(self, src: Any, *, stream: Any) -> None:
        """At once."""
        ctypes.memmove(self.handle, src.handle, self.size)

    def close(self, stream: Any = None) -> None:
        """Marked."""
        assert not self.closed, "closed twice"
        self.closed = True


class CudaEvent:
    """Moments a millisecond apart."""

    def __init__(self, at_ms: float) -> None:
        self.at_ms = at_ms

    def sync(self) -> None:
        """At once."""

    def close(self) -> None:
        """Nothing."""

    def __sub__(self, other: Any) -> float:
        return float(self.at_ms - other.at_ms)


class CudaGraph:
    """Runs again what was captured."""

    def __init__(self) -> None:
        self.launches = 0

    def launch(self, stream: Any) -> None:
        """Counted."""
        self.launches += 1

    def close(self) -> None:
        """Nothing."""


class CudaGraphBuilder:
    """Captures."""

    def __init__(self, stream: Any, graph: CudaGraph) -> None:
        self.stream, self._graph = stream, graph

    def begin_building(self, mode: str = "relaxed") -> Any:
        """Itself."""
        return self

    def end_building(self) -> Any:
        """Itself."""
        return self

    def complete(self) -> Any:
        """The graph."""
        return self._graph

    def close(self) -> None:
        """Nothing."""


class CudaStream:
    """In order, at once."""

    handle = 77

    def __init__(self) -> None:
        self.graph, self.error, self.uncaptured, self.recorded = CudaGraph(), "", "", 0

    def record(self, event: Any = None) -> Any:
        """A moment later than the last."""
        self.recorded += 1
        event.at_ms = float(self.recorded)
        return event

    def sync(self) -> None:
        """At once, or with the error that the test gave."""
        if self.error:
            raise CUDAError(self.error)

    def create_graph_builder(self) -> Any:
        """A builder, or the error that the test gave."""
        if self.uncaptured:
            raise CUDAError(self.uncaptured)
        return CudaGraphBuilder(self, self.graph)

    def close(self) -> None:
        """Nothing."""


class CudaDevice:
    """A GPU's name and capability."""

    compute_capability = SimpleNamespace(major=8, minor=7)
    uuid = "GPU-0"
    name = "Orin"

    def __init__(self, device_id: int = 0) -> None:
        self.device_id = device_id

    @staticmethod
    def get_all_devices() -> tuple[CudaDevice, ...]:
        """One."""
        return (CudaDevice(0),)

    def set_current(self) -> object:
        """Nothing."""
        return None

    def create_stream(self) -> Any:
        """The one that the test can look at."""
        return STREAM

    def create_event(self, options: Any = None) -> Any:
        """An event."""
        return CudaEvent(0.0)

    def allocate(self, size: int, *, stream: Any) -> Any:
        """Memory."""
        return CudaBuffer(size)


class Pinned:
    """Memory."""

    def allocate(self, size: int, *, stream: Any = None) -> Any:
        """Memory."""
        return CudaBuffer(size)


STREAM = CudaStream()


def cuda_core() -> Any:
    """The module `cuda.core`."""
    return SimpleNamespace(Device=CudaDevice, LegacyPinnedMemoryResource=Pinned, EventOptions=lambda **options: options)
