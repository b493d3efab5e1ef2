"""Real labelled data without a network: scikit-learn's digits as image files, and a small timm model trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODEL, SIZE = "resnet10t", 32
MEAN, STD = 0.5, 0.5
"""Not ImageNet's, as a training script of one's own would have it."""
TRAINED_ON = 1200
"""Of 1797; the rest is held out."""


@dataclass(frozen=True)
class Digits:
    """A trained checkpoint, and the held-out images as a folder per class."""

    checkpoint: Path
    images: Path
    size: int
    accuracy: float
    """Top-1 that the training script itself found on the held-out images, in PyTorch."""


def arrays() -> tuple[Any, Any]:
    """All digits as uint8 images (1797, 32, 32), and their labels."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    small = (data.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for image in small]
    return np.stack(large), data.target


def write_images(folder: Path, images: Any, labels: Any) -> Path:
    """`folder`/LABEL/NUMBER.png"""
    from PIL import Image

    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        inner = folder / str(label)
        inner.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).convert("RGB").save(inner / f"{i:04d}.png")
    return folder


def make(folder: Path, model_name: str = MODEL, epochs: int = 4) -> Digits:
    """Train, and save the checkpoint and the held-out images; some ten seconds on one core.

    On one, because OpenMP's threads wait for each other by spinning, and minutes pass where other tests run beside.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _make(folder, model_name, epochs)
    finally:
        torch.set_num_threads(threads)


def _make(folder: Path, model_name: str, epochs: int) -> Digits:
    from harness import torchvision_ops

    torchvision_ops.declare()
    import timm
    import torch

    torch.manual_seed(0)
    images, labels = arrays()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    inputs = torch.from_numpy((images.astype(np.float32) / 255 - MEAN) / STD)[:, None].repeat(1, 3, 1, 1)
    targets = torch.from_numpy(labels).long()
    model = timm.create_model(model_name, pretrained=False, num_classes=10)
    steps = epochs * -(-TRAINED_ON // 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(TRAINED_ON).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        right = (model(inputs[TRAINED_ON:]).argmax(1) == targets[TRAINED_ON:]).double().mean()
    checkpoint = folder / "digits.pth"
    torch.save(model.state_dict(), checkpoint)
    held_out = write_images(folder / "digits", images[TRAINED_ON:], labels[TRAINED_ON:])
    return Digits(checkpoint, held_out, SIZE, float(right))
