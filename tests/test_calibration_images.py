"""Calibration images: which are chosen, what they become, and what is wrong with a folder, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import calibration_images, preprocess, reference
from harness.errors import DataInvalid, ExportFailed
from harness.images import natural_images
from harness.model import Artifact, Backbone, Calibration, Recipe, Request, TensorSpec

SIDE = 32
BACKBONE = Backbone("some", input_size=SIDE)
Fill = Callable[..., Path]


def _artifact(*shape: int | str, details: dict[str, object] | None = None) -> Artifact:
    spec = TensorSpec("input", shape or ("batch", 3, SIDE, SIDE), "float32")
    return Artifact("timm", "", "fp32", (spec,), (), "", 0, Recipe("timm", ""), details=details or {})  # type: ignore[arg-type]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Writes `count` different images into a folder, half of them in subfolders as in a data set."""

    def write(count: int, name: str = "images") -> Path:
        folder = tmp_path / name
        for index, pixels in enumerate(natural_images(count, 3, 40, 50, seed=3)):
            place = folder / ("cat" if index % 2 else "")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels.transpose(1, 2, 0) * 255).astype(np.uint8)).save(place / f"{index:03}.png")
        (folder / "labels.csv").write_text("not an image")
        return folder

    return write


def test_all_images_of_a_small_folder_are_watched_and_a_seeded_choice_of_a_large_one(fill: Fill) -> None:
    folder = str(fill(24))
    assert len(calibration_images.choose(Calibration(folder, images=64))) == 24
    first, again, other = (calibration_images.choose(Calibration(folder, images=18, seed=s)) for s in (1, 1, 2))
    assert len(first) == 18
    assert first == again != other
    assert calibration_images.choose(Calibration()) == ()


def test_a_folder_that_cannot_serve_is_named_with_what_is_wrong(fill: Fill, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, said in {"nowhere": "is missing", "file": "is a file", "empty": "holds no images"}.items():
        with pytest.raises(DataInvalid, match=f"{tmp_path / name} {said}"):
            calibration_images.choose(Calibration(str(tmp_path / name)))
    with pytest.raises(DataInvalid, match="only 15 images; 16 are the least") as caught:
        calibration_images.choose(Calibration(str(fill(15))))
    assert "--calib" in caught.value.hint


def test_the_digest_is_of_what_is_in_the_files(fill: Fill) -> None:
    here, there = (calibration_images.choose(Calibration(str(fill(16, name)))) for name in ("a", "b"))
    before = calibration_images.digest(here)
    assert before == calibration_images.digest(there), "where they lie changes nothing"
    there[5].write_bytes(there[6].read_bytes())
    assert before != calibration_images.digest(there)
    there[5].unlink()
    with pytest.raises(DataInvalid, match=there[5].name):
        calibration_images.digest(there)


def test_images_become_what_the_backbone_takes(fill: Fill, tmp_path: Path) -> None:
    details = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.5], "interpolation": "bilinear", "crop_pct": 1.0}
    asked = Calibration(str(fill(16)))
    files = calibration_images.choose(asked)
    artifact = _artifact(details=details)
    made = calibration_images.make(artifact, BACKBONE, asked, files, tmp_path)["input"]
    assert made.shape == (16, 3, SIDE, SIDE)
    config = preprocess.DataConfig((3, SIDE, SIDE), (0.5, 0.5, 0.5), (0.25, 0.5, 0.5), "bilinear", 1.0)
    np.testing.assert_array_equal(made[7], preprocess.load(files[7], config))


