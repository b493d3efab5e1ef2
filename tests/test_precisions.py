"""The table of precisions says what happens: it is whole, documented, and held to what really runs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import pytest

from harness import codec, plan, precisions, registry, spec, verify
from harness.catalog import Catalog
from harness.errors import BackbenchError, PlanInvalid
from harness.model import PRECISIONS, Cell
from harness.record import Plan

CATALOG = Catalog("1.0", ("resnet18", "vit_tiny_patch16_224"), ())


def _resolve(**data: object) -> Plan:
    sources = plan.Sources(lambda: CATALOG, lambda path: {"precision": "fp32", "inputs": []})
    return plan.resolve(spec.check({"backbones": ["resnet18"], "threads": 1, **data}), sources)


def _cells(made: Plan) -> dict[str, Cell]:
    return {cell.title: cell for group in made.groups for cell in group.cells}


def test_every_unsupported_precision_of_a_built_in_runtime_has_its_reason() -> None:
    entries = [
        entry for entry in precisions.table() if registry.plugin("runtimes", entry.runtime).origin == registry.BUILT_IN
    ]
    silent = [f"{e.runtime} on {e.device}: {e.precision}" for e in entries if e.chain is None and not e.reason]
    assert not silent, f"say why in the runtime's `refuses`: {silent}"
    assert {entry.precision for entry in entries} == set(PRECISIONS)


def test_no_precision_is_both_executed_and_refused() -> None:
    for name in registry.found("runtimes"):
        runtime = registry.runtime_class(name)
        assert set(runtime.refuses) <= set(runtime.precisions)
        for kind, reasons in runtime.refuses.items():
            assert not set(reasons) & set(runtime.precisions[kind])


def test_the_documentation_has_the_tables_of_the_code() -> None:
    page = precisions.PAGE.read_text(encoding="utf-8")
    assert page == precisions.filled(page), "run scripts/precision_table"


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A runtime of another package."""
    point = metadata.EntryPoint("elsewhere", "runtimes.ort_cpu:OrtCpu", "backbench.runtimes")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == point.group else [])
    registry.found.cache_clear()
    yield
    registry.found.cache_clear()


@pytest.mark.usefixtures("_elsewhere")
def test_a_runtime_of_another_package_is_in_the_table_and_not_in_the_documentation() -> None:
    assert "elsewhere" in {entry.runtime for entry in precisions.table()}
    assert "elsewhere" not in precisions.markdown()


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="precisions"):
        precisions.filled("# Precision")


def test_the_plan_refuses_with_the_reason_of_the_table() -> None:
    made = _resolve(runtimes=["ort_cpu", "openvino"], precisions=["fp32", "fp16"])
    reasons = {record.cell.runtime: record.reason for record in made.refused}
    assert "float kernels between casts" in reasons["ort_cpu"]
    assert "bf16 or fp32" in reasons["openvino"]


def test_only_a_quantised_cell_has_calibration_and_exporter_options() -> None:
    made = _resolve(
        runtimes=["ort_cpu"],
        precisions=["fp32", "int8"],
        calibration={"images": 32},
        exporters={"onnx_int8": {"method": "entropy", "per_channel": True}},
    )
    cells = _cells(made)
    fp32 = cells["ort_cpu fp32 b1"]
    int8 = cells["ort_cpu int8 b1 onnx_int8.method=entropy"]
    assert fp32.calibration is None and fp32.exports == {}
    assert int8.calibration is not None and int8.calibration.images == 32
    assert int8.exports == {"onnx_int8": {"method": "entropy"}}, "what is the default says nothing"


def test_a_runtime_gets_of_an_exporter_what_it_cannot_do_without() -> None:
    from harness import exports, route
    from harness.model import Backbone

    cell = Cell(Backbone("resnet18"), "trtexec", "int8", device="cuda:0")
    steps = route.find(registry.exporter_classes(), "timm", registry.runtime_class("trtexec"), "int8")
    given = exports.given(cell, steps, spec.check({"backbones": ["resnet18"]}))
    asks = registry.runtime_class("trtexec").asks["onnx_int8"]
    assert given.exports == {"onnx_int8": asks}
    wanted = {"onnx_int8": {"symmetric": False, "method": "entropy"}}
    given = exports.given(cell, steps, spec.check({"backbones": ["resnet18"], "exporters": wanted}))
    said = {name: value for name, value in asks.items() if name != "symmetric"}
    assert given.exports == {"onnx_int8": {**said, "method": "entropy"}}, "the plan has the last word"


def test_the_options_that_a_runtime_asks_for_exist() -> None:
    for name in registry.found("runtimes"):
        for exporter, options in registry.runtime_class(name).asks.items():
            assert set(options) <= set(registry.exporter_class(exporter).options), f"{name} asks {exporter}"


