"""onnxscript's rule for two slices that make a split never matches, and takes time by the square of the graph's nodes.

`slice_split_rule` has two output nodes. For every node of the graph its matcher lists all the nodes anew, and tries every
slice as the second one, before it looks whether the first is a slice at all. The first pair that fits is a slice with
itself, which the rule's own check refuses; no other pair is tried.
"""

import time

import onnx_ir
from onnx import parser
from onnxscript.rewriter.rules.common import slice_split_rule

HEAD = '<ir_version: 10, opset_import: ["": 20]>'
BOUNDS = "<int64[1] zero = {0}, int64[1] half = {4}, int64[1] end = {8}, int64[1] last = {1}>"
HALVES = "low = Slice(x, zero, half, last) high = Slice(x, half, end, last)"


def graph(body: str) -> onnx_ir.Model:
    """A model of x, float[2, 8], with the bounds of its halves."""
    return onnx_ir.from_proto(parser.parse_model(f"{HEAD} g (float[2,8] x) => (y) {BOUNDS} {{ {body} }}"))


model = graph(f"{HALVES} y = Sub(low, high)")
replaced = slice_split_rule.apply_to_model(model)
print(f"two halves of [2, 8]: {replaced} replaced, {', '.join(node.op_type for node in model.graph)}")

SLICE = "Slice(v{before}, zero, half, last)"
for nodes in (500, 1000, 2000):
    ops = [SLICE if i % 10 == 0 else "Relu(v{before})" for i in range(1, nodes)]
    chain = " ".join(f"v{i} = {op.format(before=i - 1)}" for i, op in enumerate(ops, 1))
    model = graph(f"v0 = Relu(x) {chain} y = Neg(v{nodes - 1})")
    began = time.process_time()
    slice_split_rule.apply_to_model(model)
    print(f"{nodes} nodes, a tenth of them slices: looked through in {time.process_time() - began:.2f} s")
