"""What is written and printed as JSON is described, and the descriptions are those of the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from harness import codec, schemas
from harness.cli import cli
from harness.comparing import compare
from harness.comparing.judge import How
from harness.errors import UnknownName
from harness.report import comparison, content, forms
from tests import comparing, making

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "results" / "schema"


def _validator(name: str) -> Any:
    schema = json.loads((KEPT / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _faults(name: str, data: object) -> list[str]:
    return [f"{list(error.path)}: {error.message}" for error in _validator(name).iter_errors(data)]


def _closed(schema: Any) -> Any:
    """The schema with every property required and no other allowed."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _closed(part) for name, part in schema.items()}
    known = schema.get("properties")
    return {**inner, "additionalProperties": False, "required": list(known)} if isinstance(known, dict) else inner


def _misses(name: str, data: object) -> list[str]:
    """What is printed and not described, or described and not printed."""
    validator = jsonschema.Draft202012Validator(_closed(schemas.schema(name)))
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(data)]


def _prints(*words: str) -> Any:
    done = CliRunner().invoke(cli, list(words))
    assert done.exit_code in (0, 1, 2), done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_the_kept_schemas_are_those_of_the_code(name: str) -> None:
    assert (KEPT / f"{name}.schema.json").read_text() == schemas.text(name), (
        "a class that is written as JSON has changed: run `backbench schema --write results/schema`, look at what differs, "
        "and say it in CHANGELOG.md"
    )


def test_no_schema_is_kept_of_what_there_is_no_longer() -> None:
    assert {path.name for path in KEPT.iterdir()} == {f"{name}.schema.json" for name in schemas.SCHEMAS}


def _lines(name: str) -> Iterator[tuple[Path, Any]]:
    for folder in sorted(path.parent for path in (ROOT / "results").glob("*/run.json")):
        yield from ((folder, json.loads(line)) for line in (folder / name).read_text().splitlines())


def test_the_files_of_the_reference_runs_are_as_described() -> None:
    for path in (ROOT / "results").glob("*/run.json"):
        assert _faults("run", json.loads(path.read_text())) == []
    for name, file in (("record", "records.jsonl"), ("samples", "samples.jsonl")):
        validator = _validator(name)
        for folder, data in _lines(file):
            assert validator.is_valid(data), f"{folder}/{file}: {next(validator.iter_errors(data)).message}"


@pytest.mark.parametrize("kind", ["runtimes", "exporters"])
def test_what_list_prints_is_as_described(kind: str) -> None:
    rows = _prints("list", kind, "--json")
    assert rows
    assert _misses(f"list-{kind}", rows) == []


def test_what_validate_and_recommend_print_is_as_described() -> None:
    quickstart = str(ROOT / "results" / "quickstart")
    judged = _prints("validate", str(ROOT / "docs" / "targets.yaml"), quickstart, "--json")
    assert judged["checks"]
    assert _misses("validate", judged) == []
    answer = _prints("recommend", quickstart, "--max-latency", "10ms", "--max-memory", "1GB", "--json")
    assert answer["candidates"]
    assert _misses("recommend", answer) == []


def test_what_report_and_compare_print_is_as_described() -> None:
    head, records, _ = comparing.run("a")
    broken = replace(records[1], outcome="crashed", reason="SIGSEGV", latency={}, speedup={}, trust=None)
    reported = [content.Reported(head, (records[0], broken)), content.Reported(making.run(), ())]
    assert _misses("report", json.loads(forms.as_json(reported))) == []
    found = compare.compare([comparing.measured("a")], [comparing.measured("b", machine=1.2, calm=False)], How())
    assert _misses("compare", json.loads(comparison.as_json(found))) == []


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        ("record", {"key": "x"}, "required"),
        ("samples", {"key": 1, "process": 0, "round": 0, "order": 0, "burst": {"compute_ns": [1]}}, "'key'"),
        ("compare", [], "object"),
        ("list-models", [{"model": None}], "model"),
    ],
)
def test_a_schema_finds_what_is_wrong(name: str, data: object, place: str) -> None:
    assert place in "; ".join(_faults(name, data))


def test_an_older_file_without_a_later_field_is_still_as_described() -> None:
    data = codec.encode(making.record())
    del data["cell"]["python"], data["conditions"]
    assert _faults("record", data) == []


def test_units_and_meanings_stand_in_the_schema() -> None:
    burst = schemas.schema("samples")["$defs"]["Burst"]["properties"]
    assert "discarded inferences included" in burst["seconds"]["description"]


def test_the_command_prints_one_lists_all_and_writes_all(tmp_path: Path) -> None:
    assert _prints("schema", "compare") == schemas.schema("compare")
    listed = CliRunner().invoke(cli, ["schema"]).output
    assert all(name in listed for name in schemas.SCHEMAS)
    CliRunner().invoke(cli, ["schema", "--write", str(tmp_path / "new")])
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in KEPT.iterdir()}


def test_a_mistyped_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownName) as raised:
        schemas.schema("comprae")
    assert "did you mean 'compare'" in raised.value.hint


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(cli, ["schema", "--write", str(tmp_path / "file" / "below")])
    assert "cannot be written" in str(done.exception)
