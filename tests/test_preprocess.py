"""Preprocessing equals timm's evaluation transform, whatever the image and the config."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import images, preprocess, torchvision_ops
from harness.errors import DataInvalid
from harness.preprocess import CROP_MODES, INTERPOLATIONS, DataConfig

ONE_STEP = 1 / 255 + 1e-6
"""Of a pixel's value in 0..1."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Image files as they come: odd sizes, a sliver, grey, 16 bit, palette, transparency, and a turned photograph."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    made: dict[str, Path] = {}

    def save(name: str, image: Any, suffix: str = "png", **how: Any) -> None:
        made[name] = folder / f"{name}.{suffix}"
        image.save(made[name], **how)

    def picture(height: int, width: int, seed: int = 0) -> Any:
        array = images.natural_images(1, 3, height, width, seed)[0].clip(0, 1)
        return Image.fromarray((array.transpose(1, 2, 0) * 255).astype(np.uint8))

    save("wide", picture(61, 97))
    save("tall", picture(113, 41, 1))
    save("sliver", picture(7, 190, 2))
    save("tiny", picture(5, 6, 3))
    save("jpeg", picture(90, 120, 4), "jpg", quality=85)
    save("cmyk", picture(64, 70, 4).convert("CMYK"), "jpg")
    save("grey", picture(80, 66, 5).convert("L"))
    save("grey16", Image.fromarray(np.arange(70 * 50, dtype=np.uint16).reshape(70, 50)))
    save("alpha", picture(77, 53, 6).convert("RGBA"))
    save("palette", picture(60, 60, 7).quantize(32), transparency=b"\x00\x7f\xff")
    turned = Image.Exif()
    turned[0x0112] = 6
    save("exif", picture(50, 81, 8), "jpg", exif=turned)
    return made


def expected(path: Path, config: DataConfig) -> Any:
    """What timm's transform makes of the file, before normalisation."""
    torchvision_ops.declare()
    from PIL import Image
    from timm.data import create_transform

    plain = create_transform(
        config.input_size, interpolation=config.interpolation, crop_pct=config.crop_pct, crop_mode=config.crop_mode,
        mean=config.mean, std=config.std,
    )  # fmt: skip
    values: Any = plain(Image.open(path).convert("RGB" if config.input_size[0] == 3 else "L")).numpy()
    return values * np.reshape(config.std, (-1, 1, 1)) + np.reshape(config.mean, (-1, 1, 1))


def plain(path: Path, config: DataConfig) -> Any:
    values: Any = preprocess.load(path, config)
    assert values.dtype == np.float32
    assert values.flags["C_CONTIGUOUS"]
    return values * np.reshape(config.std, (-1, 1, 1)) + np.reshape(config.mean, (-1, 1, 1))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("crop_mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_equals_timm(pictures: dict[str, Path], interpolation: str, crop_mode: str) -> None:
    sizes = ((3, 48, 31), (3, 65, 65))
    for size, crop_pct, (name, path) in itertools.product(sizes, (0.875, 1.0), pictures.items()):
        config = DataConfig(size, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5), interpolation, crop_pct, crop_mode)
        ours, theirs = plain(path, config), expected(path, config)
        assert ours.shape == theirs.shape == size
        assert np.abs(ours - theirs).max() <= ONE_STEP, (name, config)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("crop_mode", CROP_MODES)
def test_a_crop_larger_than_the_resized_image_has_timms_borders(pictures: dict[str, Path], crop_mode: str) -> None:
    for size, (name, path) in itertools.product(((3, 48, 31), (3, 65, 65)), pictures.items()):
        config = DataConfig(size, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5), crop_pct=1.15, crop_mode=crop_mode)
        ours = plain(path, config)
        assert np.abs(ours - expected(path, config)).max() <= ONE_STEP, (name, config)
        border = (0.5, 0.4, 0.3) if crop_mode == "border" else (0.0,) * 3
        assert np.abs(ours[:, 0, 0] - border).max() <= ONE_STEP, (name, config)


def test_the_configs_of_timm_are_taken_and_a_percentage_is_refused() -> None:
    torchvision_ops.declare()
    import timm

    for name in ("volo_d4_448", "volo_d5_448", "volo_d5_512"):
        assert DataConfig((3, 8, 8), crop_pct=timm.get_pretrained_cfg(name).crop_pct).crop_pct == 1.15
    with pytest.raises(DataInvalid, match=r"crop_pct 87.5 is not in 0..2 \(it is no percentage"):
        DataConfig((3, 8, 8), crop_pct=87.5)


def test_grey_backbones_take_one_channel(pictures: dict[str, Path]) -> None:
    config = DataConfig((1, 32, 32), (0.5,), (0.25,), crop_mode="border")
    assert np.abs(plain(pictures["wide"], config) - expected(pictures["wide"], config)).max() <= ONE_STEP


def test_pixels_of_a_batch_are_normalised_as_those_of_one(pictures: dict[str, Path]) -> None:
    config = DataConfig((3, 24, 24))
    batch = np.stack([preprocess.pixels(pictures[name], config) for name in ("wide", "tall")])
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(preprocess.normalise(batch, config)[1], preprocess.load(pictures["tall"], config))


@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_the_config_of_a_snapshot_is_timms(model: str) -> None:
    torchvision_ops.declare()
    import timm
    from timm.data import resolve_data_config

    resolved = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(model).to_dict())
    config = DataConfig.of(
        {key: list(v) if isinstance(v, tuple) else v for key, v in resolved.items()} | {"name": model}
    )
    assert {name: getattr(config, name) for name in resolved} == resolved


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no image"),
        (b"plain text", "no image"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no image"),
        (None, "No such file"),
    ],
)
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataInvalid, match=rf"bad\.png cannot be read: .*{why}") as caught:
        preprocess.load(path, DataConfig((3, 8, 8)))
    assert "--skip-unreadable" in caught.value.hint


def test_a_truncated_photograph_is_named(pictures: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(pictures["jpeg"].read_bytes()[:1500])
    with pytest.raises(DataInvalid, match=r"cut\.jpg cannot be read.*truncated"):
        preprocess.load(path, DataConfig((3, 8, 8)))


def test_an_image_that_would_fill_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    path = tmp_path / "huge.png"
    Image.new("L", (64, 64)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataInvalid, match=r"huge\.png cannot be read: Image size"):
        preprocess.load(path, DataConfig((3, 8, 8)))


def test_all_faults_of_a_config_are_told_at_once() -> None:
    with pytest.raises(DataInvalid, match=r"input_size.*mean has 1 values.*std above 0.*'cubic'.*'middle'.*crop_pct 3"):
        DataConfig((4, 8, 8), (0.5,), (0.1, 0.1, 0.1, 0.0), "cubic", 3.0, "middle")
    with pytest.raises(DataInvalid, match="not a data config"):
        DataConfig.of({"mean": [0.5, 0.5, 0.5]})
