"""Medians, groups and gaps."""

from __future__ import annotations

import pytest

from harness.explaining import layers
from harness.explaining.layers import Layer, Profile
from harness.model import LayerTime, ProfiledInference
from tests import making


def _inference(*times: tuple[str, float], latency_ns: float = 100.0) -> ProfiledInference:
    return ProfiledInference(latency_ns, tuple(LayerTime(name, "Conv", time_ns) for name, time_ns in times))


def _profile(latency_ns: float, *made: Layer) -> Profile:
    inference = _inference(("a", 1.0))
    return Profile(str(latency_ns), making.FAST, latency_ns, "test", latency_ns, latency_ns * 1.2, 1, made, inference)


def _layer(name: str, kind: str, time_ns: float, *nodes: str, part: str = "") -> Layer:
    return Layer(name, kind, layers.group_of(kind), time_ns, time_ns, time_ns, nodes=nodes, part=part)


def test_a_layer_is_the_median_of_its_times_and_a_repeated_name_is_told_apart() -> None:
    summary = layers.summarise([_inference(("a", n), ("b", 10), ("a", 5 * n)) for n in (1.0, 9.0, 2.0)])
    assert [(layer.name, layer.time_ns) for layer in summary] == [("a", 2.0), ("b", 10.0), ("a", 10.0)]
    assert (summary[0].low_ns, summary[0].high_ns) == (1.0, 9.0)


def test_a_layer_that_most_inferences_lack_counts_nothing() -> None:
    summary = layers.summarise([_inference(("a", 1), ("once", 50)), _inference(("a", 1)), _inference(("a", 1))])
    assert {layer.name: layer.time_ns for layer in summary} == {"a": 1.0, "once": 0.0}


def test_the_typical_inference_is_the_one_at_the_median() -> None:
    inferences = [_inference(latency_ns=ns) for ns in (90.0, 500.0, 100.0)]
    assert layers.typical(inferences).latency_ns == 100.0


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("Conv", "convolution"), ("aten::conv2d", "convolution"), ("FusedConv", "convolution"),
        ("GroupConvolution", "convolution"), ("Convert", "reorder and copy"), ("ReorderInput", "reorder and copy"),
        ("aten::contiguous", "reorder and copy"), ("Cast", "reorder and copy"), ("aten::copy_", "reorder and copy"),
        ("MatMul", "matrix product"), ("aten::linear", "matrix product"), ("FullyConnected", "matrix product"),
        ("aten::scaled_dot_product_attention", "attention"), ("LayerNormalization", "normalise"),
        ("aten::batch_norm", "normalise"), ("MVN", "normalise"), ("aten::relu_", "activation"), ("Gelu", "activation"),
        ("Softmax", "softmax"), ("GlobalAveragePool", "pool and reduce"), ("ReduceMean", "pool and reduce"),
        ("aten::add_", "elementwise"), ("Eltwise", "elementwise"), ("Reshape", "shape"), ("aten::unbind", "shape"),
        ("QuantizeLinear", "quantise"), ("Subgraph", "fused by a compiler"),
        ("fused_native_batch_norm_convolution_relu", "fused by a compiler"), ("Loop", "other"),
    ],
)  # fmt: skip
def test_operators_of_all_runtimes_fall_into_groups(kind: str, group: str) -> None:
    assert layers.group_of(kind) == group


def test_a_gap_adds_up_to_the_difference_of_the_latencies() -> None:
    slow = _profile(
        100.0, _layer("c", "Conv", 60.0, part="layer1"), _layer("n", "aten::batch_norm", 30.0, part="layer1")
    )
    fast = _profile(50.0, _layer("c", "Conv", 40.0, part="layer1"), _layer("r", "ReorderInput", 5.0))
    gap = layers.gap(slow, fast)
    for rows in (gap.groups, gap.parts):
        assert sum(row.difference_ns for row in rows) == pytest.approx(-50.0)
        assert sum(row.share or 0.0 for row in rows) == pytest.approx(1.0)
    differences = {row.name: row.difference_ns for row in gap.groups}
    assert differences == {"normalise": -30.0, "convolution": -20.0, "reorder and copy": 5.0, layers.UNATTRIBUTED: -5.0}
    assert gap.groups[0].name == "normalise", "the largest first"


def test_a_gap_has_no_parts_where_a_runtime_tells_no_modules() -> None:
    placed = _profile(10.0, _layer("c", "Conv", 5.0, part="layer1"))
    assert layers.gap(placed, _profile(9.0, _layer("f", "fused_add", 5.0))).parts == ()


def test_unattributed_time_and_overhead_are_what_is_left() -> None:
    one = _profile(100.0, _layer("c", "Conv", 60.0, "node"), _layer("r", "Reorder", 15.0))
    assert (one.layers_ns, one.unattributed_ns, one.inserted_ns) == (75.0, 25.0, 15.0)
    assert one.overhead == pytest.approx(0.2)
    assert one.mapped == pytest.approx(0.8)
    assert _profile(50.0, _layer("c", "Conv", 60.0)).unattributed_ns == -10.0
