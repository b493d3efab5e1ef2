"""The committed table: what is in it, that it can be added to, and that it is honest."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.coverage import table
from harness.coverage.record import LIMIT, Ran
from harness.errors import StoreFailed
from tests.coverage import making

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "coverage"


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = table.write(tmp_path, [making.covered(), making.covered(part="features", outputs=5)], 1371)
    assert table.read(tmp_path) == written
    row = written.rows["resnet18"]
    assert set(row) == set(table.COLUMNS)
    assert (row["exporter"], row["batch"], row["ort_cpu"], row["ort_cpu_rel_l2"]) == (
        "onnx_dynamo",
        "dynamic",
        "verified",
        "2.5e-07",
    )
    assert row["features_outputs"] == "5"
    assert written.counts() == {"tried": 1, "dynamic": 1, "verified": 1, "ort_cpu": 1, "openvino": 1}


def test_a_second_sitting_adds_to_it(tmp_path: Path) -> None:
    table.write(tmp_path, [making.covered()], 1371)
    newer = making.covered(
        replace(making.RESNET, name="resnet34"), versions={**making.VERSIONS, "torch": "3.0"}, export=making.FIXED
    )
    both = table.write(tmp_path, [newer], 1371)
    assert list(both.rows) == ["resnet18", "resnet34"]
    assert [row["made_with"] for row in both.rows.values()] == ["v1", "v2"]
    assert both.rows["resnet34"]["batch"] == "1"
    assert both.causes() == {"export: dynamic shape": 1}
    assert both.counts()["dynamic"] == 1
    again = table.write(tmp_path, [replace(newer, architecture=making.RESNET)], 1371)
    assert list(again.environments) == ["v2"], "versions that made nothing of it any more are forgotten"


def test_new_versions_are_not_called_as_older_ones_that_still_have_rows(tmp_path: Path) -> None:
    both = [making.covered(), making.covered(replace(making.RESNET, name="resnet34"))]
    for torch in ("3.0", "4.0"):
        newer = [replace(one, versions={**making.VERSIONS, "torch": torch}) for one in both]
        written = table.write(tmp_path, both if torch == "3.0" else newer[:1], 1371)
        written = table.write(tmp_path, newer, 1371) if torch == "3.0" else written
    torches = {name: written.environments[row["made_with"]]["torch"] for name, row in written.rows.items()}
    assert torches == {"resnet18": "4.0", "resnet34": "3.0"}


def test_an_older_record_does_not_replace_a_row(tmp_path: Path) -> None:
    table.write(tmp_path, [making.covered(day="2026-05-02")], 3)
    failed = making.covered(day="2026-05-01", cause="memory", export=None, ran=())
    assert table.write(tmp_path, [failed], 3).rows["resnet18"]["ort_cpu"] == table.VERIFIED
    failed = replace(failed, day="2026-05-02")
    assert table.write(tmp_path, [failed], 3).rows["resnet18"]["ort_cpu"] == "memory"


@pytest.mark.parametrize("changes", [{"device": "intel-gpu:0"}, {"runtimes": ("ort_cpu",), "ran": making.RAN[:1]}])
def test_a_row_is_of_the_cpu_and_of_all_its_runtimes(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert not table.write(tmp_path, [making.covered(**changes)], 3).rows


def test_what_did_not_get_to_a_runtime_has_the_reason_there_too(tmp_path: Path) -> None:
    failed = making.covered(cause="export: unsupported op", reason="No ONNX function " * 30, export=None, ran=())
    row = table.write(tmp_path, [failed], 3).rows["resnet18"]
    assert row["ort_cpu"] == row["openvino"] == row["cause"] == "export: unsupported op"
    assert len(row["reason"]) <= 160
    assert row["ort_cpu_rel_l2"] == ""


def test_an_error_over_the_limit_is_kept_beside_its_reason(tmp_path: Path) -> None:
    far = Ran("ort_cpu", "parity: error over the limit", "logits: 0.1", (1,), 0.1)
    row = table.write(tmp_path, [making.covered(ran=(far, making.RAN[1]))], 3).rows["resnet18"]
    assert (row["ort_cpu"], row["ort_cpu_rel_l2"], row["openvino"]) == (far.cause, "1.0e-01", "verified")


@pytest.mark.parametrize("damage", ["", "a,b\n1,2\n"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, damage: str) -> None:
    table.write(tmp_path, [making.covered()], 3)
    if damage:
        (tmp_path / table.TABLE).write_text(damage)
    else:
        (tmp_path / table.MANIFEST).unlink()
    with pytest.raises(StoreFailed, match="--table"):
        table.read(tmp_path)


def test_the_committed_table_says_what_its_rows_say() -> None:
    kept = table.read(COMMITTED)
    manifest = json.loads((COMMITTED / table.MANIFEST).read_text())
    for part in ("classifier", "features"):
        assert manifest[part] == dict(kept.counts(part))
    assert list(kept.rows) == sorted(kept.rows)
    assert 0 < len(kept.rows) <= kept.total
    for row in kept.rows.values():
        for prefix in ("", "features_"):
            for runtime in table.RUNTIMES:
                if row[f"{prefix}{runtime}"] == table.VERIFIED:
                    assert float(row[f"{prefix}{runtime}_rel_l2"]) <= LIMIT, row["architecture"]
                    assert row[f"{prefix}exporter"], row["architecture"]
            assert not row[f"{prefix}day"] or row[f"{prefix}made_with"] in kept.environments


def test_the_readme_gives_the_figures_of_the_committed_table() -> None:
    said = " ".join((ROOT / "README.md").read_text().split())
    sentence = table.read(COMMITTED).sentence()
    assert sentence in said, f"the table has changed; the README has to say: {sentence}"


def test_every_column_is_described_in_the_readme_of_results() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    described = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text.partition("## The coverage table")[2], re.MULTILINE))
    assert described == dict(table.COLUMNS), "copy harness.coverage.table.COLUMNS into results/README.md"


def test_what_is_listed_of_a_model(tmp_path: Path) -> None:
    kept = table.write(tmp_path, [making.covered()], 3)
    listed = kept.listed("resnet18.a1_in1k")
    assert (listed.model, listed.params, listed.batch) == ("resnet18.a1_in1k", 11_689_512, "dynamic")
    assert listed.outcomes == {"ort_cpu": "verified", "openvino": "verified"}
    assert listed.features == {}
    assert kept.listed("unheard").tried == ""


def test_it_knows_how_each_part_came_out_with_the_same_versions(tmp_path: Path) -> None:
    fixed = making.covered(export=making.FIXED)
    features = making.covered(part="features")
    written = table.write(tmp_path, [fixed, features], 1371)
    known = written.known(making.VERSIONS)
    assert known == {fixed.key: fixed.known, features.key: features.known}
    assert known[features.key].verified and known[features.key].runtimes == ("ort_cpu", "openvino")
    assert written.known({"timm": "1.0"}) == known, "fewer libraries than it was made with"
    assert written.known({**making.VERSIONS, "torch": "3.0"}) == {}
