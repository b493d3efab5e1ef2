"""Published accuracies belong to exactly one tag at one size."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from harness import published, summary
from harness.errors import DataInvalid, StoreFailed
from harness.model import Backbone
from harness.ready import Ready
from tests import making

TIMM = Path(__file__).parent.parent.parent / "shared" / "data" / "results-imagenet.csv"


@pytest.fixture(autouse=True)
def no_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBENCH_DATA", str(tmp_path / "data"))


def own_rows() -> list[dict[str, str]]:
    table = Path(published.__file__).parent / "data" / "imagenet_top1.csv"
    return list(csv.DictReader(table.read_text().splitlines()))


def test_the_table_is_of_about_sixty_tags_with_their_source() -> None:
    rows = own_rows()
    assert 50 <= len(rows) <= 80
    assert len({row["model"] for row in rows}) == len(rows)
    assert all(
        "." in row["model"] and row["source"] and 50 < float(row["top1"]) < float(row["top5"]) < 100 for row in rows
    )
    families = ("resnet", "resnext", "regnet", "efficientnet_b", "tf_efficientnetv2", "mobilenetv2", "mobilenetv3",
                "mobilenetv4", "convnext_", "convnextv2", "vit_", "deit_", "deit3", "swin", "maxvit", "efficientvit",
                "fastvit", "repvgg", "tiny_vit", "eva02")  # fmt: skip
    assert [f for f in families if not any(row["model"].startswith(f) for row in rows)] == []


def test_only_the_exact_tag_has_an_accuracy() -> None:
    found = published.find("resnet50.a1_in1k")
    assert found is not None
    assert (found.top1, found.top5, found.input_size) == (0.80382, 0.94598, 224)
    assert found == published.find("resnet50.a1_in1k", 224)
    for other in ("resnet50", "resnet50.other_in1k", "resnet50.a1", ""):
        assert published.find(other) is None
    assert published.find("resnet50.a1_in1k", 160) is None


def test_every_row_is_of_the_size_that_timm_gives_the_tag() -> None:
    from harness import torchvision_ops

    torchvision_ops.declare()
    import timm

    for row in own_rows():
        config = timm.get_pretrained_cfg(row["model"], allow_unregistered=False)
        assert config.input_size == (3, int(row["img_size"]), int(row["img_size"])), row


def test_the_table_is_timms() -> None:
    if not TIMM.exists():
        pytest.skip(f"{TIMM} is not here")
    theirs = {
        (r["model"], r["img_size"]): (r["top1"], r["top5"], r["crop_pct"])
        for r in csv.DictReader(TIMM.read_text().splitlines())
    }
    for row in own_rows():
        assert theirs[row["model"], row["img_size"]] == (row["top1"], row["top5"], row["crop_pct"])


def test_a_results_file_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text(
        "model,img_size,top1,top1_err,top5\nmine.a,224,70.5,29.5,90.25\nmine.a,160,65,35,\nresnet50.a1_in1k,224,80.0,20,95\n"
    )
    assert published.find("mine.a") is None
    number, kept = published.import_file(file)
    assert (number, kept) == (3, tmp_path / "data" / "published.csv")
    own = published.find("mine.a")
    assert own is not None
    assert (own.top1, own.top5, own.input_size, own.source) == (0.65, None, 160, "imported from results.csv")
    larger, replaced = published.find("mine.a", 224), published.find("resnet50.a1_in1k")
    assert larger is not None and larger.top5 == 0.9025
    assert replaced is not None and replaced.top1 == 0.8


def test_a_figure_is_of_images_cropped_so(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text("model,img_size,top1,top5,crop_pct\nmine.a,288,70.5,90.25,0.889\nmine.b,224,65,85,\n")
    published.import_file(file)
    cropped, unknown = published.find("mine.a", 288), published.find("mine.b", 224)
    assert cropped is not None and unknown is not None
    assert (cropped.crop_pct, unknown.crop_pct) == (0.889, None)
    assert cropped.comparable(8 / 9) and not cropped.comparable(0.875)
    assert unknown.comparable(0.875)


def test_a_record_s_figure_is_of_the_size_of_its_images(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text("model,img_size,top1,top5\nmine.a,160,65,85\nmine.a,224,70.5,90.25\n")
    published.import_file(file)
    source = making.artifact(tmp_path, ("batch", 3, 224, 224))
    opened = making.artifact(tmp_path, ("batch", 3, "height", "width"))
    note = summary.artifact_note(Ready(opened, opened, (), (), 0.0, steps=(source, opened)))
    record = making.record(replace(making.FAST, backbone=Backbone("mine.a")))
    asked = making.record(replace(making.FAST, backbone=Backbone("mine.a", input_size=160)))
    own, nobody_knows = replace(record, artifact=note), replace(record, artifact=replace(note, input_size=None))
    found = [published.of_size(one) for one in (own, asked, nobody_knows)]
    assert [one.top1 for one in found if one] == [0.705, 0.65, 0.65]


def test_timms_whole_file_is_imported() -> None:
    if not TIMM.exists():
        pytest.skip(f"{TIMM} is not here")
    number, _ = published.import_file(TIMM)
    assert number > 1500
    found = published.find("resnet50.a1_in1k", 288)
    assert found is not None and found.source == "imported from results-imagenet.csv"
    assert found.crop_pct == 1.0, "timm's own test crop"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no accuracies"),
        ("model,img_size,top1,top5\n", "holds no accuracies"),
        ("name,acc\nx,1\n", "results.csv:2 is no accuracy"),
        ("model,img_size,top1,top5\na.b,224,70,90\nc.d,224,high,90\n", "results.csv:3 is no accuracy.*high"),
        ("model,img_size,top1,top5\na.b,224,0.7,0.5\n", "no percentages"),
        ("model,img_size,top1,top5\na.b,224\n", "results.csv:2 is no accuracy"),
    ],
)
def test_a_file_that_is_none_is_named_and_nothing_is_kept(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "results.csv"
    file.write_text(content)
    with pytest.raises(DataInvalid, match=said):
        published.import_file(file)
    assert not (tmp_path / "data").exists()
    with pytest.raises(DataInvalid, match="cannot be read: No such file"):
        published.import_file(tmp_path / "absent.csv")


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BACKBENCH_DATA", str(tmp_path / "file"))
    file = tmp_path / "results.csv"
    file.write_text("model,img_size,top1,top5\na.b,224,70,90\n")
    with pytest.raises(StoreFailed, match="cannot be written"):
        published.import_file(file)
