"""Generated images look like photographs where it matters to a network: smooth, correlated, all different."""

from __future__ import annotations

import numpy as np
import pytest

from harness.images import natural_images


def test_the_same_seed_gives_the_same_images() -> None:
    first, again, other = (natural_images(2, 3, 32, 32, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (4, 1, 33, 48), (2, 3, 1, 1)])
def test_images_are_float32_between_0_and_1(shape: tuple[int, int, int, int]) -> None:
    images = natural_images(*shape, seed=0)
    assert images.shape == shape
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1


def test_every_image_is_another_one() -> None:
    images = natural_images(6, 3, 64, 64, seed=0).reshape(6, -1)
    distances = np.abs(images[:, None] - images[None]).mean(-1)
    assert distances[~np.eye(6, dtype=bool)].min() > 0.05


def test_images_have_contrast_and_their_channels_go_together() -> None:
    images = natural_images(32, 3, 64, 64, seed=0)
    assert images.std((1, 2, 3)).min() > 0.05
    red, green, blue = images.reshape(32, 3, -1).swapaxes(0, 1)
    together = [np.corrcoef(a, b)[0, 1] for pair in ((red, green), (green, blue)) for a, b in zip(*pair, strict=True)]
    assert np.mean(together) > 0.4


def test_energy_lies_in_low_frequencies_unlike_that_of_white_noise() -> None:
    def low_share(planes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
        power = np.abs(np.fft.fft2(planes - planes.mean((1, 2), keepdims=True))) ** 2
        frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None, :])
        return float(power[:, frequency < 0.1].sum() / power.sum())

    # Of a 1/f amplitude spectrum about half the energy lies in the 2.7 lower octaves of 5, of white noise π/100.
    noise = np.random.default_rng(0).random((8, 64, 64), np.float32)
    assert low_share(natural_images(8, 1, 64, 64, seed=0)[:, 0]) > 0.5 > 0.05 > low_share(noise)
