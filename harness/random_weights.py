"""Random weights that verify something: no part of the network is silent, and rounding errors stay rounding errors."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any

from harness.images import natural_images

_FEW, _PLACES = 8, 49
"""So many images suffice where every BatchNorm sees at least so many places of each: a map of 7 x 7."""
_IMAGES, _BATCHES = 16, 2
"""Elsewhere: a BatchNorm of vectors has one sample per image. With 16 in all, levit_128s was ill-conditioned (a relative
error of 5e-5 to 8e-5 in fp32 itself, 6e-6 with 32)."""
_CLOSED, _ADDED = 0.1, ("bias", "token", "pos", "embed")
_BRANCH_SCALE = 0.3
"""Of the order that trained residual branches have; deep nets stay in range with it."""
_MOST_ROUNDING = 1e-5
"""Relative L2 difference between the outputs in fp32 and in fp64 from which on a network is calmed: a tenth of the tightest
tolerance of a comparison."""
_CALM_BIAS = 1.0
"""In standard deviations: a ReLU then passes 84 %, and a layer amplifies errors by 1.06 instead of 1.21."""
_LEAST_VARIANCE = 0.1
"""Of a channel, relative to the median of its BatchNorm's channels."""


def enliven(model: Any, reference: Any, seed: int) -> None:
    """Give weights that silence a part of the model a value, and recompute BatchNorm statistics on generated images.

    Freshly initialised, deep nets' outputs collapse (efficientnet_b0: a standard deviation of 3.7e-6), heads are
    constant, and residual branches are multiplied by 0 (ResNet's last norm of a block) or 1e-6 (layer scale), so that an
    exporter could get a whole block wrong and every comparison would pass (METHOD 6).

    `reference` are normalised images of the kind that will be compared, float32 `(number, channels, height, width)`.
    """
    _fill_constant_weights(model)
    _open_branches(model)
    _scale_queries(model)
    norms, others = _batch_norms(model), _group_norms(model)
    shape = reference.shape[1:]
    if norms:
        _recompute(model, norms, shape, seed + 1)
    if (norms or others) and _rounding(model, reference) > _MOST_ROUNDING:
        _shift_upwards([*norms, *others])
        if norms:
            _recompute(model, norms, shape, seed + 1)
            _floor_variances(norms)


def _open_branches(model: Any) -> None:
    """Raise the factors that are constant and next to nothing, whatever their family calls them.

    `gamma`, `ls1`, `alpha`, `gain`, `weight` of a norm: told by their values, because a list of names misses NFNet and
    ResMLP. A constant that is added (bias, token, position embedding) silences nothing.
    """
    import torch

    for name, scale in model.named_parameters():
        if any(part in name.rpartition(".")[2] for part in _ADDED) or not scale.numel():
            continue
        if scale.abs().max() < _CLOSED and scale.min() == scale.max():
            with torch.no_grad():
                scale.fill_(_BRANCH_SCALE)


def _fill_constant_weights(model: Any) -> None:
    """Some heads (and gates) are initialised to zero, so that a fresh model gives the same output for every input."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and weight is not None and not weight.any():
            fan_in = weight[0].numel()
            with torch.no_grad():
                weight.copy_(torch.randn(weight.shape, generator=generator) / fan_in**0.5)


def _scale_queries(model: Any) -> None:
    """Scale normalised queries where the attention does not: logits then differ by 1, as other attention's do, not by 8.

    Gemma 4 has learnt what its queries are multiplied by. With ones there softmax chooses among tokens by rounding errors,
    layer after layer: outputs in fp32 and fp64 differed by 7e-5 at 288 pixels, and with this by 2e-7.
    """
    import torch

    for attention in model.modules():
        weight = getattr(getattr(attention, "q_norm", None), "weight", None)
        if weight is not None and not hasattr(attention, "scale"):
            with torch.no_grad():
                weight /= weight.numel() ** 0.5


# ── BatchNorm ────────────────────────────────────────────────────────────────────────────────────────────────────


def _batch_norms(model: Any) -> list[Any]:
    from torch.nn.modules.batchnorm import _BatchNorm

    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


def _group_norms(model: Any) -> list[Any]:
    import torch

    return [module for module in model.modules() if isinstance(module, torch.nn.GroupNorm)]


def _recompute(model: Any, norms: list[Any], shape: tuple[int, int, int], seed: int) -> None:
    def images(count: int) -> Any:
        return (natural_images(count, *shape, seed) - 0.45) / 0.225

    if _average(model, norms, images(_FEW)) < _PLACES:
        _average(model, norms, images(_IMAGES * _BATCHES))


def _average(model: Any, norms: list[Any], images: Any) -> int:
    """Take the statistics of these images; the fewest places of an image that a BatchNorm had them of."""
    import torch

    batches = torch.from_numpy(images).split(_IMAGES)
    values: list[int] = []
    model.eval()
    with ExitStack() as stack, torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            stack.callback(setattr, norm, "momentum", norm.momentum)
            norm.momentum = None  # a cumulative average
            norm.train()
            counted = norm.register_forward_pre_hook(lambda _, given: values.append(given[0][:, 0].numel()))
            stack.callback(counted.remove)
        for batch in batches:
            model(batch.contiguous(memory_format=torch.channels_last))  # a quarter less time of a CPU
    model.eval()
    return min(values, default=0) // len(batches[0])


def _rounding(model: Any, images: Any) -> float:
    """How much of an output is fp32's rounding: its relative L2 difference from that in fp64, of the worst image and output.

    Random networks of normalised ReLUs are chaotic, most of all without shortcuts: every ReLU amplifies by
    sqrt(pi / (pi - 1)), about 1.21 (Yang et al., A Mean Field Theory of Batch Normalization, 2019), and so is the rounding of
    each layer: 1.1e-4 in inception_v4, 8e-5 in the last feature map of resnetv2_101x1_bit (GroupNorm), and 4.6e-4 in
    levit_192, whose BatchNorms enlarge what averaging by attention leaves. Trained networks do not. 0 for a network that
    cannot compute in fp64.
    """
    import torch

    given = torch.from_numpy(images)
    with torch.no_grad():
        single = _listed(model(given))
        try:
            double = _listed(copy.deepcopy(model).double()(given.double()))
        except RuntimeError:  # it makes fp32 tensors of its own
            return 0.0
    return max(map(_relative, single, double))


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _relative(single: Any, double: Any) -> float:
    double = double.flatten(1)
    error = (single.flatten(1).double() - double).norm(dim=1)
    return float((error / double.norm(dim=1).clamp(min=1e-30)).max())


def _shift_upwards(norms: list[Any]) -> None:
    """Shift what norms give upwards, so that the activations after them are passed more than cut."""
    import torch

    with torch.no_grad():
        for norm in norms:
            if norm.affine:
                norm.bias += _CALM_BIAS * norm.weight.abs()


def _floor_variances(norms: list[Any]) -> None:
    """A channel that hardly ever answered is not enlarged without bounds where it does.

    In mobileone_s4 such channels (a variance of 1e-14 beside a median of 0.4) made activations of 2e4 of some images.
    """
    for norm in norms:
        norm.running_var.clamp_(min=float(norm.running_var.median()) * _LEAST_VARIANCE)
