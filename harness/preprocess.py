"""From an image file to what a backbone takes: timm's evaluation transform in numpy and Pillow, so that an edge box needs
neither torch nor torchvision. Each step follows `timm.data.create_transform` (1.0); a test compares the two.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.errors import DataInvalid
from harness.model import JSON

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.arrays import Array

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROP_MODES = ("center", "border", "squash")
MOST_CROP = 2.0
"""timm's largest crop_pct is 1.15; what is far above is a percentage."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class DataConfig:
    """How a backbone wants its images; the names and the defaults are those of timm's data config."""

    input_size: tuple[int, int, int]
    """Channels (3: RGB, 1: grey), height and width."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Per channel, of values in 0..1."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    """Side of the crop over side of the resized image; over 1 (volo_d5_448), the image is smaller and gets borders."""
    crop_mode: str = "center"
    """`center`: shortest edge resized, rest cut off; `border`: longest edge resized, borders in the mean's colour;
    `squash`: both edges resized, aspect ratio lost."""

    def __post_init__(self) -> None:
        channels = self.input_size[0]
        faults = []
        if channels not in _MODES or min(self.input_size) < 1:
            faults.append(f"input_size {self.input_size} is not (1 or 3, height, width)")
        faults += [
            f"{name} has {len(values)} values for {channels} channels"
            for name, values in (("mean", self.mean), ("std", self.std))
            if len(values) != channels
        ]
        if not all(math.isfinite(v) for v in self.mean) or not all(math.isfinite(v) and v > 0 for v in self.std):
            faults.append(f"mean {self.mean} and std {self.std} must be finite, and std above 0")
        if self.interpolation not in INTERPOLATIONS:
            faults.append(f"interpolation {self.interpolation!r} is none of {', '.join(INTERPOLATIONS)}")
        if self.crop_mode not in CROP_MODES:
            faults.append(f"crop_mode {self.crop_mode!r} is none of {', '.join(CROP_MODES)}")
        if not 0 < self.crop_pct <= MOST_CROP:
            faults.append(f"crop_pct {self.crop_pct} is not in 0..{MOST_CROP:g} (it is no percentage: 0.875)")
        if faults:
            raise DataInvalid("the data config cannot be used: " + "; ".join(faults), "see: backbench accuracy --help")

    @classmethod
    def of(cls, details: Mapping[str, JSON]) -> DataConfig:
        """The data config in the `details` of a `timm` artifact. Raises `DataInvalid` where it is not one."""
        known: dict[str, Any] = {name: details[name] for name in _FIELDS if name in details}
        for name in ("input_size", "mean", "std"):
            if isinstance(known.get(name), Sequence):
                known[name] = tuple(known[name])
        try:
            return cls(**known)
        except (TypeError, ValueError) as error:
            raise DataInvalid(f"not a data config: {error}", "it needs at least input_size") from error


OVERRIDES = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
"""What may be asked for in place of a backbone's own."""
_FIELDS = ("input_size", *OVERRIDES)


def overridden(details: Mapping[str, JSON], overrides: Mapping[str, JSON]) -> DataConfig:
    """The data config in `details` with `overrides`; a single mean or standard deviation is that of every channel.

    Raises `DataInvalid` where it is none.
    """
    channels = int(cast(Any, details)["input_size"][0])
    given = {k: tuple(v) * channels if isinstance(v, Sequence) and not isinstance(v, str) and len(v) == 1 else v
             for k, v in overrides.items()}  # fmt: skip
    return DataConfig.of({**details, **given})


def load(path: Path, config: DataConfig) -> Array:
    """An image file as the backbone takes it: float32 (channels, height, width), normalised.

    Raises `DataInvalid` naming a file that cannot be read.
    """
    return normalise(pixels(path, config), config)


def pixels(path: Path, config: DataConfig) -> Array:
    """An image file resized and cropped: uint8 (channels, height, width). Raises `DataInvalid` naming the file.

    As in timm (and torchvision), a grey image is repeated into all channels, transparency is dropped and the orientation
    in EXIF data is ignored: published accuracies are measured so.
    """
    import numpy as np
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("ignore")  # of palettes with transparency, which is dropped, and of damaged EXIF data
            image = opened.convert(_MODES[config.input_size[0]])
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        why = "it is no image of a known format" if isinstance(error, Image.UnidentifiedImageError) else _said(error)
        raise DataInvalid(
            f"the image {path} cannot be read: {why}", "--skip-unreadable leaves such images out"
        ) from error
    array = np.asarray(_crop(_resize(image, config), config))
    return np.ascontiguousarray(array.reshape(*array.shape[:2], config.input_size[0]).transpose(2, 0, 1))


def normalise(array: Array, config: DataConfig) -> Array:
    """uint8 (…, channels, height, width) as float32, scaled to 0..1 and normalised with the config's mean and std."""
    import numpy as np

    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (config.mean, config.std))
    scaled = array.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray((scaled - mean) / std)


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]


def _resize(image: Image, config: DataConfig) -> Image:
    from PIL.Image import Resampling

    target_h, target_w = (math.floor(side / config.crop_pct) for side in config.input_size[1:])
    width, height = image.size
    if config.crop_mode == "squash":
        size = (target_w, target_h)
    elif config.crop_mode == "border" or target_h != target_w:
        ratios = (height / target_h, width / target_w)
        ratio = max(ratios) if config.crop_mode == "border" else min(ratios)
        size = (round(width / ratio), round(height / ratio))
    elif width <= height:  # torchvision truncates the longer edge, timm rounds it
        size = (target_w, int(target_w * height / width))
    else:
        size = (int(target_h * width / height), target_h)
    return image.resize((max(1, size[0]), max(1, size[1])), Resampling[config.interpolation.upper()])


def _crop(image: Image, config: DataConfig) -> Image:
    """The centre, with borders where the image is smaller."""
    from PIL import ImageOps

    crop_h, crop_w = config.input_size[1:]
    width, height = image.size
    if width < crop_w or height < crop_h:
        over_w, over_h = max(0, crop_w - width), max(0, crop_h - height)
        borders = (over_w // 2, over_h // 2, (over_w + 1) // 2, (over_h + 1) // 2)
        image = ImageOps.expand(image, borders, _border_colour(config))
        width, height = image.size
    left, top = round((width - crop_w) / 2.0), round((height - crop_h) / 2.0)
    return image.crop((left, top, left + crop_w, top + crop_h))


def _border_colour(config: DataConfig) -> int | tuple[int, ...]:
    if config.crop_mode != "border":
        return 0
    colour = tuple(round(255 * value) for value in config.mean)
    return colour if len(colour) > 1 else colour[0]
