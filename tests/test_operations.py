"""Operations of single operators, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.roofline.operations import Node, Operations, Shape, operations


def _of(kind: str, inputs: Sequence[Shape | None], output: Shape, **attributes: Any) -> tuple[int, int] | None:
    found = operations(Node(kind, inputs, [output], attributes))
    return None if found is None else (found.multiply_add, found.other)


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "attributes", "expected"),
    [
        # 2 · output elements · taps, and the bias once per element.
        ("Conv", [(1, 3, 8, 8), (16, 3, 3, 3), (16,)], (1, 16, 8, 8), {}, (2 * 1024 * 27, 1024)),
        ("Conv", [(1, 16, 8, 8), (16, 1, 3, 3)], (1, 16, 8, 8), {"group": 16}, (2 * 1024 * 9, 0)),
        ("QLinearConv", [(1, 3, 8, 8), (), (), (16, 3, 1, 1), (), (), (), ()], (1, 16, 8, 8), {}, (2 * 1024 * 3, 0)),
        ("ConvTranspose", [(2, 8, 4, 4), (8, 4, 2, 2)], (2, 4, 8, 8), {}, (2 * 256 * 16, 0)),
        ("Gemm", [(5, 7), (3, 7), (3,)], (5, 3), {"transB": 1}, (2 * 15 * 7, 15)),
        ("Gemm", [(7, 5), (7, 3)], (5, 3), {"transA": 1}, (2 * 15 * 7, 0)),
        ("MatMul", [(4, 2, 5, 7), (7, 3)], (4, 2, 5, 3), {}, (2 * 120 * 7, 0)),
        ("MatMul", [(7,), (7,)], (), {}, (14, 0)),
        ("FusedMatMul", [(7, 5), (7, 3)], (5, 3), {"transA": 1}, (2 * 15 * 7, 0)),
        ("Einsum", [(2, 5, 7), (2, 7, 3)], (2, 5, 3), {"equation": "bij, bjk -> bik"}, (2 * 2 * 5 * 7 * 3, 0)),
        ("Einsum", [(2, 4, 5, 7), (7, 3)], (2, 4, 5, 3), {"equation": "...ij,jk->...ik"}, (2 * 8 * 5 * 7 * 3, 0)),
        ("Einsum", [(5, 7)], (5,), {"equation": "ij->i"}, (0, 35)),
        ("Einsum", [(5, 7)], (7, 5), {"equation": "ij->ji"}, (0, 0)),
        ("Einsum", [(5,), (7,)], (5, 7), {"equation": "i,j->ij"}, (0, 35)),
        ("Softmax", [(2, 10)], (2, 10), {}, (0, 100)),
        ("LayerNormalization", [(2, 10), (10,), (10,)], (2, 10), {}, (0, 140)),
        ("Gelu", [(10,)], (10,), {}, (0, 50)),
        ("Gelu", [(10,)], (10,), {"approximate": "tanh"}, (0, 90)),
        ("ReduceMean", [(2, 3, 4, 4)], (2, 3, 1, 1), {}, (0, 96)),
        ("MaxPool", [(1, 2, 8, 8)], (1, 2, 4, 4), {"kernel_shape": [3, 3]}, (0, 32 * 9)),
        ("Resize", [(1, 2, 4, 4), None, (4,)], (1, 2, 8, 8), {"mode": "nearest"}, (0, 0)),
        ("Resize", [(1, 2, 4, 4), None, (4,)], (1, 2, 8, 8), {"mode": "linear"}, (0, 2 * 128 * 4)),
        ("Resize", [(1, 2, 4, 4), None, (4,)], (1, 2, 8, 8), {"mode": "cubic"}, (0, 2 * 128 * 16)),
        ("Sum", [(4,), (4,), (4,)], (4,), {}, (0, 8)),
        ("Transpose", [(2, 3)], (3, 2), {}, (0, 0)),
    ],
)  # fmt: skip
def test_an_operator_takes_what_its_definition_says(
    kind: str, inputs: Sequence[Shape | None], output: Shape, attributes: Any, expected: tuple[int, int]
) -> None:
    assert _of(kind, inputs, output, **attributes) == expected


def test_attention_is_the_same_in_every_form() -> None:
    """Batch 2, 4 heads of 8, 10 queries, 12 keys: two products of scores with depth, six steps on each score."""
    expected = (2 * 2 * 4 * 10 * 12 * 16, 6 * 2 * 4 * 10 * 12)
    four = [(2, 4, 10, 8), (2, 4, 12, 8), (2, 4, 12, 8)]
    three = [(2, 10, 32), (2, 12, 32), (2, 12, 32)]
    assert _of("Attention", four, (2, 4, 10, 8)) == expected
    assert _of("Attention", three, (2, 10, 32), q_num_heads=4, kv_num_heads=4) == expected
    assert _of("MultiHeadAttention", three, (2, 10, 32), num_heads=4) == expected
    past = [*four[:1], (2, 4, 2, 8), (2, 4, 2, 8), None, (2, 4, 10, 8), (2, 4, 10, 8)]
    assert _of("Attention", past, (2, 4, 10, 8)) == expected
    projected = _of("com.microsoft.Attention", [(2, 10, 32), (32, 96), (96,)], (2, 10, 32), num_heads=4)
    assert projected == (2 * 2 * 10 * 32 * 96 + 2 * 2 * 4 * 10 * 10 * 16, 6 * 2 * 4 * 10 * 10 + 2 * 10 * 96)


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "attributes"),
    [
        ("NoSuchOperator", [(1,)], (1,), {}),
        ("Conv", [(1, 3, 8, 8), None], (1, 16, 8, 8), {}),
        ("Einsum", [(2, 3), (3, 4), (4, 5)], (2, 5), {"equation": "ij,jk,kl->il"}),
        ("Einsum", [(2, 3)], (2,), {"equation": "ijk->i"}),
        ("MultiHeadAttention", [(2, 10, 4, 3, 8), None, None], (2, 10, 32), {"num_heads": 4}),
        ("MaxPool", [(1, 2, 8, 8)], (1, 2, 4, 4), {}),
        ("Resize", [(1, 2, 8, 8)], (1, 2, 4, 4), {"mode": "linear", "antialias": 1}),
    ],
)
def test_what_is_not_known_is_never_zero(
    kind: str, inputs: Sequence[Shape | None], output: Shape, attributes: Any
) -> None:
    assert _of(kind, inputs, output, **attributes) is None


def test_nothing_is_counted_unless_it_is_said() -> None:
    assert Operations() == Operations(0, 0)
