"""PyTorch sessions on the CPU and on CUDA, for the eager and the compiled runtime."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.api import (
    Artifact,
    Clock,
    Device,
    Facts,
    Format,
    OpenFailed,
    ProfiledInference,
    RunFailed,
    Runtime,
    Session,
    Setup,
    first_line,
    load_timm,
    working,
)
from runtimes._torch_events import Events
from runtimes._torch_facts import precision_of, told
from runtimes._torch_profile import profiled

if TYPE_CHECKING:
    from harness.api import Array


class TorchRuntime(Runtime):
    """What eager and compiled PyTorch share: the devices, the precisions, the way a model is placed."""

    accepts: ClassVar[tuple[Format, ...]] = ("timm",)
    precisions: ClassVar = {"cpu": ("fp32", "fp16", "bf16"), "cuda": ("fp32", "tf32", "fp16", "bf16")}
    refuses: ClassVar = {
        "cpu": {
            "tf32": "TF32 is a mode of NVIDIA's tensor cores",
            "int8": "PyTorch's int8 (PT2E) computes in float until Inductor has lowered it: take torch_compile",
        },
        "cuda": {"int8": "torchao's PT2E quantizer makes programs for x86 processors: take an ONNX runtime"},
    }
    casts: ClassVar = {"tf32": "fp32", "fp16": "fp32", "bf16": "fp32"}
    needs: ClassVar = {"torch": "torch", "timm": "timm"}
    process_sd = 0.025
    # Eager allocates every activation anew. glibc gives a large one back to the kernel when it is freed, or does not,
    # as a process's history has it: mobilenetv3_large_100 then takes 13 ms or, with 2,300 page faults each time, 22 ms.
    environment: ClassVar = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}

    def devices(self) -> Sequence[Device]:
        """The host, and every CUDA device that multiplies two matrices."""
        import torch

        numbers = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        gpus = [(index, torch.cuda.get_device_properties(index)) for index in numbers]
        listed = [Device("cpu"), *(Device("cuda", index, told.name, told.total_memory) for index, told in gpus)]
        return working(listed, lambda device: _multiply(torch, device.id))


def _multiply(torch: Any, where: str) -> None:
    ones = torch.ones(8, 8, device=where)
    if (ones @ ones).sum().item() != 512:
        raise OpenFailed(f"PyTorch multiplies wrongly on {where}", "see: backbench doctor")


class TorchSession(Session):
    """A module in inference mode, with inputs that are copied in place."""

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        """Place the model. Raises `OpenFailed` where the device cannot take it."""
        import torch

        self._torch, self._artifact, self._setup = torch, artifact, setup
        self._where = torch.device(setup.device.id)
        if self._where.type == "cuda" and not torch.cuda.is_available():
            raise OpenFailed("PyTorch finds no CUDA device", "see: backbench doctor")
        _set_switches(torch, setup)
        self._format = torch.channels_last if setup.options["channels_last"] else torch.contiguous_format
        self._dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(setup.precision, torch.float32)
        try:
            if self._where.type == "cuda":  # an event that is recorded, and what allocates, goes to the current device
                torch.cuda.set_device(setup.device.index or 0)
            model = self._load().to(device=self._where, dtype=self._dtype, memory_format=self._format)
        except (RuntimeError, OSError) as error:
            raise OpenFailed(
                f"PyTorch cannot load the model on {setup.device.id}: {first_line(error)}", "see the worker's log"
            ) from error
        self._model = self._call = model
        self._inputs: list[Any] = []
        self._hosts: dict[int, Any] = {}
        """Page-locked memory of each input and output on a GPU, by the tensor's id or the output's number."""
        self._result: Any = None

    def _load(self) -> Any:
        return load_timm(self._artifact)

    def compile(self, **options: Any) -> None:
        """Compile the model, and let the compilation happen now: it belongs to loading."""
        self._call = self._torch.compile(self._model, **options)
        with self._torch.inference_mode():  # as `bind` makes them
            self._inputs = [
                self._input([self._setup.batch, *(int(n) for n in spec.shape[1:])]) for spec in self._artifact.inputs
            ]
        self.run()
        self.sync()

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Copy into the input tensors, in the session's type and memory format; the first call makes them.

        Raises `RunFailed` for another shape than the first one.
        """
        torch = self._torch
        with torch.inference_mode():
            if not self._inputs:
                self._inputs = [self._input(array.shape) for array in feed.values()]
            for tensor, array in zip(self._inputs, feed.values(), strict=True):
                if tensor.shape != array.shape:  # copy_ would broadcast it
                    raise RunFailed(f"an input has shape {array.shape}, the session takes {tuple(tensor.shape)}")
                self._send(tensor, torch.from_numpy(array))

    def _send(self, tensor: Any, array: Any) -> None:
        """On a GPU through page-locked memory of the same type and layout, so that the copy is one of the stream."""
        if self._where.type != "cuda":
            tensor.copy_(array)
            return
        host = self._hosts.get(id(tensor))
        if host is None:
            host = self._hosts[id(tensor)] = self._torch.empty_like(tensor, device="cpu", pin_memory=True)
        host.copy_(array)
        tensor.copy_(host, non_blocking=True)

    def _input(self, shape: Sequence[int]) -> Any:
        layout = self._format if len(shape) == 4 else self._torch.contiguous_format
        return self._torch.zeros(tuple(shape), dtype=self._dtype, device=self._where).to(memory_format=layout)

    def run(self) -> None:
        """One forward pass. Raises `RunFailed`."""
        try:
            with self._torch.inference_mode():
                self._result = self._call(*self._inputs)
        except RuntimeError as error:
            raise RunFailed(f"PyTorch: {first_line(error)}", "see the worker's log") from error

    def sync(self) -> None:
        """Wait for the CUDA stream; on the CPU there is nothing to wait for."""
        if self._where.type == "cuda":
            self._torch.cuda.synchronize(self._where)

    def fetch(self) -> Mapping[str, Array]:
        """Outputs as float32 host arrays."""
        names = [spec.name for spec in self._artifact.outputs]
        if self._where.type == "cuda":
            hosts = self._download()
            self.sync()
            return {name: host.numpy().copy() for name, host in zip(names, hosts, strict=True)}
        return {name: output.float().cpu().numpy() for name, output in zip(names, self._outputs(), strict=True)}

    def _outputs(self) -> Sequence[Any]:
        return self._result if isinstance(self._result, (list, tuple)) else [self._result]

    def _download(self) -> list[Any]:
        """Enqueue the copies of the outputs, as float32, into page-locked memory."""
        hosts = []
        for number, output in enumerate(self._outputs()):
            host = self._hosts.get(-1 - number)
            if host is None:
                host = self._torch.empty(output.shape, dtype=self._torch.float32, pin_memory=True)
                self._hosts[-1 - number] = host
            host.copy_(output.float(), non_blocking=True)
            hosts.append(host)
        return hosts

    def split(self) -> Mapping[str, int] | None:
        """Copies and inference, between CUDA events; None on the CPU."""
        if self._where.type != "cuda":
            return None
        events = [self._torch.cuda.Event(enable_timing=True) for _ in range(4)]
        events[0].record()
        with self._torch.inference_mode():
            for tensor in self._inputs:
                tensor.copy_(self._hosts[id(tensor)], non_blocking=True)
        events[1].record()
        self.run()
        events[2].record()
        self._download()
        events[3].record()
        self.sync()
        times = [int(first.elapsed_time(last) * 1e6) for first, last in itertools.pairwise(events)]
        return dict(zip(("h2d", "compute", "d2h"), times, strict=True))

    def clock(self) -> Clock | None:
        """CUDA events on a GPU."""
        return Events() if self._where.type == "cuda" else None

    def device_bytes(self) -> int | None:
        """Memory that PyTorch's allocator holds on the GPU."""
        return int(self._torch.cuda.memory_reserved(self._where)) if self._where.type == "cuda" else None

    def facts(self) -> Facts:
        """Read back from the parameters, the bound inputs and PyTorch's switches."""
        return told(self._model.parameters(), self._inputs)

    def profile(self, inferences: int) -> Sequence[ProfiledInference]:
        """Operator times by torch.profiler, under the names of their modules."""
        return self._profile(self._model, inferences)

    def _profile(self, named: Any, inferences: int) -> Sequence[ProfiledInference]:
        def once() -> None:
            self.run()
            self.sync()

        precision = precision_of([*self._model.parameters(), *self._inputs])
        return profiled(once, named, str(self._where), precision or "", inferences)

    def close(self) -> None:
        """Let go of the model and its tensors."""
        self._model = self._call = self._result = None
        self._inputs, self._hosts = [], {}


def _set_switches(torch: Any, setup: Setup) -> None:
    """Threads and precision switches; the process is the session's own."""
    # On a GPU the host only copies: a pool of threads would spin after every copy, beside the one that launches kernels
    # (nine busy processors beside resnet50 on an H100).
    if threads := 1 if setup.device.kind == "cuda" else setup.threads:
        torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = setup.precision == "tf32"
    torch.backends.cudnn.benchmark = bool(setup.options["cudnn_benchmark"])
