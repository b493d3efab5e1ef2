"""`backbench cost`: operations and bytes of backbones, counted without measuring anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.model import PRECISIONS, Precision

if TYPE_CHECKING:
    from harness.model import Backbone
    from harness.roofline.costs import Cost

_SHOWN = 8


@click.command("cost", short_help="Count parameters, operations and bytes of backbones.")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="NAME_OR_PATH",
    help="timm name, wildcard ('resnet*') or ONNX file; may be repeated.",
)
@click.option("--batch", type=click.IntRange(1, 65536), default=1, show_default=True, help="Images per inference.")
@click.option(
    "--input-size", type=click.IntRange(8, 8192), help="Height and width in pixels. Default: the backbone's own."
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="How wide weights and activations are. Default: as in the file (fp32 for a timm name).",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON: one object per backbone.")
def command(
    models: tuple[str, ...], batch: int, input_size: int | None, precision: Precision | None, as_json: bool
) -> None:
    """Count parameters, floating-point operations and bytes of backbones in their ONNX graph.

    A multiply-add is 2 operations. A backbone that cannot be exported is counted by PyTorch's own counter, which knows
    matrix products and convolutions alone.

    \b
      backbench cost -m resnet50
      backbench cost -m 'convnext_*' --batch 8 --json
      backbench cost -m model.onnx --input-size 320

    Exit codes: 0 all were counted, 1 one could not be, 2 a name or an option is wrong.
    """
    from harness import codec
    from harness.roofline.cost import Counted

    counted = _count(models, batch, input_size or 0, precision)
    if as_json:
        import json

        click.echo(json.dumps([codec.encode(Counted(b.name, cost, why)) for b, cost, why in counted], indent=1))
        return
    for number, (backbone, cost, why) in enumerate(counted):
        if number:
            click.echo()
        _show(backbone, cost, why)


def _count(
    models: Sequence[str], batch: int, input_size: int, precision: Precision | None
) -> list[tuple[Backbone, Cost, str]]:
    """Each backbone with its cost, and why it was not counted in ONNX (empty where it was)."""
    from harness import cache, plan, run, spec
    from harness.cli.matrix import cache_sources
    from harness.memo import Memo
    from harness.model import Cell
    from harness.prepare import countable
    from harness.roofline.distance import Counter

    folder = cache.root()
    data = {"name": "cost", "backbones": list(models), "input_size": input_size}
    backbones = plan.backbones(spec.check(data), cache_sources(folder))
    logs, kept, found = folder / "logs", cache.Cache(folder), []
    with run.alone(folder, _say), Counter(Memo(folder), logs) as counter:
        for backbone in backbones:
            cell = Cell(backbone, plan.ONNX_BASELINE, batch=batch)
            artifact, why = countable(cell, kept, logs, _say)
            cost = counter.count(artifact, batch, backbone.input_size, precision or artifact.precision)
            found.append((backbone, cost, why))
    return found


def _say(text: str) -> None:
    click.echo(text, err=True)


def _show(backbone: Backbone, cost: Cost, why: str) -> None:
    from harness.units import show_bytes, show_count

    click.secho(f"{backbone.name}, batch {cost.batch}", bold=True)
    lines = {
        "parameters": f"{show_count(cost.params)}, {show_bytes(cost.weight_bytes)}",
        "operations": f"{show_count(cost.flops)}FLOP, {show_count(cost.matmul_flops)} of them in matrix "
        "products and convolutions (a multiply-add is 2)",
        "must be moved": f"{show_bytes(cost.compulsory_bytes)}: weights, inputs and outputs",
        "unfused": "not counted"
        if cost.graph_bytes is None
        else f"{show_bytes(cost.graph_bytes)} are moved if no operator is fused",
        "intensity": f"{cost.flops / cost.compulsory_bytes:.3g} FLOP per byte that must be moved",
        "counted in": cost.method + (f", because it cannot be exported: {why}" if why else ""),
        **{f"{name}: not counted": f"{count} nodes" for name, count in {**cost.uncounted, **cost.unshaped}.items()},
    }
    for name, text in lines.items():
        click.echo(f"  {name:<14} {text}")
    _show_operators(cost)


def _show_operators(cost: Cost) -> None:
    from harness.units import show_bytes

    click.echo(f"  {'operator':<22} {'nodes':>6} {'MFLOP':>12} {'share':>7} {'moved':>9}")
    shown = [one for one in cost.operators[:_SHOWN] if one.flops]
    for one in shown:
        moved = "–" if one.bytes_moved is None else show_bytes(one.bytes_moved)
        share = one.flops / cost.flops if cost.flops else 0.0
        click.echo(f"  {one.name:<22} {one.nodes or '–':>6} {one.flops / 1e6:>12.2f} {share:>7.1%} {moved:>9}")
    if left := cost.operators[len(shown) :]:
        flops = sum(one.flops for one in left) / 1e6
        click.echo(f"  {f'{len(left)} others':<22} {sum(one.nodes for one in left):>6} {flops:>12.2f}")
