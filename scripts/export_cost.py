"""What an export takes beside a bare `torch.onnx.export(dynamo=True)`: seconds, where they go, and peak memory.

    scripts/export_cost [ARCHITECTURE…]      # prints a Markdown table

Each figure is of a fresh process that has imported the libraries; bare and ours alternate, and the quicker of two counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ARCHITECTURES = (
    "resnet50",
    "vit_small_patch16_224",
    "convnext_tiny",
    "swin_tiny_patch4_window7_224",
    "efficientnet_b0",
)
TURNS = 2


def bare(name: str, folder: Path) -> dict[str, float]:
    """torch's exporter alone, on the same model with the same dynamic batch."""
    import timm
    import torch
    from timm.layers import set_exportable

    with set_exportable(True):
        model = timm.create_model(name).eval()
        example = torch.randn(2, *model.pretrained_cfg["input_size"])
        shapes = ({0: torch.export.Dim("batch")},)
        _forget_peak()
        begin = time.perf_counter()
        program = torch.onnx.export(
            model, (example,), dynamo=True, verbose=False, opset_version=20, dynamic_shapes=shapes
        )
        program.save(str(folder / "model.onnx"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"seconds": time.perf_counter() - begin, "peak": _peak(), "bytes": 4.0 * parameters}


def ours(name: str, folder: Path) -> dict[str, float]:
    """The exporter as every run calls it: snapshot loaded, exported, checked, its dynamic batch tried."""
    from exporters import onnx_dynamo
    from harness import backbone, cache
    from harness.model import Backbone, Recipe, Request

    (folder / "timm").mkdir()
    made = backbone.make(Backbone(name), folder / "timm")
    source = cache.seal(made, folder / "timm", "timm", Recipe("timm", ""), 0.0)
    spent: dict[str, float] = {}
    for function in ("load_timm", "onnx_export"):
        setattr(onnx_dynamo, function, _timed(getattr(onnx_dynamo, function), function, spent))
    (folder / "onnx").mkdir()
    _forget_peak()
    begin = time.perf_counter()
    onnx_dynamo.OnnxDynamo().export(source, Request("fp32", None), folder / "onnx")
    return {"seconds": time.perf_counter() - begin, "peak": _peak(), **spent}


def _timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            spent[name] = time.perf_counter() - begin

    return called


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    from harness import usage

    return float(usage.peak_rss_bytes())


def _in_a_process(what: str, name: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, f"--{what}", name, folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    read: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return read


def _alone(what: str, name: str, folder: Path) -> None:
    """One figure, in this process."""
    import warnings

    from harness import torchvision_ops

    warnings.simplefilter("ignore")
    torchvision_ops.declare()
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import torch.onnx  # noqa: F401

    print(json.dumps({"bare": bare, "ours": ours}[what](name, folder)))


def main() -> None:
    """Print the table, or one figure of it."""
    if sys.argv[1:2] in (["--bare"], ["--ours"]):
        _alone(sys.argv[1][2:], sys.argv[2], Path(sys.argv[3]))
        return
    print("| architecture | bare, s | ours, s | ratio | loading | checking | peak, MB | of 4 × fp32 + 1 GB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in sys.argv[1:] or ARCHITECTURES:
        turns = [(_in_a_process("bare", name), _in_a_process("ours", name)) for _ in range(TURNS)]
        least = min((one for one, _ in turns), key=lambda one: one["seconds"])
        mine = min((one for _, one in turns), key=lambda one: one["seconds"])
        allowed = 4 * least["bytes"] + 1e9
        ratio, share = mine["seconds"] / least["seconds"], mine["peak"] / allowed
        spent = f"{mine['load_timm']:.1f} | {mine['onnx_export']:.1f}"
        print(
            f"| {name} | {least['seconds']:.1f} | {mine['seconds']:.1f} | {ratio:.2f} | {spent} "
            f"| {mine['peak'] / 1e6:.0f} | {share:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
