"""Makes timm backbones and keeps each as a snapshot (config and weights), which every later step loads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import random_weights, torchvision_ops
from harness.errors import BackbenchError, SourceInvalid, UnknownName, did_you_mean
from harness.images import normalised_images
from harness.model import Artifact, Backbone, Export, TensorSpec
from harness.onnx_file import first_line
from harness.weights import fill, load_checkpoint, load_pretrained

CONFIG, WEIGHTS = "backbone.json", "weights.pt"
_TRIED_IMAGES = 2
"""The first of those that the reference is of."""
_SIZE_HINT = "try without --input-size: the backbone's own size always runs"
_DATA_KEYS = ("mean", "std", "interpolation", "crop_pct", "crop_mode")


def names() -> Mapping[str, Any]:
    """The architectures and pretrained names of the installed timm."""
    timm = _timm()
    return {"timm": timm.__version__, "models": timm.list_models(), "pretrained": timm.list_pretrained()}


def make(backbone: Backbone, folder: Path) -> Export:
    """Create the model and write its snapshot into `folder`. Raises `UnknownName`, `SourceInvalid` or `Offline`."""
    import torch

    torch.manual_seed(backbone.seed)
    model, options = _create(backbone)
    shape = _input_shape(model, backbone)
    data = _data_config(model, shape)
    try:
        if backbone.weights == "random":
            seen = normalised_images(_TRIED_IMAGES, shape, backbone.seed, data)
            random_weights.enliven(model, seen, backbone.seed)
        specs = _output_specs(model.eval(), shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(map(str, shape))
        raise SourceInvalid(f"{backbone.name} does not run on {size}: {first_line(error)}", _SIZE_HINT) from error
    config = {
        "name": backbone.name,
        "options": options,
        "input_size": list(shape),
        "features_only": backbone.features_only,
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "num_classes": 0 if backbone.features_only else int(model.num_classes),
        "timm": _timm().__version__,
        **data,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True))
    torch.save(model.state_dict(), folder / WEIGHTS)
    return Export(".", "fp32", (TensorSpec("input", ("batch", *shape), "float32"),), specs, config)


def load(artifact: Artifact) -> Any:
    """The `torch.nn.Module` of a snapshot: float32, on the CPU, in `eval` mode."""
    import torch

    folder = Path(artifact.path)
    config = json.loads((folder / CONFIG).read_text())
    with _quiet():
        model = _timm().create_model(config["name"], pretrained=False, **config["options"])
    state = torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu", mmap=True)
    model.load_state_dict(state, strict=True)
    return model.eval()


def _timm() -> Any:
    torchvision_ops.declare()
    import timm

    return timm


@contextmanager
def _quiet() -> Iterator[None]:
    """timm warns of renamed models and missing optional kernels; neither is news to whoever asked for the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _create(backbone: Backbone) -> tuple[Any, dict[str, Any]]:
    """The model with its weights, and the options that create it again."""
    timm = _timm()
    if not timm.is_model(backbone.name):
        hint = did_you_mean(backbone.name, timm.list_models(), "see: backbench list models")
        raise UnknownName(f"timm {timm.__version__} has no model {backbone.name!r}", hint)
    options: dict[str, Any] = {"features_only": True} if backbone.features_only else {}
    if backbone.input_size and _takes_size(timm, backbone.name):
        options["img_size"] = backbone.input_size
    if backbone.weights == "pretrained":
        return load_pretrained(timm, backbone.name, options), options
    if backbone.weights == "random":
        return _create_plain(timm, backbone.name, options), options
    state, classes = load_checkpoint(Path(backbone.weights), backbone.name, timm)
    if not backbone.features_only:
        options |= {"num_classes": classes} if classes else {}
    return _with_checkpoint(timm, backbone, options, state, classes), options


def _with_checkpoint(
    timm: Any, backbone: Backbone, options: Mapping[str, Any], state: Mapping[str, Any], classes: int
) -> Any:
    """The model with a checkpoint's weights: as they are where they fit, else carried over as timm does with its own.

    A feature net names its layers differently from the classifier it comes from, and a position embedding has one size.
    """
    model = _create_plain(timm, backbone.name, options)
    try:
        fill(model, state, backbone)
        return model
    except SourceInvalid:
        if not options.keys() & {"features_only", "img_size"}:
            raise
    headless = {"num_classes": 0} if backbone.features_only else {}
    head: dict[str, Any] = {"num_classes": classes} if classes else headless
    tried = [head, head | {"img_size": options["img_size"]}] if "img_size" in options else [head]
    while True:  # the classifier at its own size, then at the one asked for: the checkpoint is of one of them
        classifier = _create_plain(timm, backbone.name, tried.pop())
        try:
            fill(classifier, state, replace(backbone, features_only=False))
            break
        except SourceInvalid:
            if not tried:
                raise
    overlay = {"state_dict": classifier.state_dict(), "label_offset": 0, "num_classes": classes}
    return _create_plain(timm, backbone.name, {**options, "pretrained_cfg_overlay": overlay}, pretrained=True)


def _create_plain(timm: Any, name: str, options: Mapping[str, Any], pretrained: bool = False) -> Any:
    try:
        with _quiet():
            return timm.create_model(name, pretrained=pretrained, **options)
    except BackbenchError:
        raise
    except Exception as error:
        said = ", ".join(f"{key}={value}" for key, value in options.items() if key != "pretrained_cfg_overlay")
        raise SourceInvalid(
            f"timm cannot create {name} ({said}): {error}", "try without --input-size or features"
        ) from error


def _takes_size(timm: Any, name: str) -> bool:
    """Whether the architecture is built for one image size: its pretrained config says so."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(config is not None and config.fixed_input_size)


def _input_shape(model: Any, backbone: Backbone) -> tuple[int, int, int]:
    config = _pretrained_config(model)
    channels, height, width = config.get("input_size", (3, 224, 224))
    size = backbone.input_size
    return (channels, size or height, size or width)


def _pretrained_config(model: Any) -> Mapping[str, Any]:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    return config if isinstance(config, Mapping) else {}


def _data_config(model: Any, shape: tuple[int, int, int]) -> Mapping[str, Any]:
    """Preprocessing as timm resolves it: mean and standard deviation per channel (0..1), interpolation, crop.

    At the larger size that some weights are tested at, timm takes the crop of that test.
    """
    from timm.data import resolve_data_config

    known = dict(_pretrained_config(model))
    own, tested = (tuple(known.get(name) or ()) for name in ("input_size", "test_input_size"))
    resolved = resolve_data_config({"input_size": shape}, known, use_test_size=shape == tested != own)
    return {key: list(v) if isinstance(v := resolved[key], tuple) else v for key in _DATA_KEYS if key in resolved}


def _output_specs(model: Any, shape: tuple[int, int, int]) -> tuple[TensorSpec, ...]:
    """Names and shapes of the outputs, from one inference."""
    import torch

    with torch.inference_mode():
        result = model(torch.zeros(1, *shape))
    outputs = result if isinstance(result, (list, tuple)) else [result]
    named = (
        ["logits"]
        if len(outputs) == 1 and not isinstance(result, (list, tuple))
        else [f"feat_{i}" for i in range(len(outputs))]
    )
    return tuple(
        TensorSpec(name, ("batch", *output.shape[1:]), "float32") for name, output in zip(named, outputs, strict=True)
    )
