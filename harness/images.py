"""Generated images with the statistics of natural ones, so that inputs look like inputs without a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.arrays import Array

_OBJECTS = 6
_IMAGENET: Mapping[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""Mean and standard deviation per channel (0..1), as torchvision's and timm's weights of ImageNet are trained with."""


def natural_images(count: int, channels: int, height: int, width: int, seed: int) -> Array:
    """`count` different float32 images (count, channels, height, width) in 0..1, the same for the same seed.

    Amplitudes fall with 1/f as in photographs (Field 1987, J. Opt. Soc. Am. A 4:2379), channels are correlated, and
    flat objects with sharp edges lie on top; white noise has neither, and drives networks where photographs never do.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    return np.stack([_image(rng, channels, height, width) for _ in range(count)]).astype(np.float32)


def normalised_images(count: int, shape: Sequence[int], seed: int, data: Mapping[str, Any]) -> Any:
    """`natural_images` of `(channels, height, width)` less the mean, by the standard deviation, per channel (0..1).

    Both from `data` (keys `mean` and `std`, as timm resolves them), where it has none ImageNet's.
    """
    import numpy as np

    images = natural_images(count, shape[0], shape[1], shape[2], seed)
    mean, std = (
        np.asarray(data.get(key, value), np.float32)[: shape[0], None, None] for key, value in _IMAGENET.items()
    )
    return (images - mean) / std


def _image(rng: Any, channels: int, height: int, width: int) -> Any:
    import numpy as np

    brightness = _pink(rng, height, width)
    planes = np.stack([0.85 * brightness + 0.35 * _pink(rng, height, width) for _ in range(channels)])
    image = rng.uniform(0.3, 0.7, (channels, 1, 1)) + rng.uniform(0.12, 0.25) * planes
    rows, columns = np.mgrid[0:height, 0:width]
    for _ in range(rng.integers(2, _OBJECTS)):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(0.05, 0.3) * height, rng.uniform(0.05, 0.3) * width
        if rng.random() < 0.5:
            inside = ((rows - y) / ry) ** 2 + ((columns - x) / rx) ** 2 < 1
        else:
            inside = (abs(rows - y) < ry) & (abs(columns - x) < rx)
        colour = rng.uniform(0, 1, (channels, 1))
        image[:, inside] = 0.3 * image[:, inside] + 0.7 * colour
    return np.clip(image, 0, 1)


def _pink(rng: Any, height: int, width: int) -> Any:
    """One plane with a 1/f amplitude spectrum and random phases, of mean 0 and standard deviation 1."""
    import numpy as np

    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    phases = np.exp(2j * np.pi * rng.random(frequency.shape))
    plane = np.fft.irfft2(phases / frequency, s=(height, width))
    plane -= plane.mean()
    return plane / (plane.std() or 1.0)
