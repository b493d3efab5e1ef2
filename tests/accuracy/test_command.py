"""`backbench accuracy` as it is typed: what it prints, leaves, and says of mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from harness import schemas
from tests.accuracy.measuring import colour_onnx, colours

ROOT = Path(__file__).parent.parent.parent
PLAIN = ("--mean", "0", "--std", "1", "--crop-pct", "1", "--threads", "1")


@dataclass(frozen=True)
class Desk:
    """A folder with a classifier and labelled images, and the cache that the commands use."""

    folder: Path
    cache: Path

    def starts(self, *words: str) -> subprocess.Popen[str]:
        """Start `backbench accuracy` with those words, in a session of its own, as a terminal would."""
        kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "COLUMNS")}
        places = {
            "PYTHONPATH": str(ROOT),
            "BACKBENCH_CACHE": str(self.cache),
            "BACKBENCH_DATA": str(self.folder / "user"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "harness", "accuracy", *words], cwd=self.folder, text=True, start_new_session=True,
            env={**kept, **places, "COLUMNS": "160", "NO_COLOR": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def runs(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        process = self.starts(*words)
        out, err = process.communicate(timeout=250)
        return process.returncode, out, " ".join(err.split())


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, artifacts: str) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    colour_onnx(folder / "colours.onnx")
    colours(folder / "val")
    return Desk(folder, Path(artifacts))


def test_a_table_and_what_is_left(desk: Desk) -> None:
    code, out, err = desk.runs(
        "-m", "colours.onnx", "-r", "openvino", "--data", "val", *PLAIN, "--batch", "4", "--out", "kept"
    )
    assert code == 0, err
    assert "18 images, 3 classes" in out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("ort_cpu", "openvino"))]
    assert [row[:5] for row in rows] == [
        [name, "fp32", "100.0", "[82.4,", "100.0]"] for name in ("ort_cpu", "openvino")
    ]
    assert "baseline" in rows[0] and rows[1][5:8] == ["0.0", "[-17.6,", "+17.6]"]
    assert "Wilson score interval" in out and "Tango score, paired interval" in out and "McNemar mid-p" in out
    assert "accuracy: kept" in err
    assert {"accuracy.jsonl", "predictions.jsonl", "disagreements.csv", "logs"} <= {
        p.name for p in (desk.folder / "kept").iterdir()
    }


def test_json_is_as_its_schema_says_and_the_exit_code_tells_what_is_missing(desk: Desk) -> None:
    words = (
        "-m",
        "colours.onnx",
        "-r",
        "ort_cpu",
        "--precision",
        "fp32",
        "--precision",
        "bf16",
        "--data",
        "val",
        *PLAIN,
    )
    code, out, _ = desk.runs(*words, "--limit", "6", "--json", "--out", "as-json")
    assert code == 1  # onnxruntime's CPU provider has no bf16
    records = json.loads(out)
    for record in records:
        jsonschema.validate(record, schemas.schema("accuracy"))
    assert sorted(record["outcome"] for record in records) == ["ok", "unsupported"]
    assert [record["data"]["images"] for record in records if record["data"]] == [6]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-m", "colours.onnx"), 2, "nothing to measure accuracy on give labelled images: --data FOLDER"),
        (("--data", "val"), 2, "nothing to measure"),
        (("-m", "resnet18", "--data", "val"), 2, "the weights of resnet18 would be random"),
        (("-m", "colours.onnx", "--data", "val", "--batch", "1", "--batch", "2"), 2, "give one --batch"),
        (("-m", "colours.onnx", "--data", "absent"), 2, "there is no folder or CSV file absent"),
        (("-m", "colours.onnx", "--data", "user"), 2, "holds no class folder with images"),
        (("-m", "colours.onnx", "--data", "val", "--mean", "a,b"), 2, "'a,b' is not numbers"),
        (("import", "absent.csv"), 2, "absent.csv cannot be read: No such file"),
    ],
)
def test_mistakes_end_with_what_to_type_next(desk: Desk, words: tuple[str, ...], code: int, said: str) -> None:
    (desk.folder / "user").mkdir(exist_ok=True)
    got, out, err = desk.runs(*words)
    assert (got, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_a_published_file_is_imported(desk: Desk) -> None:
    (desk.folder / "results.csv").write_text("model,img_size,top1,top5\nmine.a,224,70.5,90\n")
    code, out, _ = desk.runs("import", "results.csv")
    assert code == 0
    assert out.startswith("1 published accuracies are kept in ")


def test_ctrl_c_says_how_to_go_on(desk: Desk) -> None:
    process = desk.starts("-m", "colours.onnx", "-r", "openvino", "--data", "val", *PLAIN, "--out", "stopped")
    logs = desk.folder / "stopped" / "logs"
    end = time.monotonic() + 100
    while time.monotonic() < end and not any(logs.glob("accuracy-*")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    lines = err.splitlines()
    (said,) = [i for i, line in enumerate(lines) if line.endswith("finished cells are kept in stopped; to go on:")]
    assert lines[said + 1].strip().startswith("backbench accuracy -m colours.onnx")
    assert lines[said + 1].endswith("--out stopped")
    assert not (desk.cache / "images").exists()
