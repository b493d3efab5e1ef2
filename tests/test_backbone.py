"""Backbones are made from timm names and checkpoints; what cannot be used is named, and nothing in a file is executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness import backbone, random_weights, reference, torchvision_ops
from harness.errors import SourceInvalid, UnknownName
from harness.images import natural_images, normalised_images
from harness.model import Artifact, Backbone
from tests import nets

SMALL = Backbone("test_resnet", input_size=64)
State = Mapping[str, Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return nets.snapshot(SMALL, tmp_path_factory.mktemp("small"))


@pytest.fixture
def state(small: Artifact) -> State:
    loaded: State = torch.load(Path(small.path) / backbone.WEIGHTS, weights_only=True)
    return loaded


# ── random weights ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_weights(small: Artifact, tmp_path: Path) -> None:
    images = natural_images(2, 3, 64, 64, seed=0)
    torch.rand(7)  # what ran before must not matter
    again = nets.snapshot(SMALL, tmp_path / "again")
    other = nets.snapshot(replace(SMALL, seed=1), tmp_path / "other")
    (first,) = nets.outputs_of(small, images)
    assert np.array_equal(nets.outputs_of(again, images)[0], first)
    assert nets.rel_l2(nets.outputs_of(other, images)[0], first) > 0.1


@pytest.mark.parametrize(
    ("name", "size"), [("efficientnet_b0", 64), ("mobilenetv3_small_050", 64), ("test_vit", 160), ("test_convnext", 64)]
)
def test_outputs_of_random_weights_differ_between_inputs(name: str, size: int, tmp_path: Path) -> None:
    """Fresh from timm, efficientnet_b0's differ by less than 1e-5: every comparison would pass."""
    made = nets.snapshot(Backbone(name, input_size=size), tmp_path)
    (outputs,) = nets.outputs_of(made, natural_images(4, 3, size, size, seed=3))
    assert np.isfinite(outputs).all()
    assert reference.variation(outputs) > 10 * reference.LEAST_VARIATION


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 64),
        ("convnext_atto", 64),
        ("test_vit", 160),
        ("cait_xxs24_224", 224),
        ("test_nfnet", 96),
        ("resmlp_12_224", 224),
    ],
)
def test_no_part_of_a_random_backbone_is_silent(name: str, size: int, tmp_path: Path) -> None:
    """An error in any block must show in the output, or verification passes what it should not."""
    kept = nets.snapshot(Backbone(name, input_size=size), tmp_path)
    images = natural_images(2, 3, size, size, seed=0)
    (whole,) = nets.outputs_of(kept, images)
    model = backbone.load(kept)
    # a squeeze-excite gate (NFNet's `attn_last`) is a sigmoid near 1/2, and moves outputs by less than 1e-3 however it is
    layers = [
        m
        for key, m in model.named_modules()
        if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) and "attn_last" not in key
    ]
    last = layers[-3]
    with torch.no_grad():
        # noise, because NFNet's standardised weights make a factor disappear
        last.weight.add_(last.weight.std() * torch.randn(last.weight.shape, generator=torch.Generator().manual_seed(0)))
        changed = model(torch.from_numpy(images)).numpy()
    assert nets.rel_l2(changed, whole) > 1e-3


def grouped(channels: int) -> torch.nn.Module:
    """The norm of networks that keep no statistics (BiT)."""
    return torch.nn.GroupNorm(2, channels)


