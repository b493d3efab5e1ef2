"""The options that say what is measured, and the plan they mean; commands that measure share both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.override import override
from harness.errors import PlanInvalid
from harness.model import PRECISIONS

if TYPE_CHECKING:
    from harness.plan import Sources
    from harness.record import Plan


class Quantity(click.ParamType[float]):
    """A parameter that people type with a unit."""

    def __init__(self, name: str, read: str) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value in the base unit."""
        from harness import units

        if not isinstance(value, str):
            return value
        try:
            return getattr(units, self._read)(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _option_pair(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Mapping[str, dict[str, Any]]:
    """`openvino.hint=THROUGHPUT` pairs as runtime -> option -> value (JSON where it parses as JSON, else text)."""
    import json

    options: dict[str, dict[str, Any]] = {}
    for text in values:
        left, equals, right = text.partition("=")
        runtime, dot, name = left.partition(".")
        if not (equals and dot and runtime and name):
            raise click.BadParameter(f"{text!r} is not RUNTIME.OPTION=VALUE, such as torch_eager.channels_last=true")
        try:
            options.setdefault(runtime, {})[name] = json.loads(right)
        except ValueError:
            options.setdefault(runtime, {})[name] = right
    return options


def _python_pair(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Mapping[str, str]:
    """`tensorrt=trt8/bin/python` as runtime -> path; whether it can run a worker is the plan's to find out."""
    pairs = {text: text.partition("=") for text in values}
    if wrong := [text for text, (runtime, _, path) in pairs.items() if not (runtime and path)]:
        raise click.BadParameter(f"{wrong[0]!r} is not RUNTIME=PATH, such as tensorrt=trt8/bin/python")
    found = [runtime for runtime, _, _ in pairs.values()]
    if twice := [runtime for runtime in found if found.count(runtime) > 1]:
        raise click.BadParameter(f"{twice[0]} has two interpreters: a plan file has an entry for each (docs/edge.md)")
    return {runtime: path for runtime, _, path in pairs.values()}


def _tolerance_pair(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> Mapping[str, dict[str, float]]:
    """`int8.rel_l2=0.2` pairs as precision -> limit -> value; the plan's check knows which there are."""
    limits: dict[str, dict[str, float]] = {}
    for text in values:
        left, _, right = text.partition("=")
        precision, _, name = left.partition(".")
        try:
            limits.setdefault(precision, {})[name] = float(right)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not PRECISION.LIMIT=VALUE, such as int8.rel_l2=0.2") from None
    return limits


def _config_pair(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Mapping[str, str]:
    """`mean=0.5,0.5,0.5` as name -> text; the plan's check knows which names there are, and reads the numbers."""
    pairs = [text.partition("=") for text in values]
    if wrong := [
        text for text, (name, equals, value) in zip(values, pairs, strict=True) if not (name and equals and value)
    ]:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE, such as mean=0.5,0.5,0.5")
    return {name: value for name, _, value in pairs}


def matrix_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is measured; commands that measure share them."""
    for option in reversed(_MATRIX):
        function = option(function)
    return function


python_option = click.option(
    "--python",
    "pythons",
    multiple=True,
    callback=_python_pair,
    metavar="RUNTIME=PATH",
    help="Interpreter of another Python environment for that runtime (tensorrt=trt8/bin/python); may be repeated.",
)

_MATRIX = (
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        metavar="NAME_OR_PATH",
        help="timm name, wildcard ('resnet*') or ONNX file; may be repeated.",
    ),
    click.option(
        "-r",
        "--runtime",
        "runtimes",
        multiple=True,
        metavar="RUNTIME",
        help="Runtime; may be repeated. Default: the common ones that are installed.",
    ),
    python_option,
    click.option(
        "--precision",
        "precisions",
        multiple=True,
        type=click.Choice(PRECISIONS),
        help="May be repeated. Default: fp32.",
    ),
    click.option(
        "--batch",
        "batches",
        multiple=True,
        type=click.IntRange(1, 65536),
        help="Images per inference; may be repeated. Default: 1.",
    ),
    click.option(
        "--device",
        "devices",
        multiple=True,
        metavar="D",
        help="cpu, cuda:0, dla:0, intel-gpu:0, intel-npu, auto, hetero; may be repeated.",
    ),
    click.option(
        "-o",
        "--option",
        "options",
        multiple=True,
        callback=_option_pair,
        metavar="NAME.OPTION=VALUE",
        help="An option of a runtime or an exporter (see: backbench list runtimes, backbench list exporters).",
    ),
    click.option(
        "--calib",
        metavar="FOLDER",
        help="Images that int8 quantisers watch, prepared as the backbone wants them. Default: generated images.",
    ),
    click.option("--calib-images", type=click.IntRange(1), help="How many of them. Default: 64."),
    click.option(
        "--calib-config",
        multiple=True,
        callback=_config_pair,
        metavar="NAME=VALUE",
        help="How they are prepared in place of the backbone's own data config: mean, std, interpolation, crop_pct, "
        "crop_mode (mean=0.5,0.5,0.5); may be repeated.",
    ),
    click.option(
        "--tolerance",
        "tolerances",
        multiple=True,
        callback=_tolerance_pair,
        metavar="PRECISION.LIMIT=VALUE",
        help="How far outputs may be from PyTorch's: rel_l2, median_rel_l2, cosine, top1_agreement, max_abs "
        "(int8.rel_l2=0.2); may be repeated. Defaults: docs/precision.md.",
    ),
    click.option(
        "--threads", type=click.IntRange(1), help="Threads per inference on the CPU. Default: one per physical core."
    ),
    click.option("--cpus", metavar="LIST", help="Pin every worker to these processors (0-3)."),
    click.option("--weights", metavar="random|pretrained|PATH", help="Default: random (seeded)."),
    click.option(
        "--input-size", type=click.IntRange(8, 8192), help="Height and width in pixels. Default: the backbone's own."
    ),
    click.option(
        "--baseline",
        metavar="RUNTIME",
        help="What speed-ups are relative to. Default: torch_eager (ort_cpu for ONNX files).",
    ),
    click.option(
        "--budget", type=Quantity("TIME", "seconds"), help="Measuring time per cell (10s, 1min). Default: 10s."
    ),
    click.option(
        "--target",
        type=Quantity("PCT", "fraction"),
        help="Stop a group once every speed-up is known this well. Default: 2%.",
    ),
    click.option(
        "--wait",
        type=Quantity("TIME", "seconds"),
        help="How long a group may wait for a hypervisor to bring the processors together again. Default: 20s.",
    ),
    click.option(
        "--processes", type=click.IntRange(1, 100), help="Fresh processes per cell, sharing the budget. Default: 1."
    ),
    click.option(
        "--builds",
        type=click.IntRange(1, 20),
        help="Build every TensorRT engine so often, without a timing cache, and report how far builds differ. Default: 1.",
    ),
    click.option(
        "--control", is_flag=True, default=None, help="Measure the baseline twice (A/A): the ratio must be 1."
    ),
    click.option("--seed", type=int, help="Seed of the order of bursts."),
    click.option(
        "--patience",
        type=Quantity("TIME", "seconds"),
        help="How long a worker may be silent beyond what is expected. Default: 60s.",
    ),
)


def blank() -> dict[str, Any]:
    """The matrix that no option was given for."""

    def nothing() -> None: ...

    options: list[click.Option] = matrix_options(nothing).__click_params__  # type: ignore[attr-defined]
    pairs = {option.name for option in options if option.callback is not None}  # each collects a mapping
    return {str(o.name): {} if o.name in pairs else () if o.multiple else None for o in options}


def resolve(source: str | None, matrix: Mapping[str, Any]) -> Plan:
    """The plan of a file (or built-in name) with what the command line adds or replaces."""
    from harness import cache, plan, plan_file, spec

    if not source and not matrix["models"]:
        raise PlanInvalid("nothing to measure", "give a plan (backbench run quickstart) or a model (-m resnet50)")
    content = plan_file.text(source) if source else ""
    data = plan_file.read(source) if source else {"name": "run"}
    merged = override(data, matrix)

    def place(keys: Sequence[str | int]) -> str:
        key = str(keys[0])
        said = data.get(key)
        return f"{source}:{plan_file.line_of(content, keys)}" if content and said and said == merged.get(key) else ""

    return plan.resolve(spec.check(merged, source or "", content), cache_sources(cache.root()), place)


def cache_sources(folder: Path) -> Sources:
    """Where names are looked up: timm's catalog, kept in the cache, and ONNX files, looked into by a worker."""
    import functools

    from harness import catalog, plan
    from harness.launch import Worker

    def inspect(path: Path) -> Mapping[str, Any]:
        with Worker(folder / "logs" / "inspect.log", name="inspect") as worker:
            return dict(worker.ask("inspect", 300.0, path=str(path)))

    return plan.Sources(functools.cache(lambda: catalog.load(folder)), inspect)
