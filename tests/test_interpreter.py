"""A worker in another Python environment gets Backbench's code, none of this environment's libraries, and a key."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness import again, codec, interpreter, launch, recipes, registry, run, store
from harness.cli.matrix import blank, resolve
from harness.code_path import PACKAGES, code_path
from harness.comparing import live
from harness.errors import MissingLibrary, PlanInvalid, UnknownName
from harness.launch import Worker
from harness.model import Artifact, Group, Recipe, Request
from tests import making

QUICKSTART = Path(__file__).parent.parent / "results" / "quickstart"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The links lie in a cache of the test's own."""
    monkeypatch.setenv("BACKBENCH_CACHE", str(tmp_path / "cache"))


def test_a_field_that_came_later_changes_no_key() -> None:
    for record in store.read_records(QUICKSTART):
        assert codec.key(record.cell) == record.key


def test_the_interpreter_is_part_of_the_key_and_of_the_title() -> None:
    other = replace(making.FAST, python="/opt/other/bin/python")
    assert codec.key(other) != codec.key(making.FAST)
    assert "python=/opt/other/bin/python" in other.title


def test_what_another_interpreter_is_given_is_the_code_alone() -> None:
    folder = code_path()
    assert {path.name for path in folder.iterdir()} == set(PACKAGES)
    assert (folder / "harness" / "worker.py").is_file()
    assert code_path() == folder


def test_a_link_whose_goal_has_gone_is_made_again() -> None:
    folder = code_path()
    (folder / "harness").unlink()
    (folder / "harness").symlink_to("/nowhere")
    assert (code_path() / "harness" / "worker.py").is_file()


def test_the_search_path_of_this_environment_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/this/one's/libraries")
    monkeypatch.setenv("VIRTUAL_ENV", "/this/one")
    env = launch.environment(2, sys.executable)
    assert env["PYTHONPATH"] == str(code_path())
    assert "VIRTUAL_ENV" not in env
    assert launch.environment(2)["PYTHONPATH"] == "/this/one's/libraries"


def test_an_interpreter_that_can_run_a_worker_tells_its_versions(tmp_path: Path) -> None:
    found = interpreter.probe(sys.executable)
    assert found.python == sys.executable
    assert found.version == sys.version.split()[0]
    assert "numpy" in found.versions
    with Worker(tmp_path / "log", python=found.python, env=launch.environment(1, found.python)) as worker:
        assert worker.ask("devices", 60.0, runtime="fake")[0]["kind"] == "cpu"


