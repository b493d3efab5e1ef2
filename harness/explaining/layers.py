"""What profiled inferences say of a cell: medians per layer, shares, and which operators make the gap to another cell."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness import stats
from harness.model import SCHEMA, Cell, LayerTime, ProfiledInference

# Operator groups, the first that fits: names of ONNX, ONNX Runtime, OpenVINO, TensorRT and ATen in lower case.
_GROUPS = tuple(
    (group, re.compile(pattern))
    for group, pattern in (
        ("quantise", r"quantize"),
        ("fused by a compiler", r"^fused_|triton_|^subgraph$|foreignnode"),
        ("reorder and copy", r"reorder|transpose|permute|memcpy|^cast$|^convert|reformat|::(to|copy_|contiguous|clone)$"),
        ("convolution", r"conv"),
        ("attention", r"attention"),
        ("matrix product", r"matmul|gemm|linear|fully_?connected|addmm|bmm|::mm$|einsum|matrixmultiply"),
        ("softmax", r"softmax"),
        ("normalise", r"norm|mvn|lrn"),
        ("pool and reduce", r"pool|reduce|mean|sum$|max$"),
        ("activation", r"relu|gelu|silu|swish|sigmoid|clip|clamp|erf|tanh|mish|elu|activation"),
        ("shape", r"reshape|concat|slice|gather|squeeze|split|chunk|unbind|flatten|shape|expand|view|cat$|select|pad|roll"),
        ("elementwise", r"add|mul|sub|div|eltwise|elementwise|pow|sqrt|where|neg|exp|scale"),
    )
)  # fmt: skip
UNATTRIBUTED = "unattributed"


def group_of(kind: str) -> str:
    """The operator group of an operator type; `other` where none fits."""
    lower = kind.lower()
    return next((group for group, pattern in _GROUPS if pattern.search(lower)), "other")


@dataclass(frozen=True)
class Layer:
    """One executed layer: the median over the profiled inferences."""

    name: str
    kind: str
    group: str
    time_ns: float
    low_ns: float
    high_ns: float
    precision: str = ""
    device: str = ""
    kernel: str = ""
    nodes: tuple[str, ...] = ()
    """ONNX nodes that it computes; empty where the runtime inserted it, or does not tell."""
    part: str = ""
    """Part of the backbone (`layer1.0`, `blocks.3`), from the path of its module."""


@dataclass(frozen=True)
class Profile:
    """A cell's layers beside its latency."""

    key: str
    cell: Cell
    latency_ns: float
    """Median of `compute`, measured without a profiler."""
    latency_from: str
    """Where that was measured."""
    plain_ns: float
    """Median of `compute` in the profiled process, just before the profiler was turned on."""
    profiled_ns: float
    """Median latency with the profiler on."""
    inferences: int
    layers: tuple[Layer, ...]
    typical: ProfiledInference
    """The profiled inference whose latency is nearest to the median."""
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def layers_ns(self) -> float:
        """Sum of the layers' medians."""
        return sum(layer.time_ns for layer in self.layers)

    @property
    def unattributed_ns(self) -> float:
        """Latency minus the sum of the layers; negative where profiling slows the layers by more than lies between them."""
        return self.latency_ns - self.layers_ns

    @property
    def overhead(self) -> float:
        """What profiling adds to an inference of the same process: 0.1 reads 10 % slower."""
        return self.profiled_ns / self.plain_ns - 1 if self.plain_ns else 0.0

    @property
    def inserted_ns(self) -> float:
        """Time in reorders and copies that are no node of the ONNX graph."""
        return sum(layer.time_ns for layer in self.layers if layer.group == "reorder and copy" and not layer.nodes)

    @property
    def mapped(self) -> float:
        """Share of the layers' time that is mapped to ONNX nodes."""
        return sum(layer.time_ns for layer in self.layers if layer.nodes) / self.layers_ns if self.layers_ns else 0.0


@dataclass(frozen=True)
class Total:
    """Time of all layers that have something in common."""

    name: str
    precision: str
    layers: int
    time_ns: float
    share: float
    """Of the sum of all layers."""


@dataclass(frozen=True)
class Difference:
    """What one group of operators (or part of the backbone) takes in two cells."""

    name: str
    first_ns: float
    second_ns: float
    share: float | None
    """Of the difference of the latencies; None where that is 0."""

    @property
    def difference_ns(self) -> float:
        """Second minus first."""
        return self.second_ns - self.first_ns


@dataclass(frozen=True)
class Gap:
    """Where the difference of two latencies comes from; the rows add up to it, `unattributed` among them."""

    first: str
    second: str
    first_ns: float
    second_ns: float
    groups: tuple[Difference, ...]
    parts: tuple[Difference, ...] = field(default=())
    """Empty where a cell's layers cannot be placed."""


def summarise(inferences: Sequence[ProfiledInference]) -> tuple[Layer, ...]:
    """Medians per layer in the order of execution; a layer that an inference lacks counts as 0 there."""
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    first: dict[tuple[str, int], LayerTime] = {}
    for inference in inferences:
        seen: Counter[str] = Counter()
        for layer in inference.layers:
            key = (layer.name, seen[layer.name])
            seen[layer.name] += 1
            times[key].append(layer.time_ns)
            first.setdefault(key, layer)
    layers = []
    for key, layer in first.items():
        column = times[key] + [0.0] * (len(inferences) - len(times[key]))
        layers.append(
            Layer(
                layer.name, layer.kind, group_of(layer.kind), stats.median(column), min(column), max(column),
                layer.precision, layer.device, layer.kernel, layer.nodes, layer.module,
            )
        )  # fmt: skip
    return tuple(layers)


def typical(inferences: Sequence[ProfiledInference]) -> ProfiledInference:
    """The inference whose latency is nearest to the median."""
    middle = stats.median([inference.latency_ns for inference in inferences])
    return min(inferences, key=lambda inference: abs(inference.latency_ns - middle))


def totals(profile: Profile, name: Callable[[Layer], str]) -> tuple[Total, ...]:
    """Time per `name` and precision, the largest first."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    for layer in profile.layers:
        sums[name(layer), layer.precision].append(layer.time_ns)
    whole = profile.layers_ns or 1.0
    rows = [Total(key[0], key[1], len(t), sum(t), sum(t) / whole) for key, t in sums.items()]
    return tuple(sorted(rows, key=lambda row: -row.time_ns))


def gap(first: Profile, second: Profile) -> Gap:
    """Where the latency of `second` differs from that of `first`, the largest difference first."""
    groups = _differences(first, second, lambda layer: layer.group)
    placed = all(any(layer.part for layer in profile.layers) for profile in (first, second))
    parts = _differences(first, second, lambda layer: layer.part or "(no module)") if placed else ()
    return Gap(first.key, second.key, first.latency_ns, second.latency_ns, groups, parts)


def _differences(first: Profile, second: Profile, name: Callable[[Layer], str]) -> tuple[Difference, ...]:
    sides = [_sums(profile, name) for profile in (first, second)]
    whole = second.latency_ns - first.latency_ns
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = (side.get(key, 0.0) for side in sides)
        rows.append(Difference(key, a, b, (b - a) / whole if whole else None))
    return tuple(sorted(rows, key=lambda row: -abs(row.difference_ns)))


def _sums(profile: Profile, name: Callable[[Layer], str]) -> Mapping[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for layer in profile.layers:
        sums[name(layer)] += layer.time_ns
    return {**sums, UNATTRIBUTED: profile.unattributed_ns}
