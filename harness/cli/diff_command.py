"""`backbench diff`: the first layer where two artifacts of one backbone part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.errors import PlanInvalid
from harness.model import PRECISIONS

if TYPE_CHECKING:
    from harness.explaining.divergence import Divergence
    from harness.model import Precision

TIMEOUT_S = 1800.0


@click.command("diff", short_help="Find the first layer where two artifacts of one backbone part.")
@click.argument("files", nargs=-1, metavar="[A.onnx B.onnx]")
@click.option("-m", "--model", metavar="NAME", help="A backbone, exported in two precisions or by two exporters.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), help="With -m; once or twice.")
@click.option("--exporter", "exporters", multiple=True, metavar="NAME", help="With -m; once or twice.")
@click.option("--weights", default="random", show_default=True, metavar="random|pretrained|PATH", help="With -m.")
@click.option("--input-size", type=click.IntRange(8, 8192), help="Height and width in pixels, where that is open.")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), help="Relative L2 error. Default: that of the coarser precision."
)
@click.option("--all", "everything", is_flag=True, help="Show every tensor, not only those around the difference.")
@click.option(
    "--exit-code",
    is_flag=True,
    help="End with 0 where they agree, with 1 where they part, with 2 where an output was compared with none.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    files: tuple[str, ...],
    model: str | None,
    precisions: tuple[Precision, ...],
    exporters: tuple[str, ...],
    weights: str,
    input_size: int | None,
    tolerance: float | None,
    everything: bool,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Compare all intermediate outputs of two ONNX files on the same images, and name the first that differs.

    Outputs are matched by name or place, other tensors by name, else by operator, shape and order. Both files run in ONNX
    Runtime on the CPU with its optimisations off, so that a difference is the file's and not the runtime's.

    \b
      backbench diff good.onnx bad.onnx
      backbench diff -m resnet50 --precision fp32 --precision fp16
      backbench diff -m vit_tiny_patch16_224 --exporter onnx_dynamo --exporter onnx_torchscript
    """
    if bool(model) == bool(files):
        raise PlanInvalid("give two ONNX files, or a backbone with -m", "see: backbench diff --help")
    if model:
        found = _of_model(model, precisions, exporters, weights, input_size, tolerance)
    else:
        if precisions or exporters or weights != "random":
            raise PlanInvalid("--precision, --exporter and --weights go with -m", "leave them out for two files")
        found = _of_files(files, input_size, tolerance)
    _print(found, everything, as_json)
    if exit_code and not found.agree:
        raise click.exceptions.Exit(1 if found.agree is False else 2)


def _of_files(files: Sequence[str], size: int | None, tolerance: float | None) -> Divergence:
    if len(files) != 2:
        raise PlanInvalid(f"two ONNX files are compared, not {len(files)}", "backbench diff A.onnx B.onnx")
    for name in files:
        if not Path(name).is_file():
            raise PlanInvalid(f"there is no ONNX file {name}", "a backbone by its name is given with -m")
    return _compare(Path(files[0]), Path(files[1]), size, tolerance, "")


def _of_model(
    model: str,
    precisions: Sequence[Precision],
    exporters: Sequence[str],
    weights: str,
    size: int | None,
    tolerance: float | None,
) -> Divergence:
    from harness import cache, plan, spec, to_onnx
    from harness.cli.matrix import cache_sources

    kinds: Sequence[Precision] = precisions or ("fp32",)
    names = exporters or ("",)
    if max(len(kinds), len(names)) != 2:
        raise PlanInvalid(
            "two artifacts of the backbone are compared: in two precisions, or by two exporters",
            f"backbench diff -m {model} --precision fp32 --precision fp16",
        )
    kept = cache.Cache(cache.root())
    sources = cache_sources(kept.folder)
    asked = {
        "backbones": [model],
        "weights": weights,
        "runtimes": ["ort_cpu"],
        **({"input_size": size} if size else {}),
    }
    groups = plan.resolve(spec.check(asked), sources).groups
    if len(groups) != 1:
        raise PlanInvalid(f"{model!r} names {len(groups)} backbones", "give one: backbench list models")
    backbone = groups[0].cells[0].backbone
    made = [
        to_onnx.make(backbone, kinds[i % len(kinds)], names[i % len(names)], kept, kept.folder / "logs" / "diff", _tell)
        for i in range(2)
    ]
    (first, reference), (second, _) = made
    return _compare(Path(first.path), Path(second.path), size, tolerance, reference.path)


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _compare(first: Path, second: Path, size: int | None, tolerance: float | None, given: str) -> Divergence:
    from harness import cache, codec
    from harness.explaining.divergence import DEFAULT_SIZE, Divergence
    from harness.launch import Worker

    with Worker(cache.root() / "logs" / "diff.log", name="diff") as worker:
        reply = worker.ask(
            "diverge", TIMEOUT_S, first=str(first.absolute()), second=str(second.absolute()), tolerance=tolerance,
            size=size or DEFAULT_SIZE, given=given,
        )  # fmt: skip
    return codec.decode(Divergence, reply)


def _print(found: Divergence, everything: bool, as_json: bool) -> None:
    if as_json:
        from harness import codec

        click.echo(json.dumps(codec.encode(found), indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from harness.report import diff_text

    diff_text.show(Console(), found, everything)