def test_a_path_that_is_no_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid, match="no interpreter that can be started"):
        interpreter.probe(str(tmp_path / "python"))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'No module named pydantic' >&2; exit 1", "cannot run a worker: No module named pydantic"),
        ("exit 7", "cannot run a worker: exit status 7"),
        ("echo hello", "does not answer as a Python interpreter"),
    ],
)
def test_an_environment_that_cannot_run_a_worker_says_why(tmp_path: Path, script: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(PlanInvalid, match=said):
        interpreter.probe(str(python))


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    """An interpreter that says it has TensorRT, and no torch."""
    libraries = {
        "tensorrt": "8.5.3.1",
        "cuda.core": "1.2.2",
        "cuda.bindings": "13.4.4",
        "torch": "absent",
        "numpy": "2.2.6",
    }
    said = json.dumps(
        {
            "version": "3.10.13",
            "versions": {"numpy": "2.2.6"},
            "libraries": libraries,
            "plugins": ["tensorrt", "tensorrt_engine", "torch_eager"],
        }
    )
    python = tmp_path / "trt8"
    python.write_text(f"#!/bin/sh\necho '{said}'\n")
    python.chmod(0o755)
    return str(python)


def test_what_is_installed_there_counts(elsewhere: str) -> None:
    needs: Mapping[str, str] = registry.runtime_class("tensorrt").needs
    interpreter.check_installed("tensorrt", needs, elsewhere)
    assert interpreter.versions(("tensorrt", "torch", "onnx"), elsewhere) == {
        "tensorrt": "8.5.3.1", "torch": "absent", "onnx": "absent",
    }  # fmt: skip
    assert interpreter.versions(("numpy",))["numpy"] != "2.2.6", "this environment's own"
    with pytest.raises(
        MissingLibrary, match=f"torch_eager needs torch, timm, which is not installed for {elsewhere}"
    ) as caught:
        interpreter.check_installed("torch_eager", registry.runtime_class("torch_eager").needs, elsewhere)
    assert caught.value.hint == f"{elsewhere} -m pip install torch timm"


def test_a_plug_in_that_is_not_there_is_told_when_planned(elsewhere: str) -> None:
    with pytest.raises(MissingLibrary, match=f"mine is a plug-in that {elsewhere} does not have"):
        interpreter.check_installed("mine", {}, elsewhere)


def test_an_engine_is_built_where_it_runs_and_what_is_portable_here(elsewhere: str) -> None:
    assert interpreter.of_exporter("tensorrt_engine", elsewhere) == elsewhere
    assert interpreter.of_exporter("onnx_dynamo", elsewhere) == "", "torch is here alone"
    assert interpreter.of_exporter("tensorrt_engine", "") == ""


def test_the_versions_there_are_part_of_the_recipe(elsewhere: str, tmp_path: Path) -> None:
    want = Request("fp32", 1, device="cuda:0")
    source = Artifact("onnx", "", "fp32", (), (), "d" * 64, 4, Recipe("x", ""))
    there = recipes.recipe_of("tensorrt_engine", source, want, {}, elsewhere)
    assert there.versions["tensorrt"] == "8.5.3.1"
    assert codec.key(there) != codec.key(recipes.recipe_of("tensorrt_engine", source, want, {}))


def test_a_plan_gives_a_runtime_its_interpreter(tmp_path: Path) -> None:
    matrix = {
        **blank(),
        "models": ("test_vit",),
        "runtimes": ("torch_eager", "ort_cpu"),
        "pythons": {"ort_cpu": sys.executable},
    }
    (group,) = resolve(None, matrix).groups
    assert [(cell.runtime, cell.python) for cell in group.cells] == [("torch_eager", ""), ("ort_cpu", sys.executable)]
    (tmp_path / "plan.yaml").write_text(
        "backbones: [test_vit]\nruntimes: [torch_eager, {name: ort_cpu, python: bin/python}]\n"
    )
    with pytest.raises(PlanInvalid, match=f"plan.yaml:2: {tmp_path}/bin/python is no interpreter"):
        resolve(str(tmp_path / "plan.yaml"), blank())
    with pytest.raises(PlanInvalid, match="an interpreter is given for 'openvino', which the plan does not measure"):
        resolve(None, {**matrix, "pythons": {"openvino": sys.executable}})
    with pytest.raises(UnknownName, match="'openvino_ir', which is an exporter: give its runtime"):
        resolve(None, {**matrix, "pythons": {"openvino_ir": sys.executable}})


def test_one_runtime_may_stand_in_a_plan_with_several_interpreters(tmp_path: Path, elsewhere: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        f"backbones: [test_vit]\nbaseline: ort_cpu\nruntimes: [{{name: ort_cpu, python: {sys.executable}}}, ort_cpu]\n"
    )
    plan = resolve(str(file), blank())
    (group,) = plan.groups
    assert sorted(cell.python for cell in group.cells) == ["", sys.executable]
    assert plan_key(group) == "", "the plain one is the baseline"
    with pytest.raises(PlanInvalid, match="several interpreters"):
        resolve(str(file), {**blank(), "pythons": {"ort_cpu": elsewhere}})


def plan_key(group: Group) -> str:
    """The interpreter of a group's baseline."""
    return next(cell.python for cell in group.cells if codec.key(cell) == group.baseline)


def test_a_baseline_that_the_plan_adds_runs_where_its_runtime_does() -> None:
    matrix = {
        **blank(),
        "models": ("test_vit",),
        "runtimes": ("openvino",),
        "precisions": ("int8",),
        "baseline": "openvino",
    }
    (group,) = resolve(None, {**matrix, "pythons": {"openvino": sys.executable}}).groups
    assert {cell.python for cell in group.cells} == {sys.executable}


def test_a_run_keeps_the_versions_of_its_environments_and_notices_when_they_change(tmp_path: Path) -> None:
    matrix = {**blank(), "models": ("test_vit",), "runtimes": ("ort_cpu",), "pythons": {"ort_cpu": sys.executable}}
    head = run.new_run(resolve(None, matrix), ("backbench", "run"))
    assert head.elsewhere[sys.executable]["numpy"] == head.versions["numpy"]
    store.Store.create(tmp_path / "run", head)
    newer = replace(head, elsewhere={sys.executable: {**head.elsewhere[sys.executable], "numpy": "99.0"}})
    with pytest.raises(PlanInvalid, match=f"numpy of {sys.executable} was .*, and is 99.0"):
        store.Store.resume(tmp_path / "run", newer)


def test_the_command_that_measures_cells_again_has_their_interpreter() -> None:
    words = again.options([replace(making.FAST, python="/new/python"), making.BASE])
    assert words[words.index("--python") + 1] == "ort_cpu=/new/python"


def test_both_sides_of_a_comparison_may_run_elsewhere() -> None:
    matrix = {**blank(), "models": ("test_vit",), "runtimes": ("ort_cpu",), "pythons": {"ort_cpu": sys.executable}}
    sides = [resolve(None, {**matrix, "models": (name,)}) for name in ("test_vit", "test_resnet")]
    (group,) = live.oppose(sides[0], sides[1], ("ort_cpu",), ("", "")).groups
    assert [cell.python for cell in group.cells] == [sys.executable] * 2


def test_what_a_worker_there_advises_is_for_there(tmp_path: Path) -> None:
    with Worker(tmp_path / "log", python=sys.executable) as worker, pytest.raises(MissingLibrary) as caught:
        worker._value("open", b'{"error": {"kind": "MissingLibrary", "message": "no x", "hint": "pip install x"}}')
    assert caught.value.hint == f"{sys.executable} -m pip install x"