def plain(depth: int, norm: Callable[[int], torch.nn.Module] = torch.nn.BatchNorm2d) -> torch.nn.Module:
    """Convolutions, norms and ReLUs without a shortcut: chaotic where they are random."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [torch.nn.Conv2d(3, 8, 3, padding=1)]
    for _ in range(depth):
        layers += [norm(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, padding=1)]
    return torch.nn.Sequential(*layers)


SEEN = normalised_images(2, (3, 32, 32), 5, {})


def rounding(net: torch.nn.Module, seen: Any = SEEN) -> float:
    """Relative L2 difference of the outputs in fp32 and in fp64."""
    images = torch.from_numpy(seen)
    with torch.inference_mode():
        single = net(images).double()
        double = net.double()(images.double())
    return float((single - double).norm() / double.norm())


@pytest.mark.parametrize("norm", [torch.nn.BatchNorm2d, grouped])
def test_a_network_that_amplifies_rounding_errors_is_calmed(
    norm: Callable[[int], torch.nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    calmed, chaotic = plain(60, norm), plain(60, norm)
    random_weights.enliven(calmed, SEEN, 0)
    monkeypatch.setattr(random_weights, "_MOST_ROUNDING", float("inf"))
    random_weights.enliven(chaotic, SEEN, 0)
    assert rounding(calmed) < rounding(chaotic) / 10


def test_a_network_that_does_not_amplify_rounding_errors_keeps_its_biases() -> None:
    net = plain(3)
    random_weights.enliven(net, SEEN, 0)
    assert not any(m.bias.any() for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_rounding_is_that_of_the_worst_output() -> None:
    class Beside(torch.nn.Module):  # type: ignore[misc]
        """A large output without errors beside a chaotic one, as the first feature map is beside the last."""

        def __init__(self) -> None:
            super().__init__()
            self.net = plain(60)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [1e6 * x, self.net(x)]

    net = Beside()
    random_weights.enliven(net, SEEN, 0)
    assert all(m.bias.any() for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_statistics_are_of_more_images_where_a_batch_norm_has_one_value_of_each() -> None:
    def images_seen(*last: torch.nn.Module) -> int:
        torch.manual_seed(0)
        first = torch.nn.Conv2d(3, 8, 3)
        net = torch.nn.Sequential(first, torch.nn.BatchNorm2d(8), *last)
        seen: list[int] = []
        counted = first.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
        random_weights.enliven(net, SEEN, 0)
        counted.remove()
        return sum(seen)

    assert 3 * images_seen() < images_seen(torch.nn.AdaptiveAvgPool2d(1), torch.nn.BatchNorm2d(8))


def test_attention_without_a_scale_does_not_amplify_rounding_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision_ops.declare()
    import timm

    small = {"img_size": 144, "embed_dim": 128, "num_heads": 2, "depth": 12, "num_classes": 8}

    def gemma() -> torch.nn.Module:
        torch.manual_seed(0)
        return timm.create_model("gemma4_vit_167m", **small).eval()

    scaled, plain = gemma(), gemma()
    random_weights.enliven(scaled, SEEN, 0)
    monkeypatch.setattr(random_weights, "_scale_queries", lambda _: None)
    random_weights.enliven(plain, SEEN, 0)
    images = normalised_images(2, (3, 144, 144), 5, {})
    assert rounding(scaled, images) < rounding(plain, images) / 10


def test_a_loaded_backbone_is_in_eval_mode_and_takes_any_batch(small: Artifact) -> None:
    assert not backbone.load(small).training
    images = natural_images(3, 3, 64, 64, seed=0)
    (together,) = nets.outputs_of(small, images)
    alone = np.concatenate([nets.outputs_of(small, images[i : i + 1])[0] for i in range(3)])
    assert nets.rel_l2(alone, together) < 1e-5


# ── shapes and config ─────────────────────────────────────────────────────────────────────────────────────────────


def test_features_have_one_output_per_scale(tmp_path: Path) -> None:
    made = nets.snapshot(replace(SMALL, features_only=True), tmp_path)
    assert [spec.name for spec in made.outputs] == [f"feat_{i}" for i in range(5)]
    outputs = nets.outputs_of(made, natural_images(2, 3, 64, 64, seed=0))
    assert [o.shape for o in outputs] == [(2, *spec.shape[1:]) for spec in made.outputs]
    sides = [o.shape[-1] for o in outputs]
    assert sides == sorted(sides, reverse=True) and len(set(sides)) == 5


@pytest.mark.parametrize(("name", "own", "other"), [("test_resnet", 160, 96), ("test_vit", 160, 96)])
def test_the_input_size_is_the_models_own_or_the_one_asked_for(name: str, own: int, other: int, tmp_path: Path) -> None:
    """A vision transformer is built for one size, a convolutional net takes any."""
    for size, expected in ((0, own), (other, other)):
        made = nets.snapshot(Backbone(name, input_size=size), tmp_path / str(size))
        assert made.inputs[0].shape == ("batch", 3, expected, expected)
        (outputs,) = nets.outputs_of(made, natural_images(1, 3, expected, expected, seed=0))
        assert outputs.shape == (1, 1000)


@pytest.mark.parametrize(("size", "crop"), [(0, 0.95), (288, 1.0), (256, 0.95)])
def test_the_size_that_weights_are_tested_at_has_the_crop_of_that_test(size: int, crop: float, tmp_path: Path) -> None:
    """resnet18.a1_in1k was trained at 224, and is tested at 288 without cutting off anything."""
    made = nets.snapshot(Backbone("resnet18.a1_in1k", input_size=size), tmp_path)
    assert made.details["crop_pct"] == crop


def test_a_size_the_architecture_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match="timm cannot create test_vit"):
        backbone.make(Backbone("test_vit", input_size=-5), tmp_path)


def test_the_snapshot_tells_what_the_model_is(small: Artifact) -> None:
    config = json.loads((Path(small.path) / backbone.CONFIG).read_text())
    assert config["name"] == "test_resnet"
    assert config["params"] == sum(p.numel() for p in backbone.load(small).parameters())
    assert config["num_classes"] == 1000
    assert len(config["mean"]) == len(config["std"]) == 3
    assert small.details["params"] == config["params"]


def test_an_unknown_name_comes_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no model 'resnet5O'") as caught:
        backbone.make(Backbone("resnet5O"), tmp_path)
    assert "did you mean" in caught.value.hint and "'resnet50'" in caught.value.hint


def test_the_names_of_the_installed_timm_are_listed() -> None:
    listed = backbone.names()
    assert "test_resnet" in listed["models"]
    assert any(name.startswith("resnet50.") for name in listed["pretrained"])


# ── checkpoints ───────────────────────────────────────────────────────────────────────────────────────────────────

WAYS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "plain.pth": lambda s: s,
    "lightning.ckpt": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 3},
    "parallel.pth": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
    "compiled.pt": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "compiled_parallel.pt": lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
    "parallel_compiled.pt": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "lightning_compiled.ckpt": lambda s: {"state_dict": {f"model._orig_mod.{k}": v for k, v in s.items()}},
    "without_counters.pth": lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    "averaged.pth": lambda s: {"state_dict": {k: v * 0 for k, v in s.items()}, "state_dict_ema": s},
}


@pytest.mark.parametrize("file", [*WAYS, "plain.safetensors"])
def test_a_checkpoint_gives_the_weights_that_are_in_it(
    file: str, small: Artifact, state: State, tmp_path: Path
) -> None:
    path = tmp_path / file
    if path.suffix == ".safetensors":
        save_file(dict(state), path)
    else:
        torch.save(WAYS[file](dict(state)), path)
    made = nets.snapshot(replace(SMALL, weights=str(path), seed=5), tmp_path / "made")
    images = natural_images(2, 3, 64, 64, seed=0)
    assert np.array_equal(nets.outputs_of(made, images)[0], nets.outputs_of(small, images)[0])


def test_a_checkpoint_brings_its_number_of_classes(state: State, tmp_path: Path) -> None:
    seven = {k: v[:7] if k.startswith("fc.") else v for k, v in state.items()}
    torch.save(seven, tmp_path / "seven.pth")
    made = nets.snapshot(replace(SMALL, weights=str(tmp_path / "seven.pth")), tmp_path / "made")
    assert made.outputs[0].shape == ("batch", 7)


def test_features_take_a_classifiers_checkpoint(state: State, tmp_path: Path) -> None:
    torch.save(dict(state), tmp_path / "whole.pth")
    asked = replace(SMALL, weights=str(tmp_path / "whole.pth"), features_only=True)
    made = nets.snapshot(asked, tmp_path / "made")
    assert len(made.outputs) == 5


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "swin_tiny_patch4_window7_224"])
def test_features_renamed_by_timm_hold_the_checkpoints_weights(name: str, tmp_path: Path) -> None:
    """A feature net's keys differ from the classifier's here (`stages_0.…`, `model.blocks.0.…`)."""
    whole = nets.snapshot(Backbone(name, seed=3), tmp_path / "whole")
    path = str(Path(whole.path) / backbone.WEIGHTS)
    made = nets.snapshot(Backbone(name, weights=path, features_only=True), tmp_path / "made")
    _, channels, height, width = made.inputs[0].shape
    images = natural_images(1, int(channels), int(height), int(width), seed=0)
    with torch.inference_mode():
        layers = backbone.load(whole).forward_intermediates(torch.from_numpy(images), intermediates_only=True)
    last = layers[-1].numpy()
    feature = nets.outputs_of(made, images)[-1]
    feature = feature if feature.shape == last.shape else feature.transpose(0, 3, 1, 2)
    assert nets.rel_l2(feature, last) < 1e-5


def test_a_checkpoint_of_a_fixed_size_is_carried_over_to_another(tmp_path: Path) -> None:
    whole = nets.snapshot(Backbone("test_vit"), tmp_path / "whole")
    asked = Backbone("test_vit", weights=str(Path(whole.path) / backbone.WEIGHTS), input_size=96)
    made = backbone.load(nets.snapshot(asked, tmp_path / "made")).state_dict()
    own = backbone.load(whole).state_dict()
    assert made["pos_embed"].shape != own["pos_embed"].shape
    assert all(torch.equal(made[key], own[key]) for key in own if key != "pos_embed")


@pytest.mark.parametrize(("name", "size"), [("levit_128s", 100), ("test_convnext", 7)])
def test_a_size_that_only_running_it_shows_to_be_impossible_is_named(name: str, size: int, tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match=f"{name} does not run on 3x{size}x{size}"):
        backbone.make(Backbone(name, input_size=size), tmp_path)


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2, 3], "is not a state dict .it holds a list"),
        ({}, "is not a state dict"),
        ({"epoch": 3}, "is not a state dict"),
        (_Evil(), "cannot be read as weights"),
    ],
    ids=["list", "empty", "numbers", "code"],
)
def test_what_is_not_a_state_dict_is_refused(
    content: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(SourceInvalid, match=said) as caught:
        backbone.make(replace(SMALL, weights=str(tmp_path / "odd.pth")), tmp_path)
    assert "odd.pth" in caught.value.message
    assert "torch.save(model.state_dict(), FILE)" in caught.value.hint
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors", "empty.pth", "missing.pth", "missing.safetensors"])
def test_an_unreadable_checkpoint_is_refused(name: str, tmp_path: Path) -> None:
    if "missing" not in name:
        (tmp_path / name).write_text("hello\n" if "text" in name else "")
    with pytest.raises(SourceInvalid, match=r"cannot be read as weights: .+"):
        backbone.make(replace(SMALL, weights=str(tmp_path / name)), tmp_path)


def test_a_truncated_checkpoint_is_refused(small: Artifact, state: State, tmp_path: Path) -> None:
    whole = (Path(small.path) / backbone.WEIGHTS).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    save_file(dict(state), tmp_path / "cut.safetensors")
    with (tmp_path / "cut.safetensors").open("r+b") as file:
        file.truncate(len(whole) // 2)
    for name in ("cut.pth", "cut.safetensors"):
        with pytest.raises(SourceInvalid, match="cannot be read as weights"):
            backbone.make(replace(SMALL, weights=str(tmp_path / name)), tmp_path)


def test_a_checkpoint_of_another_architecture_names_what_does_not_fit(state: State, tmp_path: Path) -> None:
    torch.save(dict(state), tmp_path / "resnet.pth")
    with pytest.raises(SourceInvalid, match=r"does not fit test_vit: missing \d+ \(.*not in the model \d+ \("):
        backbone.make(Backbone("test_vit", weights=str(tmp_path / "resnet.pth")), tmp_path)


def test_a_tensor_of_another_shape_is_named(state: State, tmp_path: Path) -> None:
    torch.save({**state, "conv1.0.weight": torch.zeros(1, 2)}, tmp_path / "odd.pth")
    with pytest.raises(
        SourceInvalid, match=r"of another shape 1 \(conv1.0.weight \(1, 2\) instead of \(\d+, 3, 3, 3\)\)"
    ):
        backbone.make(replace(SMALL, weights=str(tmp_path / "odd.pth")), tmp_path)


# ── pretrained ────────────────────────────────────────────────────────────────────────────────────────────────────


def _pretrained(name: str, folder: Path, **environment: str) -> list[str]:
    """Class, message and hint of the error, from a process of its own: the hub's client reads the environment once."""
    script = (
        "import sys; from pathlib import Path; from harness import backbone; from harness.model import Backbone\n"
        "from harness.errors import BackbenchError\n"
        f"try: backbone.make(Backbone({name!r}, weights='pretrained'), Path({str(folder)!r}))\n"
        "except BackbenchError as e: print(type(e).__name__, e.message, e.hint, sep='\\n')\n"
    )
    hidden = {"HTTPS_PROXY", "https_proxy", "HF_ENDPOINT", "HF_HUB_OFFLINE"}
    env = {k: v for k, v in os.environ.items() if k not in hidden} | {"HF_HOME": str(folder / "hub"), **environment}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert "Retry" not in done.stderr
    return done.stdout.strip().splitlines()


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_pretrained_weights_without_a_network_say_so(environment: dict[str, str], tmp_path: Path) -> None:
    """Nobody listens on the discard port; the client by itself tries again for a minute."""
    kind, message, hint = _pretrained("test_resnet.r160_in1k", tmp_path, **environment)
    assert kind == "Offline"
    assert "test_resnet.r160_in1k" in message and "there is no network" in message
    assert "--weights" in hint and "HF_HOME" in hint


def test_a_name_without_pretrained_weights_says_so(tmp_path: Path) -> None:
    kind, message, _ = _pretrained("resnet50t", tmp_path, HF_HUB_OFFLINE="1")
    assert (kind, message) == ("SourceInvalid", "timm has no pretrained weights for resnet50t")
