"""Files that say what to do, as plain data: a plan or targets in YAML, and the line in which each thing stands."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from harness.errors import PlanInvalid

Place: TypeAlias = Callable[[Sequence[str | int]], str]
"""Where a plan's file says something, from its keys: `plan.yaml:4`; empty where the file does not say it."""


def nowhere(keys: Sequence[str | int]) -> str:
    """The place of what comes from no file."""
    return ""


BUILT_IN = ("quickstart", "first-choice")


def read(source: str) -> dict[str, Any]:
    """The data of a plan file or built-in plan, not yet checked, its paths as seen from here. Raises `PlanInvalid`."""
    data = mapping(source, text(source), "a plan is a mapping (`backbones:`, `runtimes:`, …)")
    return data if source in BUILT_IN else _beside(Path(source).parent, data)


def _beside(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """The data with the paths in it as seen from here, that are written as seen from the file's folder."""

    def seen(value: Any) -> Any:
        return str(folder / value) if isinstance(value, str) and value and not value.startswith("~") else value

    def weights(entry: dict[str, Any]) -> dict[str, Any]:
        return {k: seen(v) if k == "weights" and v not in ("random", "pretrained") else v for k, v in entry.items()}

    def model(name: Any) -> Any:
        file = isinstance(name, str) and (name.endswith(".onnx") or ("/" in name and (folder / name).is_file()))
        return seen(name) if file else name

    moved = weights(data)
    if isinstance(listed := data.get("backbones"), list):
        moved["backbones"] = [
            {**weights(entry), **({"name": model(entry["name"])} if "name" in entry else {})}
            if isinstance(entry, dict) else model(entry)
            for entry in listed
        ]  # fmt: skip
    if isinstance(listed := data.get("runtimes"), list):
        moved["runtimes"] = [
            {**entry, "python": seen(entry["python"])}
            if isinstance(entry, dict) and "/" in str(entry.get("python"))
            else entry
            for entry in listed
        ]
    if isinstance(watched := data.get("calibration"), dict) and "folder" in watched:
        moved["calibration"] = {**watched, "folder": seen(watched["folder"])}
    return moved


def mapping(source: str, content: str, form: str) -> dict[str, Any]:
    """The data of a YAML file that holds a mapping; `form` says which. Raises `PlanInvalid`."""
    data = _data(source, content)
    if not isinstance(data, dict):
        what = {type(None): "nothing", list: "a list"}.get(type(data), "a text or number")
        raise PlanInvalid(f"{source}: {form}, and not {what}")
    return data


def text(source: str) -> str:
    """The YAML text of a plan file, or of a built-in plan."""
    if source in BUILT_IN:
        return (resources.files("harness") / "plans" / f"{source}.yaml").read_text(encoding="utf-8")
    path = Path(source)
    if path.is_dir():
        raise PlanInvalid(f"{source} is a folder, and no plan file", "give the YAML file in it")
    if not path.is_file():
        near = difflib.get_close_matches(source, BUILT_IN, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "built-in plans: " + ", ".join(BUILT_IN)
        raise PlanInvalid(f"there is no plan file {source!r}", f"{hint} (a backbone is given with -m)")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanInvalid(f"the plan file {source} cannot be read: {error}") from error


class _OnceEach(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, where YAML's last one would count in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _data(source: str, content: str) -> Any:
    try:
        return yaml.load(content, _OnceEach)
    except yaml.YAMLError as error:
        raise PlanInvalid(f"{source} is not YAML: {error}", "see the plans in the README") from error


def line_of(content: str, location: Sequence[str | int]) -> int:
    """Line (from 1) of the place in a YAML text that `location` leads to, as far as it exists; 0 without a text."""
    if not content:
        return 0
    node = yaml.compose(content, Loader=yaml.SafeLoader)
    if node is None:
        return 0
    line = node.start_mark.line + 1
    for part in location:
        found = _child(node, part)
        if found is None:
            break
        line, node = found
    return int(line)


def _child(node: Any, part: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None
