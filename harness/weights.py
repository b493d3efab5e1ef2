"""Weights of a timm model from elsewhere: a checkpoint file, or the hub; what does not fit is named."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import Offline, SourceInvalid
from harness.model import Backbone

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers put before every name; they come in any order, one around the other."""
_COUNTER = ".num_batches_tracked"
"""A BatchNorm's count of training steps: no inference depends on it, and older checkpoints lack it."""
_HUB = "https://huggingface.co"
_REACH_S = 3.0
_OFFLINE_WAYS = (
    "without a network: give a checkpoint (--weights FILE.pth or FILE.safetensors), or fill the hub's cache elsewhere, "
    "copy it here and set HF_HOME and HF_HUB_OFFLINE=1; latency alone can be measured with --weights random"
)


def load_checkpoint(path: Path, name: str, timm: Any) -> tuple[dict[str, Any], int]:
    """The state dict in a checkpoint, and the number of classes of its classifier (0 where it has none).

    Loaded with `weights_only=True`: nothing in the file is executed. Raises `SourceInvalid`.
    """
    state = _state_dict(path)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    head = config.classifier if config is not None else ""
    heads = [head] if isinstance(head, str) else list(head or ())
    weight = next((state[f"{h}.weight"] for h in heads if f"{h}.weight" in state), None)
    return state, 0 if weight is None else int(weight.shape[0])


def _state_dict(path: Path) -> dict[str, Any]:
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceInvalid(
            f"the checkpoint {path} cannot be read as weights: {first}",
            "save the weights alone: torch.save(model.state_dict(), FILE)",
        ) from error
    return _unwrap(loaded, path)


def _unwrap(loaded: Any, path: Path) -> dict[str, Any]:
    import torch

    for key in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        kind = type(loaded).__name__
        raise SourceInvalid(
            f"the checkpoint {path} is not a state dict (it holds a {kind})",
            "save the weights alone: torch.save(model.state_dict(), FILE)",
        )
    state = dict(loaded)
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in state)), ""):
        state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def fill(model: Any, state: Mapping[str, Any], backbone: Backbone) -> None:
    """Load a state dict that must fit. Raises `SourceInvalid` naming what is missing, surplus or of another shape."""
    own = model.state_dict()
    missing = sorted(key for key in own.keys() - state.keys() if not key.endswith(_COUNTER))
    surplus = [] if backbone.features_only else sorted(state.keys() - own.keys())
    other = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own.keys() & state.keys()
        if state[k].shape != own[k].shape
    ]
    if missing or surplus or other:
        said = "; ".join(
            f"{what} {len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for what, names in (
                ("missing", missing),
                ("not in the model", surplus),
                ("of another shape", sorted(other)),
            )
            if names
        )
        raise SourceInvalid(
            f"the checkpoint {backbone.weights} does not fit {backbone.name}: {said}",
            "is it of this architecture? see: backbench list models",
        )
    model.load_state_dict({key: state.get(key, value) for key, value in own.items()}, strict=True)


def load_pretrained(timm: Any, name: str, options: Mapping[str, Any]) -> Any:
    """The model with its pretrained weights from the hub or its cache. Raises `Offline` within seconds without either."""
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if not offline and not _reachable(os.environ.get("HF_ENDPOINT", _HUB)):
        _keep_offline()
        offline = True
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "No pretrained weights exist" in first or "Invalid pretrained tag" in first:
            raise SourceInvalid(
                f"timm has no pretrained weights for {name}", "see: backbench list models '*.*'"
            ) from error
        why = "there is no network, and the hub's cache does not hold them" if offline else first
        raise Offline(f"the pretrained weights of {name} cannot be fetched: {why}", _OFFLINE_WAYS) from error


def _keep_offline() -> None:
    """The hub's client looks into its cache alone, instead of trying again for a minute.

    timm has imported it by now, and it reads the environment at import.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    if (constants := sys.modules.get("huggingface_hub.constants")) is not None:
        vars(constants)["HF_HUB_OFFLINE"] = True


def _reachable(endpoint: str) -> bool:
    """Whether the hub (or the proxy that leads to it) answers a connection within seconds."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    url = urlsplit(proxy or endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with socket.create_connection((url.hostname or "", port), timeout=_REACH_S):
            return True
    except OSError:
        return False
