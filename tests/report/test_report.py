"""A report says the same in every form, and hides no failure."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pandas as pd
from rich.console import Console

from harness import results
from harness.model import Attempt, Backbone, Group
from harness.record import ArtifactNote, Finding, Plan, Record
from harness.report import content, forms, points, text
from tests import making

FAILED = replace(
    making.record(replace(making.FAST, runtime="openvino")),
    outcome="wrong_output", reason="relative L2 error 0.3 is over 0.001",
    hint="look at the exporter", latency={}, speedup={}, trust=None,
)  # fmt: skip
ALL = content.Reported(making.run(), (making.record(making.BASE, 20.0), making.record(), FAILED))


def _screen(reported: content.Reported, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    text.show(console, [reported])
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_screen_shows_cells_failures_and_where_they_come_from() -> None:
    shown = _screen(ALL, 160)
    assert "2.00 [1.98, 2.02]" in shown
    assert "wrong output" in shown
    assert "relative L2 error 0.3" in shown
    assert "look at the exporter" in shown
    assert "over torch_eager fp32 b1" in shown
    assert "weights: random" in shown


def test_a_narrow_screen_keeps_what_matters() -> None:
    lines = _screen(ALL, 80).splitlines()
    assert max(len(line) for line in lines) <= 80
    table = "\n".join(lines[:9])
    assert "2.00 [1.98, 2.02]" in table
    assert "…" not in table
    left = next(line for line in lines if line.startswith("left out for want of room: "))
    assert "p99 ms" in left and "left out" not in _screen(ALL, 200)


def test_a_long_name_folds_and_cuts_no_figure_and_no_verdict() -> None:
    name = "vit_base_patch14_reg4_dinov2_and_more.lvd142m"
    cells = [replace(cell, backbone=replace(making.BACKBONE, name=name)) for cell in (making.BASE, making.FAST)]
    records = tuple(making.record(cell) for cell in cells)
    for width in (60, 80):
        lines = _screen(content.Reported(making.run(), records), width).splitlines()
        table = "\n".join(lines[:10])
        assert "…" not in table and table.count("trusted") == 2
        assert "2.00 [1.98, 2.02]" in table
        assert name in "".join(table.split()), "every letter of it is there"


def test_a_run_that_lacks_cells_says_how_many() -> None:
    missing, whole = making.record(making.BASE), (making.record(making.BASE), making.record(making.FAST))
    cells = tuple(record.cell for record in whole)
    run = making.run(Plan("test", (Group("g", cells, missing.key),), making.plan().rules))
    done = replace(run, finished="2026-11-24T10:10:00+00:00")
    for reported, said in (
        (content.Reported(run, (missing,)), "1 of 2 planned cells has no record (unfinished)"),
        (content.Reported(done, (missing,)), "1 of 2 planned cells has no record"),
        (content.Reported(run, whole), "unfinished: every planned cell has a record"),
        (content.Reported(run, ()), "2 of 2 planned cells have no record (unfinished)"),
    ):
        for shown in (_screen(reported, 160), forms.markdown([reported])):
            assert shown.count(said) == 1, shown
            assert ("latency ms" in shown) == bool(reported.records), "a table without rows says nothing"
    for shown in (_screen(content.Reported(done, whole), 160), forms.markdown([content.Reported(done, whole)])):
        assert "no record" not in shown and "unfinished" not in shown


def test_markdown_is_a_table_and_escapes_what_would_break_it() -> None:
    evil = replace(making.FAST, backbone=replace(making.BACKBONE, name="a|b</script>日本"))
    made = forms.markdown([content.Reported(making.run(), (making.record(evil),))])
    row = next(line for line in made.splitlines() if "日本" in line)
    assert "a\\|b&lt;/script>日本" in row
    assert len(row.replace("\\|", "").split("|")) == len(content.HEADERS) - len(content.OPTIONAL) + 2


def test_csv_has_the_documented_columns() -> None:
    table = pd.read_csv(io.StringIO(forms.csv([ALL])))
    assert list(table.columns) == list(results.COLUMNS)
    assert list(table.outcome) == ["ok", "ok", "wrong_output"]


def test_json_holds_whole_records() -> None:
    data = json.loads(forms.as_json([ALL]))
    assert data[0]["run"]["id"] == "run-test"
    assert [record["outcome"] for record in data[0]["records"]] == ["ok", "ok", "wrong_output"]


def test_a_fallback_exporter_and_a_doubt_are_said() -> None:
    note = ArtifactNote(
        "onnx", "fp32", "0", ("onnx_torchscript",), (Attempt("onnx_dynamo (dynamic batch)", "no such op"),), {}
    )
    doubted = replace(making.record(), artifact=note, findings=(Finding("x", "caution", "it was warm", "cool it"),))
    said = "\n".join(content.remarks([doubted]))
    assert "because onnx_dynamo (dynamic batch) failed: no such op" in said
    assert "caution: it was warm → cool it" in said


def test_an_empty_run_is_shown_as_such() -> None:
    assert "test" in _screen(content.Reported(making.run(), ()), 80)


def test_what_was_refused_stands_last_among_its_backbone_and_is_said_once_for_all() -> None:
    names = ("a", "b", "c", "d")
    cells = [replace(making.FAST, backbone=replace(making.BACKBONE, name=name)) for name in names]
    refused = [
        replace(making.record(replace(cell, precision="fp16")), outcome="unsupported", reason="no kernels", hint="add one",
                latency={}, speedup={}, trust=None)
        for cell in cells
    ]  # fmt: skip
    records = [*refused, *map(making.record, cells)]
    rows = content.rows(records)
    assert [row[0] for row in rows] == [name for name in names for _ in range(2)]
    assert [row[-1] for row in rows[:2]] == ["trusted", "unsupported"]
    title = refused[0].cell.title
    assert content.remarks(records)[0] == f"a, b, c and 1 more {title}: unsupported: no kernels → add one"


def test_an_exporters_option_is_told_where_it_tells_cells_apart() -> None:
    def made(opset: int, batch: int = 1, python: str = "") -> Record:
        exports = {"onnx_dynamo": {"opset": opset}} if opset else {}
        cell = replace(making.FAST, batch=batch, python=python, exports=exports)
        note = ArtifactNote("onnx", "fp32", "d" * 64, ("onnx_dynamo",), (), {})
        return replace(making.record(cell), artifact=note)

    def named(*records: Record) -> list[str]:
        return [row[1] for row in content.rows(records)]

    assert named(made(17), made(17, 8)) == ["ort_cpu", "ort_cpu"]
    assert "exporters: onnx_dynamo.opset=17" in content._reading([made(17), made(17, 8)]), "told once"
    assert named(made(17), made(18)) == ["ort_cpu onnx_dynamo.opset=17", "ort_cpu onnx_dynamo.opset=18"]
    assert named(made(17), made(0)) == ["ort_cpu onnx_dynamo.opset=17", "ort_cpu"]
    assert named(made(0), made(0, python="/new/python")) == ["ort_cpu", "ort_cpu python=/new/python"]


def test_backbones_that_differ_are_never_one_in_a_report() -> None:
    one = making.BACKBONE
    backbones = [
        one, replace(one, input_size=384), replace(one, weights="pretrained"), replace(one, features_only=True),
        Backbone("model", path="/data/a/model.onnx"), Backbone("model", path="/data/b/model.onnx"),
        Backbone("vit"), Backbone("vit", seed=1),
        Backbone("cnn", weights="/w/x/1.pth"), Backbone("cnn", weights="/w/y/1.pth"),
    ]  # fmt: skip
    names = [
        "resnet50 (random)", "resnet50 384 px", "resnet50 (pretrained)", "resnet50 features", "model (a/model.onnx)",
        "model (b/model.onnx)", "vit (seed 0)", "vit (seed 1)", "cnn (x/1.pth)", "cnn (y/1.pth)",
    ]  # fmt: skip
    records = tuple(making.record(replace(making.FAST, backbone=backbone)) for backbone in backbones)
    reported = content.Reported(making.run(), records)
    assert [row[0] for row in content.rows(records)] == names
    assert [point.backbone for point in points.of([reported])] == names
    warm = Finding("x", "caution", "it was warm", "cool it")
    doubted = content.remarks([replace(record, findings=(warm,)) for record in records])
    assert [remark.partition(f" {records[0].cell.title}")[0] for remark in doubted] == names
