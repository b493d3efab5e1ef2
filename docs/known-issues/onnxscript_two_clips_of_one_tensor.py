"""onnxscript's optimiser loses a bound where one tensor is clipped twice: the exported file is not valid ONNX.

`Max(Min(x, high), low)` with constant bounds becomes `Clip`, whose bounds are new initialisers named after `x`. A second
clip of the same `x` makes initialisers of the same names, and those of one of the two are in the graph no longer.
"""

import onnx
import torch


class TwoClips(torch.nn.Module):
    """Clips its input twice, with bounds that are buffers."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in {"a": -1.0, "b": 1.0, "c": -2.0, "d": 2.0}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` clipped to [-1, 1], times `x` clipped to [-2, 2]."""
        return torch.clamp(x, self.a, self.b) * torch.clamp(x, self.c, self.d)


for optimize in (False, True):
    program = torch.onnx.export(TwoClips(), (torch.randn(2, 3),), dynamo=True, verbose=False, optimize=optimize)
    held = set(program.model.graph.initializers) | {value.name for value in program.model.graph.inputs}
    made = {value.name for node in program.model.graph for value in node.outputs}
    used = {value.name for node in program.model.graph for value in node.inputs if value is not None}
    try:
        onnx.checker.check_model(program.model_proto)
        said = "valid ONNX"
    except onnx.checker.ValidationError as error:
        said = str(error).splitlines()[0]
    print(f"optimize={optimize}: used and defined nowhere: {sorted(used - made - held)}; {said}")
