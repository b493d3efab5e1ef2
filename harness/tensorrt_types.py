"""The part of TensorRT's Python API that Backbench uses, typed: what is not here is not called (mypy holds that).

Every member exists in TensorRT 8.5, 8.6, 10.3, 10.16 and 11.4, checked against NVIDIA's own bindings by
`scripts/check-tensorrt-api`; what only some versions have is asked for by `harness.nvidia.optional`. The classes have
TensorRT's names. https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, SupportsInt, TypeAlias

Shape = Sequence[int]


class ILogger(Protocol):
    """What TensorRT says; `harness.nvidia.Log` keeps it."""

    def log(self, severity: object, msg: str) -> None: ...


class ITensor(Protocol):
    """An input or output of a network; -1 stands for a dynamic dimension."""

    name: str
    shape: Shape


class ILayer(Protocol):
    """A layer of a network, by the ONNX node's name."""

    name: str


class INetworkDefinition(Protocol):
    """The network that the parser fills."""

    num_inputs: int
    num_layers: int

    def get_input(self, index: int) -> ITensor: ...
    def get_layer(self, index: int) -> ILayer: ...


class ParserError(Protocol):
    """Why the parser does not take a node; each member is a method of NVIDIA's class."""

    def code(self) -> object: ...
    def desc(self) -> str: ...
    def node(self) -> int: ...


class OnnxParser(Protocol):
    """Reads an ONNX file into a network."""

    num_errors: int

    def parse_from_file(self, model: str) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class IOptimizationProfile(Protocol):
    """The shapes that an engine is made for."""

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None: ...  # noqa: A002 - TensorRT's names


class IHostMemory(Protocol):
    """Bytes that TensorRT owns; it has the buffer protocol."""

    nbytes: int

    def __buffer__(self, flags: int, /) -> memoryview: ...


class ITimingCache(Protocol):
    """How long kernels took in earlier builds."""

    def serialize(self) -> IHostMemory: ...


class IBuilderConfig(Protocol):
    """How an engine is built."""

    profiling_verbosity: object
    default_device_type: object
    DLA_core: int

    def can_run_on_DLA(self, layer: ILayer) -> bool: ...  # noqa: N802 - TensorRT's name
    def set_flag(self, flag: object) -> None: ...
    def clear_flag(self, flag: object) -> None: ...
    def get_flag(self, flag: object) -> bool: ...
    def set_memory_pool_limit(self, pool: object, pool_size: int) -> None: ...
    def get_memory_pool_limit(self, pool: object) -> int: ...
    def add_optimization_profile(self, profile: IOptimizationProfile) -> int: ...
    def set_tactic_sources(self, tactic_sources: int) -> bool: ...
    def get_tactic_sources(self) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None: ...
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool: ...


class Builder(Protocol):
    """Builds engines."""

    num_DLA_cores: int  # noqa: N815 - TensorRT's name

    def create_network(self, flags: int) -> INetworkDefinition: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None: ...


class IProfiler(Protocol):
    """Is told the time of every layer."""

    def report_layer_time(self, layer_name: str, ms: float) -> None: ...


class IExecutionContext(Protocol):
    """An engine with its activation memory; addresses are device pointers."""

    profiler: IProfiler | None

    def set_input_shape(self, name: str, shape: Shape) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def get_tensor_shape(self, name: str) -> Shape: ...
    def infer_shapes(self) -> Sequence[str]: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class EngineInspector(Protocol):
    """Tells what an engine consists of."""

    execution_context: IExecutionContext

    def get_engine_information(self, format: object) -> str: ...  # noqa: A002 - TensorRT's name


class ICudaEngine(Protocol):
    """A deserialised engine."""

    num_io_tensors: int
    num_layers: int
    num_optimization_profiles: int
    profiling_verbosity: object

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> object: ...
    def get_tensor_dtype(self, name: str) -> object: ...
    def get_tensor_shape(self, name: str) -> Shape: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Shape]: ...
    def create_execution_context(self) -> IExecutionContext | None: ...
    def create_engine_inspector(self) -> EngineInspector: ...


class Runtime(Protocol):
    """Deserialises engines."""

    DLA_core: int

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None: ...


class BuilderFlag(Protocol):
    """Of the builder's flags, those that every version has."""

    TF32: object
    GPU_FALLBACK: object


class DeviceType(Protocol):
    """Where layers run."""

    DLA: object


class MemoryPoolType(Protocol):
    """Whose size is limited."""

    WORKSPACE: object


class TacticSource(Protocol):
    """The libraries that kernels come from besides TensorRT itself; which there are differs by version."""

    __members__: Mapping[str, SupportsInt]


class ProfilingVerbosity(Protocol):
    """How much an engine keeps about its layers."""

    DETAILED: object


class LayerInformationFormat(Protocol):
    """What the inspector answers in."""

    JSON: object


class TensorIOMode(Protocol):
    """Whether a tensor goes in or comes out."""

    INPUT: object
    OUTPUT: object


class NetworkDefinitionCreationFlag(Protocol):
    """How a network is created: no flag that every version has."""


class DataType(Protocol):
    """Element types."""

    FLOAT: object
    HALF: object
    INT8: object
    INT32: object
    BOOL: object
    UINT8: object


# Inside of `TensorRT` the names are those of its members.
_Builder: TypeAlias = Builder
_Logger: TypeAlias = ILogger
_Network: TypeAlias = INetworkDefinition
_Parser: TypeAlias = OnnxParser
_Runtime: TypeAlias = Runtime


class TensorRT(Protocol):
    """The module `tensorrt`."""

    __version__: str
    ILogger: type[ILogger]
    IProfiler: type[IProfiler]
    BuilderFlag: BuilderFlag
    DataType: DataType
    DeviceType: DeviceType
    LayerInformationFormat: LayerInformationFormat
    MemoryPoolType: MemoryPoolType
    NetworkDefinitionCreationFlag: NetworkDefinitionCreationFlag
    ProfilingVerbosity: ProfilingVerbosity
    TacticSource: TacticSource
    TensorIOMode: TensorIOMode

    def Builder(self, logger: _Logger) -> _Builder: ...  # noqa: N802 - TensorRT's name
    def OnnxParser(self, network: _Network, logger: _Logger) -> _Parser: ...  # noqa: N802 - TensorRT's name
    def Runtime(self, logger: _Logger) -> _Runtime: ...  # noqa: N802 - TensorRT's name
