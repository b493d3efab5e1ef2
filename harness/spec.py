"""A plan as a person writes it: a YAML file or the command line, checked as a whole, every fault with its place."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from harness import units
from harness.errors import PlanInvalid
from harness.model import Precision
from harness.plan_file import line_of
from harness.preprocess import MOST_CROP

M = TypeVar("M", bound=BaseModel)


def _quantity(read: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


Seconds = Annotated[float, _quantity(units.seconds), Field(gt=0)]
Joules = Annotated[float, _quantity(units.joules), Field(gt=0)]
Share = Annotated[float, _quantity(units.fraction), Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Takes no key that it does not know, and is never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BackboneSpec(Strict):
    """One backbone: a timm name, wildcard or ONNX path, with what differs from the plan's common settings."""

    name: str = Field(min_length=1)
    weights: str | None = None
    input_size: int | None = Field(default=None, ge=8, le=8192)
    features_only: bool = False
    seed: int = 0


class RuntimeSpec(Strict):
    """One runtime with options; `device` and `precisions` replace the plan's for it, `python` Backbench's interpreter."""

    name: str
    options: dict[str, JsonValue] = {}
    device: str | None = None
    precisions: tuple[Precision, ...] | None = None
    python: str = ""


class RulesSpec(Strict):
    """How long and how carefully to measure; see `harness.record.Rules`."""

    budget: Seconds = 10.0
    target: Share = 0.02
    burst: Seconds = 0.15
    min_rounds: int = Field(default=10, ge=2)
    min_inferences: int = Field(default=3, ge=1)
    processes: int = Field(default=1, ge=1, le=100)
    builds: int = Field(default=1, ge=1, le=20)
    seed: int = 0
    control: bool = False
    wait: Annotated[float, _quantity(units.seconds), Field(ge=0)] = 20.0
    patience: Seconds = 60.0


def _numbers(value: Any) -> Any:
    """A single number stands for every channel's; `0.485,0.456,0.406` is how it is typed."""
    if isinstance(value, str):
        return tuple(float(word) for word in value.split(","))
    return (value,) if isinstance(value, (int, float)) else value


Mean = Annotated[float, Field(allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DataConfigSpec(Strict):
    """How images are prepared in place of the backbone's own data config; see `harness.preprocess.DataConfig`."""

    mean: Annotated[tuple[Mean, ...] | None, BeforeValidator(_numbers)] = None
    std: Annotated[tuple[Deviation, ...] | None, BeforeValidator(_numbers)] = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"] | None = None
    crop_pct: float | None = Field(default=None, gt=0, le=MOST_CROP)
    crop_mode: Literal["center", "border", "squash"] | None = None


class CalibrationSpec(Strict):
    """What quantisers watch; see `harness.model.Calibration`."""

    folder: str = ""
    images: int = Field(default=64, ge=1, le=100_000)
    seed: int = 1_000_003
    config: DataConfigSpec = DataConfigSpec()


class ToleranceSpec(Strict):
    """Limits of one precision that differ from the defaults of `harness.verify`."""

    rel_l2: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    median_rel_l2: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    cosine: float | None = Field(default=None, ge=-1, le=1)
    top1_agreement: float | None = Field(default=None, ge=0, le=1)
    max_abs: float | None = Field(default=None, gt=0, allow_inf_nan=False)


def _named(value: Any) -> Any:
    """A bare string stands for an entry of that name."""
    return {"name": value} if isinstance(value, str) else value


class Spec(Strict):
    """A whole plan."""

    name: str = Field(default="plan", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    backbones: tuple[Annotated[BackboneSpec, BeforeValidator(_named)], ...] = Field(min_length=1)
    runtimes: tuple[Annotated[RuntimeSpec, BeforeValidator(_named)], ...] = ()
    precisions: tuple[Precision, ...] = ("fp32",)
    batches: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = (1,)
    devices: tuple[str, ...] = ("cpu",)
    threads: int = Field(default=0, ge=0)
    cpus: str = ""
    weights: str = "random"
    input_size: int = Field(default=0, ge=0, le=8192)
    baseline: str = ""
    calibration: CalibrationSpec = CalibrationSpec()
    exporters: dict[str, dict[str, JsonValue]] = {}
    tolerances: dict[Precision, ToleranceSpec] = {}
    rules: RulesSpec = RulesSpec()


def check(data: Mapping[str, Any], source: str = "", content: str = "") -> Spec:
    """The plan in `data`. Raises `PlanInvalid` with every fault, and the line of `content` it stands in."""
    return check_as(Spec, data, source, content)


def check_as(kind: type[M], data: Mapping[str, Any], source: str = "", content: str = "") -> M:
    """`data` as an instance of `kind`. Raises `PlanInvalid` as `check` does."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        found = error.errors()
        found.sort(key=lambda e: line_of(content, e["loc"]))
        faults = tuple(
            _fault(kind, e["loc"], e["msg"], e["input"], content, source) for e in found if not _follows(e, found)
        )
        raise PlanInvalid(f"{source or 'the plan'} has {_count(len(faults))}", faults=faults) from error


def _count(number: int) -> str:
    return "a mistake" if number == 1 else f"{number} mistakes"


def _follows(one: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list is only too short because its faulty items, which have faults of their own, were not counted."""
    place = one["loc"]
    return one["type"] == "too_short" and any(e["loc"][: len(place)] == place for e in found if e is not one)


def _fault(
    kind: type[BaseModel], location: Sequence[str | int], message: str, given: object, content: str, source: str
) -> str:
    where = ".".join(str(part) for part in location)
    line = line_of(content, location)
    place = f"{source}:{line}: {where}" if line else where
    message = message.removeprefix("Value error, ")
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    if message.startswith("Extra inputs"):
        message = f"unknown key{_similar(kind, location)}"
    shown = "" if isinstance(given, (dict, list)) or repr(given) in message else f" (given: {given!r})"
    return f"{place}: {message}{shown}"


_WORDS = {
    "Input should be a valid tuple": "it should be a list, such as [a, b]",
    "Tuple should have at least 1 item after validation, not 0": "it is empty",
    "Field required": "it is missing",
}
"""Pydantic's words for what is no Python to who wrote the file."""


def _similar(kind: type[BaseModel], location: Sequence[str | int]) -> str:
    for part in location[:-1]:
        if isinstance(part, str) and part in kind.model_fields:
            kind = _inner(kind.model_fields[part].annotation) or kind
    inner = {name: _inner(field.annotation) for name, field in kind.model_fields.items()}
    if below := [name for name, held in inner.items() if held and location[-1] in held.model_fields]:
        return f"; it belongs under `{below[0]}:`"
    near = difflib.get_close_matches(str(location[-1]), kind.model_fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(kind.model_fields)}"


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The class of settings that a field holds, alone, in a tuple or annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner(part)) is not None), None)
