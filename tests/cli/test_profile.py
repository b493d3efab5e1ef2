"""`backbench profile` as it is typed, on a real backbone in real runtimes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import schemas
from harness.explaining import layers
from harness.explaining.layers import Profile
from harness.explaining.profiling import Profiled, conclude
from tests import making
from tests.test_trace import TOLD, hold_slices_apart, hold_to_the_format


def _backbench(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    env = {"PATH": "/usr/bin:/bin", "BACKBENCH_CACHE": str(folder / "cache"), "COLUMNS": "150", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=250, check=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("profile")
    runtimes = ["-r", "torch_eager", "-r", "ort_cpu", "-r", "openvino", "-r", "fake"]
    finished = _backbench(
        ["profile", "-m", "resnet10t", *runtimes, "--input-size", "32", "--threads", "1", "--budget", "0.3s",
         "--inferences", "3", "--json", "--trace", str(folder / "trace.json"), "--chart", str(folder / "chart.svg")],
        folder,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return folder, json.loads(finished.stdout)


def test_every_runtime_tells_its_layers(done: tuple[Path, dict[str, Any]]) -> None:
    profiles = {profile["cell"]["runtime"]: profile for profile in done[1]["profiles"]}
    assert list(profiles) == ["torch_eager", "ort_cpu", "openvino"], "in the order in which they were given"
    for profile in profiles.values():
        assert profile["inferences"] == 3
        assert profile["latency_ns"] > 0 and profile["profiled_ns"] > 0 and profile["plain_ns"] > 0
        convolutions = [layer for layer in profile["layers"] if layer["group"] == "convolution"]
        assert len(convolutions) >= 12
        assert all(layer["nodes"] and layer["part"] for layer in convolutions), "each is mapped to its ONNX nodes"


def test_fused_layers_are_mapped_to_all_their_nodes(done: tuple[Path, dict[str, Any]]) -> None:
    """Each convolution of the graph is in exactly one layer, whatever the runtime calls it."""
    by_runtime = {
        profile["cell"]["runtime"]: sorted(
            node for layer in profile["layers"] for node in layer["nodes"] if "Conv" in node or "conv" in node
        )
        for profile in done[1]["profiles"]
    }
    assert by_runtime["ort_cpu"] == by_runtime["openvino"]
    assert len(set(by_runtime["ort_cpu"])) == len(by_runtime["ort_cpu"])


def test_what_is_printed_holds_to_its_schema(done: tuple[Path, dict[str, Any]]) -> None:
    import jsonschema

    jsonschema.validate(done[1], schemas.schema("profile"))
    for profile, explained in zip(done[1]["profiles"], done[1]["explained"], strict=True):
        assert sum(row["share"] for row in explained["operators"]) == pytest.approx(1.0)
        assert explained["unattributed_ns"] == pytest.approx(profile["latency_ns"] - explained["layers_ns"])


def test_gaps_are_to_the_first_runtime_and_add_up(done: tuple[Path, dict[str, Any]]) -> None:
    profiles = {profile["key"]: profile for profile in done[1]["profiles"]}
    assert [profiles[gap["second"]]["cell"]["runtime"] for gap in done[1]["gaps"]] == ["ort_cpu", "openvino"]
    for gap in done[1]["gaps"]:
        assert profiles[gap["first"]]["cell"]["runtime"] == "torch_eager"
        for rows in (gap["groups"], gap["parts"]):
            total = sum(row["second_ns"] - row["first_ns"] for row in rows)
            assert total == pytest.approx(gap["second_ns"] - gap["first_ns"])


def test_a_runtime_without_a_profile_is_said_with_its_reason(done: tuple[Path, dict[str, Any]]) -> None:
    (failure,) = done[1]["failures"]
    assert failure["cell"]["runtime"] == "fake"
    assert failure["reason"]


def test_trace_and_chart_are_written(done: tuple[Path, dict[str, Any]]) -> None:
    written = json.loads((done[0] / "trace.json").read_text())
    hold_to_the_format(written)
    hold_slices_apart(written)
    assert sum(event["name"] == "inference" for event in written["traceEvents"]) == 3
    assert "convolution" in (done[0] / "chart.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["profile"], 2, "nothing to measure"),
        (["profile", "-m", "resnet18", "--chart", "x.gif"], 2, "a chart has no format '.gif'"),
        (["profile", "-m", "resnet18", "--trace", "/nonexistent/t.json"], 1, "its folder does not exist"),
        (["profile", "results/quickstart"], 2, "9a86a41a2339  resnet50 ort_cpu fp32 b1"),
        (["profile", "results/quickstart", "beef"], 2, "is the key of no cell"),
        (["profile", "results/quickstart", "9a86a41a2339", "--batch", "2"], 2, "given as well: batches"),
        (["profile", "results", "9a86"], 1, "holds no run"),
        (["profile", "-m", "resnet18", "-r", "ort_gpu"], 2, "ort_cpu"),
    ],
)
def test_mistakes_are_named(arguments: Sequence[str], code: int, said: str, tmp_path: Path) -> None:
    finished = _backbench(arguments, tmp_path)
    assert (finished.returncode, said in finished.stderr) == (code, True), finished.stderr


def _made(latency_ns: float, runtime_latency_ns: float) -> Profiled:
    summary = layers.summarise([TOLD])
    profiles = (
        Profile("a", making.BASE, latency_ns, "test", latency_ns, latency_ns, 1, summary, TOLD),
        Profile(
            "b",
            making.FAST,
            runtime_latency_ns,
            "test",
            2 * runtime_latency_ns,
            latency_ns,
            1,
            summary,
            TOLD,
            ("a note",),
        ),
    )
    return conclude(profiles)


def test_what_to_beware_of_is_said() -> None:
    from harness.report import profile_text

    said = "\n".join(profile_text.legend(_made(100_000.0, 50_000.0).profiles))
    assert "ort_cpu fp32: a note" in said
    assert "ort_cpu fp32: its layers are slower under the profiler" in said
    assert "ort_cpu fp32: took 0.1 ms just before it was profiled, not 0.05 ms" in said
    assert "torch_eager fp32:" not in said


def test_one_backbone_in_two_sizes_is_two_bars() -> None:
    from harness.report import profile_chart

    small, other = _made(100_000.0, 50_000.0).profiles
    large = replace(small, cell=replace(small.cell, backbone=replace(small.cell.backbone, input_size=384)))
    drawn = profile_chart.chart(conclude((small, large, other))).to_dict()
    shown = [value["cell"].partition(" torch")[0] for value in drawn["layer"][1]["data"]["values"]]
    assert shown[:2] == ["resnet50", "resnet50 384 px"]


def test_a_name_with_brackets_is_shown_as_it_is() -> None:
    import io

    from rich.console import Console

    from harness.report import profile_text

    console = Console(file=io.StringIO(), width=120)
    odd = replace(_made(2e5, 1e5).profiles[0], layers=(layers.Layer("[red]x", "[/bold]", "other", 1e3, 1e3, 1e3),))
    profile_text.show(console, conclude([odd]), 5)
    assert "[red]x" in console.file.getvalue() and "[/bold]" in console.file.getvalue()  # type: ignore[attr-defined]
