"""The number of classes of a checkpoint is read from its classifier, whatever the family calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import torchvision_ops, weights
from harness.model import Backbone
from tests import nets

HEADS = {
    "resnet10t": "fc", "mobilenetv3_small_050": "classifier", "vit_tiny_patch16_224": "head", "convnext_atto": "head.fc",
    "regnety_002": "head.fc", "efficientvit_b0": "head.classifier.4", "repvit_m0_9": "head.head.l",
    "levit_128s": "head.linear",
    "tiny_vit_5m_224": "head.fc", "swin_tiny_patch4_window7_224": "head.fc",
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_the_classes_of_a_checkpoint_are_counted(name: str, tmp_path: Path) -> None:
    torchvision_ops.declare()
    import timm
    import torch

    model = timm.create_model(name, num_classes=7)
    file = tmp_path / "seven.pth"
    torch.save(model.state_dict(), file)
    state, classes = weights.load_checkpoint(file, name, timm)
    assert classes == 7
    assert state[f"{HEADS[name]}.weight"].shape[0] == 7


def test_the_snapshot_has_the_checkpoints_classes(tmp_path: Path) -> None:
    torchvision_ops.declare()
    import timm
    import torch

    file = tmp_path / "seven.pth"
    torch.save({"state_dict": timm.create_model("resnet10t", num_classes=7).state_dict()}, file)
    made = nets.snapshot(Backbone("resnet10t", weights=str(file), input_size=64), tmp_path / "snapshot")
    assert made.details["num_classes"] == 7
    assert made.outputs[0].shape == ("batch", 7)