def test_the_key_of_a_cell_without_calibration_is_what_it_was() -> None:
    """The key of this cell in the reference run of version 0.1.0: older results go on to join."""
    from pathlib import Path

    from harness import store
    from harness.model import Backbone

    record = next(r for r in store.read_records(Path("results/quickstart")) if r.cell.runtime == "ort_cpu")
    assert codec.key(record.cell) == record.key
    assert codec.key(Cell(Backbone("x"), "ort_cpu")) != codec.key(
        Cell(Backbone("x"), "ort_cpu", exports={"a": {"b": 1}})
    )


def test_what_would_be_ignored_is_refused() -> None:
    with pytest.raises(PlanInvalid, match="'onnx_fp16', which no cell of the plan needs"):
        _resolve(runtimes=["ort_cpu"], exporters={"onnx_fp16": {"keep_io_types": False}})
    with pytest.raises(PlanInvalid, match="onnx_int8 has no option 'metod'") as caught:
        _resolve(runtimes=["ort_cpu"], precisions=["int8"], exporters={"onnx_int8": {"metod": "entropy"}})
    assert "did you mean 'method'" in str(caught.value)
    with pytest.raises(BackbenchError, match="unknown exporter 'onnx_int4'"):
        _resolve(runtimes=["ort_cpu"], exporters={"onnx_int4": {}})


def test_calibration_images_that_nobody_watches_are_refused(tmp_path: object) -> None:
    with pytest.raises(PlanInvalid, match=f"the calibration folder {tmp_path} holds no images"):
        _resolve(runtimes=["ort_cpu"], precisions=["int8"], calibration={"folder": str(tmp_path)})


def test_a_plan_says_how_calibration_images_are_prepared() -> None:
    from harness.cli import matrix, override

    data = {"runtimes": ["ort_cpu"], "precisions": ["int8"]}
    typed = {"mean": "0.5,0.4,0.3", "std": "0.5", "crop_pct": "1"}
    merged = override.override(
        {"calibration": {"config": {"crop_mode": "squash"}}}, matrix.blank() | {"calib_config": typed}
    )
    (cell,) = [c for c in _cells(_resolve(**data, **merged)).values() if c.precision == "int8"]
    assert cell.calibration is not None
    assert cell.calibration.config == {"mean": [0.5, 0.4, 0.3], "std": [0.5], "crop_pct": 1.0, "crop_mode": "squash"}
    with pytest.raises(PlanInvalid, match="no cell of the plan is quantised"):
        _resolve(runtimes=["ort_cpu"], calibration={"config": {"mean": [0.5]}})
    for wrong, said in (
        ({"mean": "a"}, "could not convert"),
        ({"std": 0}, "greater than 0"),
        ({"average": 1}, "unknown key"),
    ):
        with pytest.raises(PlanInvalid, match="config") as caught:
            _resolve(**data, calibration={"config": wrong})
        assert said in str(caught.value)


# ── tolerances ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tolerances_grow_as_precision_falls() -> None:
    limits = [verify.DEFAULTS[p].rel_l2 for p in ("fp32", "tf32", "fp16", "bf16", "int8")]
    assert limits == sorted(limits)


@pytest.mark.parametrize("limits", [{"rel_l1": 0.1}, {"rel_l2": -1.0}, {"cosine": 2.0}, {"rel_l2": float("nan")}])
def test_a_limit_that_means_nothing_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(PlanInvalid, match="tolerances"):
        _resolve(tolerances={"int8": limits})


def test_single_limits_are_replaced() -> None:
    made = _resolve(tolerances={"int8": {"rel_l2": 0.2, "max_abs": 3.0}})
    tolerance = verify.tolerance_for("int8", made.rules.tolerances["int8"])
    assert (tolerance.rel_l2, tolerance.max_abs) == (0.2, 3.0)
    assert tolerance.cosine == verify.DEFAULTS["int8"].cosine


def test_the_largest_error_of_an_element_can_be_limited() -> None:
    import numpy as np

    reference = np.ones((4, 10)) + np.arange(10)
    output = reference.copy()
    output[2, 3] += 0.01
    errors = (verify.compare("logits", output, reference),)
    assert verify.judge(errors, verify.tolerance_for("fp16"), 4, "x").passed
    judged = verify.judge(errors, verify.tolerance_for("fp16", {"max_abs": 0.001}), 4, "x")
    assert judged.reason == "logits: an element is off by 0.01, over 0.001"
    assert judged.tolerance["max_abs"] == 0.001


@pytest.mark.parametrize(("shape", "told"), [((8, 1), "8×1"), ((8, 1000, 1), "8×1000×1"), ((1000,), "1000")])
def test_an_output_of_another_shape_is_never_stretched_to_the_references(shape: tuple[int, ...], told: str) -> None:
    import numpy as np

    error = verify.compare("logits", np.ones(shape), np.ones((8, 1000)))
    judged = verify.judge((error,), verify.tolerance_for("int8"), 8, "x")
    assert (judged.passed, judged.reason) == (False, f"logits: its shape is {told}, the reference's 8×1000")
