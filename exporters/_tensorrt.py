"""Configuring and building a TensorRT engine, for every version that is supported."""

from __future__ import annotations

from collections.abc import Mapping

from exporters._tensorrt_parse import typed
from harness.api import JSON, ExportFailed, Precision, Request, RunFailed, Unsupported, nvidia

_FLAGS: Mapping[Precision, str] = {"fp16": "BuilderFlag.FP16", "bf16": "BuilderFlag.BF16", "int8": "BuilderFlag.INT8"}
"""What a weakly typed network (TensorRT 8) needs, or it would run a typed graph's layers in fp32."""
_DEFAULT_LEVEL = 3


def configure(
    trt: nvidia.types.TensorRT,
    builder: nvidia.types.Builder,
    network: nvidia.types.INetworkDefinition,
    want: Request,
) -> tuple[nvidia.types.IBuilderConfig, dict[str, JSON]]:
    """The builder's configuration, and what of it the manifest keeps, read back. Raises `Unsupported`."""
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or nothing tells what the layers run in
    (config.set_flag if want.precision == "tf32" else config.clear_flag)(trt.BuilderFlag.TF32)  # it is on by default
    if not typed(trt, want.device) and want.precision in _FLAGS:
        flag = nvidia.optional(trt.BuilderFlag, _FLAGS[want.precision])
        if flag is None:
            raise Unsupported(f"TensorRT {trt.__version__} has no {want.precision}", "take another precision")
        config.set_flag(flag)
    workspace = trt.MemoryPoolType.WORKSPACE
    if limit := int(str(want.options["workspace_mib"])):
        config.set_memory_pool_limit(workspace, limit << 20)
    level = int(str(want.options["builder_level"]))
    if not nvidia.put(config, "IBuilderConfig.builder_optimization_level", level) and level != _DEFAULT_LEVEL:
        raise Unsupported(f"TensorRT {trt.__version__} has no builder levels", "leave out builder_level")
    sources = _tactic_sources(trt, config, want.options["tactic_sources"])
    shapes = _add_profile(builder, network, config, batches(want))
    placed = _on_dla(trt, builder, network, config, want) if want.device.startswith("dla") else {}
    return config, {
        **placed,
        "batch": "dynamic" if want.batch is None else want.batch,
        "strongly_typed": typed(trt, want.device),
        "tf32": config.get_flag(trt.BuilderFlag.TF32),
        "workspace_bytes": config.get_memory_pool_limit(workspace),
        "builder_level": nvidia.optional(config, "IBuilderConfig.builder_optimization_level"),
        "tactic_sources": sources,
        "optimisation_profile": shapes,
    }


def _tactic_sources(trt: nvidia.types.TensorRT, config: nvidia.types.IBuilderConfig, asked: JSON) -> JSON:
    """Let kernels come from these libraries alone, where any are named; those that they may come from, read back."""
    known = trt.TacticSource.__members__
    listed = asked if isinstance(asked, (list, tuple)) else str(asked).split(",")
    names = [str(name).strip() for name in listed]
    if unknown := [name for name in names if name not in known]:
        raise Unsupported(
            f"TensorRT {trt.__version__} has no tactic source {unknown[0]}", f"it has: {', '.join(known)}"
        )
    if names:
        config.set_tactic_sources(sum(1 << int(known[name]) for name in dict.fromkeys(names)))
    bits = config.get_tactic_sources()
    allowed: list[JSON] = [name for name, source in known.items() if bits >> int(source) & 1]
    if names and set(allowed) != set(names):
        raise Unsupported(
            f"TensorRT {trt.__version__} does not keep to {', '.join(names)}: it allows {', '.join(map(str, allowed))}"
        )
    return allowed


def _on_dla(
    trt: nvidia.types.TensorRT,
    builder: nvidia.types.Builder,
    network: nvidia.types.INetworkDefinition,
    config: nvidia.types.IBuilderConfig,
    want: Request,
) -> Mapping[str, JSON]:
    """Put every layer that a DLA core can run on it, and name those that fall back to the GPU. Raises `Unsupported`."""
    core = int(want.device.partition(":")[2] or 0)
    if core >= builder.num_DLA_cores:
        raise Unsupported(
            f"there is no dla:{core}: TensorRT {trt.__version__} sees {builder.num_DLA_cores} DLA cores here",
            "AGX Xavier, Xavier NX, AGX Orin and Orin NX have them, with a TensorRT that drives them (8.x, 10.0 to 10.7, "
            "11.4.1 on AGX Orin); see: backbench list devices",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    left = [layer.name for layer in layers if not config.can_run_on_DLA(layer)]
    if len(left) == len(layers):
        raise Unsupported(f"a DLA can run none of the {len(layers)} layers in {want.precision}", "take --device cuda:0")
    return {"dla_core": core, "dla_layers": len(layers) - len(left), "gpu_fallback": list(left)}


def batches(want: Request) -> tuple[int, int, int]:
    """Least, best and largest batch of the optimisation profile. Raises `ExportFailed` for one that is none."""
    if want.batch is not None:
        return want.batch, want.batch, want.batch
    given = want.options["profile"]
    sizes = [n for n in given if isinstance(n, int)] if isinstance(given, (list, tuple)) else []
    if len(sizes) != 3 or not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
        raise ExportFailed(
            f"profile={given!r} is not a least, best and largest batch",
            "for example: -o tensorrt_engine.profile=[1,8,32]",
        )
    return sizes[0], sizes[1], sizes[2]


def _add_profile(
    builder: nvidia.types.Builder,
    network: nvidia.types.INetworkDefinition,
    config: nvidia.types.IBuilderConfig,
    sizes: tuple[int, int, int],
) -> JSON:
    """Give every input with a dynamic batch its shapes; a network with fixed shapes needs no profile."""
    profile = builder.create_optimization_profile()
    kept: dict[str, JSON] = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if any(n < 0 for n in shape[1:]):
            raise Unsupported(
                f"input {tensor.name} has a dynamic dimension besides the batch: {shape}", "export fixed sizes"
            )
        if shape[0] >= 0:
            if shape[0] not in sizes:
                raise Unsupported(f"the ONNX file takes batch {shape[0]} alone", f"take --batch {shape[0]}")
            continue
        least, best, most = ((size, *shape[1:]) for size in sizes)
        profile.set_shape(tensor.name, least, best, most)
        kept[tensor.name] = [list(least), list(best), list(most)]
    if kept:
        config.add_optimization_profile(profile)
    return kept


def build(
    builder: nvidia.types.Builder,
    network: nvidia.types.INetworkDefinition,
    config: nvidia.types.IBuilderConfig,
    log: nvidia.types.ILogger,
) -> nvidia.types.IHostMemory:
    """The serialised engine. Raises `RunFailed` where the GPU is at fault (another try may fare better)."""
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = nvidia.said(log)
        kind = RunFailed if nvidia.why(reason) else ExportFailed
        raise nvidia.failure(kind, "TensorRT did not build the engine", reason)
    return plan