@pytest.mark.parametrize("folder", [True, False])
def test_what_replaces_the_data_config_is_in_the_images_and_in_what_they_are_found_by(
    fill: Fill, tmp_path: Path, folder: bool
) -> None:
    artifact = _artifact(details={"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 1.0})
    own = Calibration(str(fill(16)) if folder else "", images=16)
    other = replace(own, config={"mean": [0.5], "std": [0.25]})
    files = calibration_images.choose(own)
    made = []
    for asked in (own, other):
        (tmp_path / str(asked.config)).mkdir()
        made.append(calibration_images.make(artifact, BACKBONE, asked, files, tmp_path / str(asked.config))["input"])
    mean, std = (np.array(values, np.float32)[:, None, None] for values in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    np.testing.assert_allclose(made[1], (made[0] * std + mean - 0.5) / 0.25, atol=1e-5)
    recipes = [calibration_images.order(artifact, BACKBONE, asked).recipe for asked in (own, other)]
    assert recipes[0] != recipes[1], "the cache would give the one for the other"
    assert recipes[1].options["config"] == {"mean": [0.5], "std": [0.25], "crop_pct": 1.0}
    assert calibration_images.order(artifact, BACKBONE, other).about["config"] == {"mean": [0.5], "std": [0.25]}


def test_a_data_config_that_does_not_fit_the_backbone_is_refused_before_any_image_is_made() -> None:
    with pytest.raises(DataInvalid, match="mean has 2 values for 3 channels"):
        calibration_images.order(_artifact(), BACKBONE, Calibration(config={"mean": [0.5, 0.5]}))
    with pytest.raises(DataInvalid, match="images do not fit the inputs"):
        calibration_images.order(_artifact("batch", 10), BACKBONE, Calibration(config={"mean": [0.5]}))


def test_a_dynamic_side_gets_the_input_size(fill: Fill, tmp_path: Path) -> None:
    asked = Calibration(str(fill(16)))
    made = calibration_images.make(
        _artifact("batch", 1, "h", "w"), BACKBONE, asked, calibration_images.choose(asked), tmp_path
    )
    assert made["input"].shape == (16, 1, SIDE, SIDE)


def test_an_unreadable_image_is_named(fill: Fill, tmp_path: Path) -> None:
    asked = Calibration(str(fill(16)))
    files = calibration_images.choose(asked)
    files[3].write_bytes(files[3].read_bytes()[:200])
    with pytest.raises(DataInvalid, match=f"the calibration image {files[3]} cannot be read") as caught:
        calibration_images.make(_artifact(), BACKBONE, asked, files, tmp_path)
    assert "--calib FOLDER" in caught.value.hint


def test_images_of_one_colour_each_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "grey"
    folder.mkdir()
    for value in range(16):
        Image.new("RGB", (40, 40), (value * 16,) * 3).save(folder / f"{value}.png")
    asked = Calibration(str(folder))
    with pytest.raises(DataInvalid, match="of one colour each"):
        calibration_images.make(_artifact(), BACKBONE, asked, calibration_images.choose(asked), tmp_path)


@pytest.mark.parametrize("asked", [Calibration(images=16), Calibration(images=16, seed=BACKBONE.seed)])
@pytest.mark.parametrize("shape", [(), ("batch", 10)])
def test_generated_images_are_never_those_that_outputs_are_compared_on(
    tmp_path: Path, asked: Calibration, shape: tuple[int | str, ...]
) -> None:
    artifact = _artifact(*shape)
    made = calibration_images.make(artifact, BACKBONE, asked, (), tmp_path)["input"]
    judged = reference.generated(artifact.inputs[0], artifact, BACKBONE, 8)
    assert not any(np.array_equal(image, other) for image in made for other in judged)
    again = calibration_images.make(artifact, BACKBONE, asked, (), tmp_path)["input"]
    np.testing.assert_array_equal(made, again)


def test_a_folder_of_images_does_not_fit_what_is_no_image(fill: Fill, tmp_path: Path) -> None:
    asked = Calibration(str(fill(16)))
    with pytest.raises(DataInvalid, match="do not fit the inputs"):
        calibration_images.make(_artifact("batch", 10), BACKBONE, asked, calibration_images.choose(asked), tmp_path)
    assert calibration_images.make(_artifact("batch", 10), BACKBONE, Calibration(), (), tmp_path)["input"].shape == (
        64,
        10,
    )


def test_an_exporter_that_has_not_asked_gets_no_images() -> None:
    with pytest.raises(ExportFailed, match="no calibration images"):
        calibration_images.inputs(Request("int8", None))
