"""What is known of an architecture before its weights are made is what it is."""

from __future__ import annotations

from typing import Any

import pytest

from harness import torchvision_ops
from harness.coverage import census

torch: Any = pytest.importorskip("torch")
torchvision_ops.declare()
pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "resnet18", "levit_128s", "test_nfnet"])
def test_an_architecture_is_counted_without_its_weights(name: str) -> None:
    import timm

    told: list[Any] = []
    census.describe([name], told.append)
    real = timm.create_model(name)
    params = sum(parameter.numel() for parameter in real.parameters())
    assert (told[0]["params"], tuple(told[0]["input_size"])) == (params, real.pretrained_cfg["input_size"])


def test_only_what_has_no_memory_is_left_unfilled() -> None:
    with census._unfilled():
        assert torch.zeros(2).fill_(3.0).tolist() == [3.0, 3.0]
        assert torch.nn.init.constant_(torch.zeros(2), 3.0).tolist() == [3.0, 3.0]
        nothing = torch.empty(2, device="meta")
        assert torch.nn.init.normal_(nothing) is nothing
