"""A convolution whose number of groups is the batch (CondConv) has no ONNX form with a dynamic batch.

Each image has weights of its own, so that timm folds the batch into the channels and convolves in as many groups. ONNX's
Conv takes `group` as a constant of the node, and PyTorch's exporter refuses a symbolic one.
"""

import torch


class ConvPerImage(torch.nn.Module):
    """Convolves every image with its own weights, as CondConv does."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = torch.nn.Parameter(torch.randn(4, 8 * 3))
        self.route = torch.nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, 3, height, width)` to `(batch, 8, height, width)`."""
        batch, channels, height, width = x.shape
        weights = (self.route(x.mean((2, 3))).sigmoid() @ self.experts).view(batch * 8, channels, 1, 1)
        y = torch.nn.functional.conv2d(x.reshape(1, batch * channels, height, width), weights, groups=batch)
        return y.view(batch, 8, height, width)


for shapes in (None, ({0: torch.export.Dim("batch")},)):
    said = "exported"
    try:
        torch.onnx.export(
            ConvPerImage().eval(), (torch.randn(2, 3, 8, 8),), dynamo=True, verbose=False, dynamic_shapes=shapes
        )
    except torch.onnx.errors.OnnxExporterError as error:
        causes = [error]
        while (deeper := causes[-1].__cause__) is not None:
            causes.append(deeper)
        said = f"{type(causes[-1]).__name__}: {causes[-1]}"
    print(f"{'a dynamic batch' if shapes else 'a fixed batch'}: {said}")
