"""PyTorch, eager and compiled: what is read back is what the tensors are. The nets are tiny stand-ins for timm's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import backbone, registry
from harness.api import OpenFailed, RunFailed
from harness.model import Artifact, Device, Recipe, Setup, TensorSpec
from runtimes._torch import _set_switches
from runtimes._torch_profile import _kernel
from tests.runtimes.opening import SHAPE, images, infer, opened

torch: Any = pytest.importorskip("torch")
BUILD = Callable[[], Any]


def net() -> Any:
    """A convolution and a classifier, seeded."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 3, padding=1)
    return torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(256, 5)).eval()


def artifact(*outputs: str) -> Artifact:
    """A timm artifact with these outputs; `load` is replaced, so it has no files."""
    specs = tuple(TensorSpec(name, ("batch", 5), "float32") for name in outputs or ("logits",))
    x = TensorSpec("x", ("batch", *SHAPE), "float32")
    return Artifact("timm", "", "fp32", (x,), specs, "", 0, Recipe("test", ""))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[BUILD], None]:
    """Replace what `load_timm` loads."""
    return lambda build: monkeypatch.setattr(backbone, "load", lambda _: build())


@pytest.fixture(autouse=True)
def _default(use: Callable[[BUILD], None]) -> None:
    use(net)


@pytest.mark.parametrize("batch", [1, 4])
def test_eager_computes_what_the_module_does(batch: int) -> None:
    with opened("torch_eager", artifact(), batch=batch) as session:
        results = [infer(session, images(batch, seed)) for seed in (1, 2)]
    for seed, result in zip((1, 2), results, strict=True):
        expected = net()(torch.from_numpy(images(batch, seed))).detach().numpy()
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_facts_are_read_from_tensors_and_switches() -> None:
    with opened("torch_eager", artifact()) as session:
        infer(session, images())
        facts = session.facts()
    assert (facts.precision, facts.device, facts.threads, facts.memory_format) == ("fp32", "cpu", 1, "contiguous")
    assert facts.versions["torch"] == torch.__version__
    assert facts.settings["input_memory_format"] == "contiguous"
    assert facts.settings["interop_threads"] == 1
    assert facts.settings["tf32_matmul"] is False and facts.settings["tf32_cudnn"] is False
    parallel = facts.settings["parallel"]
    assert isinstance(parallel, dict) and parallel["at::get_num_threads()"] == "1"


def test_a_pytorch_without_onednn_is_not_asked_for_its_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some Arm boards: the operators that tell them are not there."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    with opened("torch_eager", artifact()) as session:
        infer(session, images())
        settings = session.facts().settings
    assert not any(settings[name] for name in ("mkldnn", "mkldnn_fp16", "mkldnn_bf16"))


def test_channels_last_is_seen_in_weights_and_inputs() -> None:
    with opened("torch_eager", artifact(), channels_last=True) as session:
        result = infer(session, images())
        facts = session.facts()
    assert (facts.memory_format, facts.settings["input_memory_format"]) == ("channels_last", "channels_last")
    np.testing.assert_allclose(result, net()(torch.from_numpy(images())).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_memory_format_that_no_tensor_tells_is_unknown(use: Callable[[BUILD], None]) -> None:
    """Of a 1x1 kernel both layouts are the same."""
    use(lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()))
    with opened("torch_eager", artifact()) as session:
        infer(session, images())
        assert session.facts().memory_format is None


def test_bf16_runs_in_bf16_and_hands_out_float32() -> None:
    with opened("torch_eager", artifact(), precision="bf16") as session:
        result = infer(session, images())
        assert session.facts().precision == "bf16"
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, net()(torch.from_numpy(images())).detach().numpy(), atol=0.05)


