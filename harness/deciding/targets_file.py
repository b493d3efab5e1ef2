"""A targets file: which cells have to keep which limits, checked as a whole, every fault with its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from harness import device_names, plan_file, registry, spec, units
from harness.deciding.limits import Limit
from harness.errors import PlanInvalid
from harness.intervals import PERCENTILES
from harness.model import Backbone, Cell, Precision
from harness.spec import Joules, RulesSpec, Strict

_NS = 1e9


def _percentiles(value: Any) -> Any:
    """A bare time limits the median."""
    return {"median": value} if isinstance(value, (str, int, float)) else value


def _known_percentile(name: str) -> str:
    if name not in PERCENTILES:
        raise ValueError(f"{name!r} is not one of {', '.join(PERCENTILES)}")
    return name


def _limit(read: Callable[[str], float]) -> BeforeValidator:
    """A quantity that has to say its unit, so that a bare number, which YAML reads itself, is refused too."""
    number = (str, int, float)
    return BeforeValidator(lambda v: read(str(v)) if isinstance(v, number) and not isinstance(v, bool) else v)


Seconds = Annotated[float, _limit(units.limit_seconds), Field(gt=0)]
Bytes = Annotated[int, _limit(units.limit_size), Field(gt=0)]
Drop = Annotated[float, _limit(units.points), Field(ge=0, lt=1)]
Percentiles = Annotated[
    dict[Annotated[str, BeforeValidator(_known_percentile)], Seconds],
    BeforeValidator(_percentiles),
    Field(min_length=1),
]
Positive = Annotated[float, Field(gt=0)]


class LimitsSpec(Strict):
    """The limits of a target; `throughput` and `speedup` are the least that is allowed, all others the most."""

    latency: Percentiles | None = None
    end_to_end: Percentiles | None = None
    throughput: Positive | None = None
    speedup: Positive | None = None
    first_inference: Seconds | None = None
    load: Seconds | None = None
    memory: Bytes | None = None
    device_memory: Bytes | None = None
    artifact_size: Bytes | None = None
    accuracy_drop: Drop | None = None
    energy: Joules | None = None

    @model_validator(mode="after")
    def _some(self) -> LimitsSpec:
        if not self.model_fields_set:
            raise ValueError(f"no limit is given; known: {', '.join(type(self).model_fields)}")
        if empty := [
            name for name in type(self).model_fields if name in self.model_fields_set and getattr(self, name) is None
        ]:
            raise ValueError(f"{', '.join(empty)}: no value is given")
        return self


class DefaultsSpec(Strict):
    """What targets say of their cell; a target's own words come before the file's `defaults`."""

    runtime: str = ""
    device: str = "cpu"
    precision: Precision = "fp32"
    batch: int = Field(default=1, ge=1, le=65536)
    threads: int | None = Field(default=None, ge=1)
    weights: str | None = None
    input_size: int | None = Field(default=None, ge=8, le=8192)
    python: str | None = None


class TargetSpec(DefaultsSpec):
    """One target: a backbone (timm name, wildcard or ONNX file) in one runtime, and its limits."""

    backbone: str = Field(min_length=1)
    options: dict[str, JsonValue] = Field(default_factory=dict)
    limits: LimitsSpec

    @model_validator(mode="after")
    def _has_runtime(self) -> TargetSpec:
        if not self.runtime:
            raise ValueError("no runtime: give `runtime: ort_cpu` here or under `defaults`")
        return self


class TargetsSpec(Strict):
    """A whole targets file."""

    name: str = Field(default="targets", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    defaults: DefaultsSpec = DefaultsSpec()
    targets: tuple[TargetSpec, ...] = Field(min_length=1)
    rules: RulesSpec = RulesSpec(target=0.0)
    """For measuring on the spot: no early stop unless the file says so, because a speed-up is not what is judged."""


@dataclass(frozen=True)
class Target:
    """A cell (or the cells of a wildcard) with limits."""

    asked: TargetSpec
    limits: tuple[Limit, ...]
    line: int

    @property
    def title(self) -> str:
        """`resnet50 ort_cpu fp32 b1`."""
        return f"{self.asked.backbone} {_cell_title(self.asked)}"


@dataclass(frozen=True)
class Targets:
    """A checked targets file."""

    name: str
    source: str
    targets: tuple[Target, ...]
    rules: RulesSpec


def read(source: str) -> Targets:
    """The targets in a YAML file. Raises `PlanInvalid` with every fault, each with its line."""
    try:
        content = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise PlanInvalid(
            f"the targets file {source} cannot be read: {why}", "see: backbench validate --help"
        ) from error
    data = _with_defaults(
        plan_file.mapping(source, content, "a targets file is a mapping (`targets:`, `defaults:`, `rules:`)")
    )
    checked = spec.check_as(TargetsSpec, data, source, content)
    targets = [_target(i, asked, content) for i, asked in enumerate(checked.targets)]
    _check_runtimes(source, targets)
    return Targets(checked.name, source, tuple(targets), checked.rules)


def _with_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """Every target with the defaults for what it does not say; what is no mapping stays, for the check to report."""
    defaults, listed = data.get("defaults"), data.get("targets")
    known = {k: v for k, v in defaults.items() if k in DefaultsSpec.model_fields} if isinstance(defaults, dict) else {}
    rules = data.get("rules")
    merged = dict(data)
    if isinstance(rules, dict):
        merged["rules"] = {"target": 0.0, **rules}
    if known and isinstance(listed, list):
        valid = _valid_defaults(known)
        merged["targets"] = [{**valid, **entry} if isinstance(entry, dict) else entry for entry in listed]
    return merged


def _valid_defaults(known: Mapping[str, Any]) -> dict[str, Any]:
    """A fault of the defaults is reported once, where it stands, and not again for every target."""
    kept = {}
    for name, value in known.items():
        try:
            DefaultsSpec.model_validate({name: value})
        except ValueError:
            value = {"runtime": "?"}.get(name, DefaultsSpec.model_fields[name].default)
        kept[name] = value
    return kept


def _target(index: int, asked: TargetSpec, content: str) -> Target:
    limits = []
    for name in LimitsSpec.model_fields:
        value = getattr(asked.limits, name)
        if value is None:
            continue
        place = ("targets", index, "limits", name)
        if isinstance(value, dict):
            for percentile, seconds in value.items():
                limits.append(Limit(name, seconds * _NS, percentile, plan_file.line_of(content, (*place, percentile))))
        else:
            limits.append(Limit(name, float(value), "", plan_file.line_of(content, place)))
    return Target(asked, tuple(limits), plan_file.line_of(content, ("targets", index)))


def _check_runtimes(source: str, targets: Sequence[Target]) -> None:
    faults = []
    for target in targets:
        asked = target.asked
        try:
            registry.check_runtime_options(asked.runtime, asked.options)
            device_names.check(device_names.numbered(asked.device))  # `cuda` means every `cuda:N` of a run
        except PlanInvalid as error:
            faults.append(f"{source}:{target.line}: {error.message}; {error.hint}")
    if faults:
        count = "a mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
        raise PlanInvalid(f"{source} has {count}", faults=tuple(faults))


def _cell_title(asked: TargetSpec) -> str:
    options: dict[str, Any] = dict(asked.options)
    backbone = Backbone(asked.backbone)
    return Cell(backbone, asked.runtime, asked.precision, asked.batch, asked.device, options=options).title
