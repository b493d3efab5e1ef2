"""Finding and running `trtexec`, and building engines with it.

Options are from its source, samples/common/sampleOptions.cpp of github.com/NVIDIA/TensorRT (samples/trtexecCommon from
11.4 on), 8.5 to 11.x. One that the box's trtexec does not list in `--help` is not given.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.api import JSON, Artifact, Device, MissingLibrary, OpenFailed, RunFailed, Setup, Unsupported, nvidia
from runtimes._ort_provider import PROBE

_PLACES = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
BUILD_LIMIT_S, RUN_LIMIT_S = 1800, 600
_MOST_DLA_CORES = 2
_FLAGS: Mapping[str, tuple[str, ...]] = {"fp16": ("--fp16",), "bf16": ("--bf16",), "int8": ("--int8",)}


@dataclass(frozen=True)
class Tool:
    """A `trtexec`, by its absolute path."""

    path: str

    @classmethod
    def found(cls) -> Tool:
        """`$TRTEXEC`, else on the PATH, else where JetPack puts it. Raises `MissingLibrary`."""
        given = os.environ.get("TRTEXEC", "")
        places = [given] if given else [shutil.which("trtexec") or "", *_PLACES]
        for place in places:
            if place and os.access(place, os.X_OK) and Path(place).is_file():
                return cls(place)
        where = (
            f"TRTEXEC={given} is no program"
            if given
            else "trtexec is not installed: it is neither on the PATH nor where JetPack puts it"
        )
        raise MissingLibrary(
            where, "on a Jetson: sudo apt install libnvinfer-bin; elsewhere set TRTEXEC=/path/to/trtexec"
        )

    def knows(self, option: str) -> bool:
        """Whether `--help` lists the option."""
        return re.search(rf"{re.escape(option)}\b", _help(self.path)) is not None

    def run(self, arguments: Sequence[str], limit_s: float) -> str:
        """What it prints. Raises `RunFailed` with its own first error."""
        command = [self.path, *(a for a in arguments if a)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace", timeout=limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise RunFailed(
                f"trtexec did not end within {limit_s:.0f} s", "try it by hand: " + " ".join(command)
            ) from error
        except OSError as error:
            raise RunFailed(
                f"trtexec does not start: {error.strerror}", f"try it by hand: {self.path} --help"
            ) from error
        if done.returncode != 0:
            raise nvidia.failure(RunFailed, "trtexec failed", _reason(done.stdout, done.returncode))
        return done.stdout

    def probe(self, *options: str) -> Device:
        """The GPU it runs on, found out by building and running one Relu with these options. Raises `RunFailed`."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "probe.onnx"
            file.write_bytes(PROBE)
            told = self.run((f"--onnx={file}", "--iterations=1", "--duration=0", "--warmUp=0", *options), RUN_LIMIT_S)
        return described(told)

    def dla_cores(self) -> Sequence[Device]:
        """The DLA cores that it takes; its small network may have fallen back to the GPU, so none is proven."""
        found: list[Device] = []
        for core in range(_MOST_DLA_CORES if self.knows("--useDLACore") else 0):
            device = Device("dla", core)
            try:
                gpu = self.probe(*on_device(device), "--fp16" if self.knows("--fp16") else "")
            except RunFailed:  # there is no such core
                break
            found.append(replace(device, name=f"DLA core of {gpu.name}", details={**gpu.details, "proven": False}))
        return tuple(found)


def described(told: str) -> Device:
    """The device in what trtexec printed: name, compute capability, TensorRT's version."""
    name = re.search(r"Selected Device:\s*(.+?)\s*$", told, re.MULTILINE)
    capability = re.search(r"Compute Capability:\s*([\d.]+)", told)
    version = re.search(r"TensorRT version:\s*([\d.]+)", told)
    if name is None or capability is None or version is None:
        raise RunFailed(
            "trtexec did not say which device it ran on", "run it by hand with the same options: trtexec --help"
        )
    details: Mapping[str, JSON] = {"compute_capability": capability[1], "tensorrt": version[1]}
    return Device("cuda", 0, name[1], None, details)


@functools.cache
def _help(path: str) -> str:
    try:
        done = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(
            f"{path} --help does not run: {error}", "is it built for this machine? see: file " + path
        ) from error
    return done.stdout + done.stderr


def _reason(printed: str, status: int) -> str:
    errors = [line.partition("[E]")[2].strip() for line in printed.splitlines() if "[E]" in line]
    missing = re.search(r"error while loading shared libraries: (\S+):", printed)
    if missing:
        return f"{missing[1]} is missing"
    return (errors[0] if errors else (printed.strip().splitlines() or [f"exit status {status}"])[-1])[:300]