def test_mixed_parameters_prove_no_precision(use: Callable[[BUILD], None]) -> None:
    class Mixed(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def to(self, **_: Any) -> Any:
            self.inner[0].to(torch.bfloat16)
            return self

        def forward(self, x: Any) -> Any:
            return self.inner[1:](self.inner[0](x.to(torch.bfloat16)).float())

    use(Mixed)
    with opened("torch_eager", artifact()) as session:
        infer(session, images())
        assert session.facts().precision is None


def test_several_outputs_come_in_order(use: Callable[[BUILD], None]) -> None:
    class Pyramid(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> list[Any]:
            return [x[:, :, :4], x[:, :, 4:]]

    use(Pyramid)
    with opened("torch_eager", artifact("feat_0", "feat_1")) as session:
        session.bind({"x": images()})
        session.run()
        outputs = session.fetch()
    assert list(outputs) == ["feat_0", "feat_1"]
    assert (outputs["feat_1"] == images()[:, :, 4:]).all()


@pytest.mark.parametrize("batch", [1, 2])
def test_an_input_of_another_shape_is_refused_and_never_broadcast(batch: int) -> None:
    with opened("torch_eager", artifact(), batch=4) as session:
        infer(session, images(4))
        with pytest.raises(RunFailed, match="has shape"):
            infer(session, images(batch))


def test_what_a_module_raises_becomes_ours(use: Callable[[BUILD], None]) -> None:
    use(lambda: torch.nn.Sequential(torch.nn.Conv2d(7, 5, 1)))
    with opened("torch_eager", artifact()) as session, pytest.raises(RunFailed, match="channels"):
        infer(session, images())


def test_a_snapshot_that_cannot_be_read_fails_to_open(use: Callable[[BUILD], None]) -> None:
    def broken() -> Any:
        raise RuntimeError("unexpected end of file\nat some place")

    use(broken)
    with pytest.raises(OpenFailed, match=r"cannot load the model on cpu: unexpected end of file\n"):
        opened("torch_eager", artifact())


def test_a_cuda_device_that_is_not_there_fails_to_open() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(OpenFailed, match="no CUDA device"):
        opened("torch_eager", artifact(), device=Device("cuda", 0))


def test_an_old_gpu_does_not_hide_another_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from runtimes import _torch

    def multiply(_: object, where: str) -> None:
        if where == "cuda:0":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(_torch, "_multiply", multiply)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    told = SimpleNamespace(name="GPU", total_memory=1 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: told)
    assert [device.id for device in registry.runtime_class("torch_eager")().devices()] == ["cpu", "cuda:1"]
    assert "cuda:0 runs nothing: CUDA error: no kernel image" in capsys.readouterr().err


def test_a_session_on_a_second_gpu_makes_it_the_current_one(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[BUILD], None]
) -> None:
    """Or its events would be recorded on the first. No GPU: the model does not get there."""
    chosen: list[int] = []

    def loaded() -> Any:
        raise RuntimeError(f"the current device is {chosen}")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    use(loaded)
    with pytest.raises(OpenFailed, match=r"cannot load the model on cuda:1: the current device is \[1\]"):
        opened("torch_eager", artifact(), device=Device("cuda", 1))


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="this PyTorch does not tell it")
def test_products_that_are_rounded_are_not_called_fp32() -> None:
    """`set_float32_matmul_precision("medium")` lets oneDNN multiply fp32 matrices in bf16."""
    before = torch.get_float32_matmul_precision()
    with opened("torch_eager", artifact()) as session:
        infer(session, images())
        assert session.facts().precision == "fp32"
        torch.set_float32_matmul_precision("medium")
        try:
            facts = session.facts()
        finally:
            torch.set_float32_matmul_precision(before)
    assert facts.precision == "bf16"
    assert facts.settings["fp32_precision"]["matmul"] == "bf16"  # type: ignore[call-overload,index]


def test_the_profile_names_operators() -> None:
    with opened("torch_eager", artifact()) as session:
        infer(session, images())
        inferences = session.profile(2)
    assert len(inferences) == 2
    conv = next(layer for layer in inferences[-1].layers if layer.kind == "aten::conv2d")
    assert conv.time_ns > 0 and "conv" in conv.kernel and conv.precision == "fp32" and conv.module
    assert sum(layer.time_ns for layer in inferences[-1].layers) <= inferences[-1].latency_ns


def test_a_kernel_is_what_computes_also_where_making_the_output_took_longer() -> None:
    def event(name: str, self_us: float, *children: Any) -> Any:
        return SimpleNamespace(name=name, self_cpu_time_total=self_us, cpu_children=children)

    empty, convolution = event("aten::empty", 90.0), event("aten::mkldnn_convolution", 50.0, event("aten::empty", 90.0))
    assert _kernel(event("aten::conv2d", 2.0, convolution), on_gpu=False) == "aten::mkldnn_convolution"
    assert _kernel(empty, on_gpu=False) == "aten::empty"


def test_closing_twice_is_harmless() -> None:
    session = opened("torch_eager", artifact())
    session.close()
    session.close()


def test_on_a_gpu_the_hosts_threads_only_copy() -> None:
    before = torch.get_num_threads()
    try:
        options = dict(registry.runtime_class("torch_eager").options)
        _set_switches(torch, Setup(Device("cuda", 0), "fp32", 1, 2, options, ""))
        assert torch.get_num_threads() == 1, "a pool of them would spin beside what launches kernels"
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_cuda_runs_in_the_precision_of_its_label(precision: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with opened("torch_eager", artifact(), precision=precision, device=Device("cuda", 0)) as session:
        session.bind({"x": images()})
        clock = session.clock()
        assert clock is not None
        clock.start()
        session.run()
        clock.end()
        session.sync()
        assert clock.elapsed_ns() > 0
        assert session.facts().precision == precision
        assert session.facts().device == "cuda:0"
        result = session.fetch()["logits"]
    np.testing.assert_allclose(result, net()(torch.from_numpy(images())).detach().numpy(), atol=0.05)


# ── compiled ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def _inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening sets these for the process; here they are put back."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setenv("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")


@pytest.mark.usefixtures("_inductor")
def test_a_second_opening_takes_what_the_first_compiled(tmp_path: Path) -> None:
    facts = []
    for _ in range(2):
        with opened("torch_compile", artifact(), cache=str(tmp_path)) as session:
            result = infer(session, images())
            facts.append(session.facts())
    assert [f.settings["inductor_cache_hits"] for f in facts] == [0, 1]
    assert [f.settings["graphs"] for f in facts] == [1, 1], "the first inference compiled again"
    assert facts[0].settings["graph_breaks"] == 0 and facts[0].settings["mode"] == "default"
    assert facts[0].precision == "fp32"
    np.testing.assert_allclose(result, net()(torch.from_numpy(images())).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_inductor")
def test_graph_breaks_are_told_and_refused_with_fullgraph(tmp_path: Path, use: Callable[[BUILD], None]) -> None:
    class Broken(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: Any) -> Any:
            y = x * self.scale
            torch._dynamo.graph_break()
            return y + 1

    use(Broken)
    with opened("torch_compile", artifact(), cache=str(tmp_path)) as session:
        assert (infer(session, images()) == images() + 1).all()
        breaks = session.facts().settings["graph_breaks"]
    assert breaks == 1
    with pytest.raises(OpenFailed, match=r"torch\.compile"):
        opened("torch_compile", artifact(), cache=str(tmp_path), fullgraph=True)