# ── engines ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Built:
    """An engine file with what it was made for."""

    file: Path
    device: Device
    from_cache: bool


def engine_for(tool: Tool, artifact: Artifact, setup: Setup, cache: Path) -> Built:
    """The engine of that ONNX file, precision, batch and options on this GPU and version: built once.

    Raises `OpenFailed`; `Unsupported` for a precision that this trtexec does not know.
    """
    if setup.device.kind == "cuda" and setup.device.index:
        raise Unsupported("trtexec is used on the first GPU alone", "choose it by CUDA_VISIBLE_DEVICES")
    device = tool.probe()
    arguments = build_arguments(tool, artifact, setup, str(device.details["tensorrt"]))
    key = json.dumps([artifact.digest, arguments, device.name, dict(device.details)], sort_keys=True)
    file = cache / f"trtexec-{hashlib.sha256(key.encode()).hexdigest()[:16]}.engine"
    with nvidia.locked(file):
        if file.exists() and setup.options["keep_engine"]:
            return Built(file, device, from_cache=True)
        beside = file.with_suffix(".part")
        try:
            tool.run((f"--onnx={artifact.path}", f"--saveEngine={beside}", *arguments), BUILD_LIMIT_S)
            beside.rename(file)
        except (RunFailed, OSError) as error:
            beside.unlink(missing_ok=True)
            hint = error.hint if isinstance(error, RunFailed) else ""
            raise OpenFailed(f"trtexec built no engine of {Path(artifact.path).name}: {error}", hint) from error
    return Built(file, device, from_cache=False)


def build_arguments(tool: Tool, artifact: Artifact, setup: Setup, version: str) -> tuple[str, ...]:
    """The options of a build: typed graph where the version has it, TF32 said outright, shapes of the batch."""
    only_typed = int(version.partition(".")[0]) >= 11  # it has no other networks, and no flags of a precision
    typed = only_typed or (tool.knows("--stronglyTyped") and setup.device.kind != "dla")
    made: list[str] = ["--stronglyTyped"] if typed and tool.knows("--stronglyTyped") else []
    made += on_device(setup.device)
    for flag in _FLAGS.get(setup.precision, ()) if not typed else ():
        if not tool.knows(flag):
            raise Unsupported(f"this trtexec has no {flag}", "take another precision, or a newer TensorRT")
        made.append(flag)
    if setup.precision != "tf32":
        made.append("--noTF32")
    if any(spec.dynamic_batch for spec in artifact.inputs):
        made += [f"--{name}={shapes(artifact, setup.batch)}" for name in ("minShapes", "optShapes", "maxShapes")]
    if tool.knows("--builderOptimizationLevel"):
        made.append(f"--builderOptimizationLevel={setup.options['builder_level']}")
    if limit := setup.options["workspace_mib"]:
        made.append(f"--memPoolSize=workspace:{limit}")
    made.append("--profilingVerbosity=detailed")
    # 8.6 and later have --skipInference; 8.5 calls it --buildOnly.
    made += [next((option for option in ("--skipInference", "--buildOnly") if tool.knows(option)), "")]
    return tuple(option for option in made if option)


def transfers(tool: Tool, *, wanted: bool) -> tuple[str, ...]:
    """The options that have copies timed, or left out; 11 leaves them out by itself, and ignores `--noDataTransfers`."""
    asked_for = tool.knows("--includeDataTransfers")
    if not wanted:
        return () if asked_for else ("--noDataTransfers",)
    # Without --exposeDMA the copies of one inference lie under the kernels of another.
    given = (("--includeDataTransfers", asked_for), ("--exposeDMA", tool.knows("--exposeDMA")))
    return tuple(option for option, known in given if known)


_SWITCHES = (("cuda_graph", "--useCudaGraph", "--noCudaGraph"), ("spin_wait", "--useSpinWait", "--noSpinWait"))


def switches(tool: Tool, options: Mapping[str, JSON]) -> tuple[str, ...]:
    """The options of CUDA graphs and of spinning; 11 has both on by itself, and is told where they are not asked for."""
    made = []
    for name, on, off in _SWITCHES:
        by_itself = tool.knows(off)
        if bool(options[name]) is not by_itself:
            made.append(off if by_itself else on)
    return tuple(made)


def on_device(device: Device) -> tuple[str, ...]:
    """The options that put a network on a DLA core, for building and for running alike."""
    return (f"--useDLACore={device.index or 0}", "--allowGPUFallback") if device.kind == "dla" else ()


def shapes(artifact: Artifact, batch: int) -> str:
    return ",".join(f"{s.name}:{'x'.join(map(str, (batch, *s.shape[1:])))}" for s in artifact.inputs)
