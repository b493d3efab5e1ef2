"""What is called of TensorRT and cuda-core exists in every version that is supported, or is chosen by version.

The kept list is read from NVIDIA's own bindings by `scripts/check-tensorrt-api`; what is used is read from the code.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
_MEND = (
    "mend the call, choose it by version (nvidia.optional), or read the bindings: scripts/check-tensorrt-api --update"
)


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("tensorrt_api", ROOT / "scripts" / "tensorrt_api.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def api() -> Any:
    return json.loads((ROOT / "tests" / "data" / "tensorrt_api.json").read_text())


def test_everything_that_is_called_of_tensorrt_is_in_every_version(api: Any) -> None:
    script = _script()
    used = script.protocols(script.TYPES)
    wrong = script.faults(api["tensorrt"], used, script.asked_for(), script.chains())
    assert not wrong, "\n".join((*wrong, _MEND))


def test_everything_that_is_called_of_cuda_core_is_in_every_version(api: Any) -> None:
    script = _script()
    used = {**script.protocols(script.CUDA_TYPES), "TensorRT": {}}
    wrong = script.faults(api["cuda-core"], used, set(), set())
    assert not wrong, "\n".join((*wrong, _MEND))


def test_the_versions_are_those_that_are_promised_and_say_where_they_are_from(api: Any) -> None:
    promised = ["10.16.1.11", "10.3.0", "11.4.0.106", "8.5.3.1", "8.6.1"]
    assert sorted(api["tensorrt"]["versions"]) == promised
    assert all(".whl, sha256 " in origin for origin in api["tensorrt"]["versions"].values())


def test_the_adapter_uses_something_of_every_kind() -> None:
    """Guards the reading itself: a pattern that finds nothing would prove nothing."""
    script = _script()
    assert {
        "BuilderFlag.FP16",
        "IBuilderConfig.builder_optimization_level",
        "ParserError.node_name",
    } <= script.asked_for()
    assert {"ProfilingVerbosity.DETAILED", "Builder", "OnnxParser", "Runtime"} <= script.chains()
    assert script.protocols(script.TYPES)["IExecutionContext"]["execute_async_v3"] == ["stream_handle"]


@pytest.mark.parametrize(
    ("used", "optional", "chains", "says"),
    [
        ({"Builder": {"build_engine": ["network"]}}, set(), set(), "Builder.build_engine is not in 10.3.0"),
        ({"Builder": {"create_network": ["flag"]}}, set(), set(), "create_network(flag)"),
        ({}, {"BuilderFlag.NEVER"}, set(), "is in no version"),
        ({}, {"BuilderFlag.TF32"}, set(), "is in every version"),
        ({}, set(), {"BuilderFlag.INT8"}, "trt.BuilderFlag.INT8 is used"),
    ],
)
def test_a_call_that_a_version_lacks_is_found(
    used: dict[str, Any], optional: set[str], chains: set[str], says: str, api: Any
) -> None:
    made = {"TensorRT": {"BuilderFlag": None}, "BuilderFlag": {"TF32": None}, **used}
    wrong = _script().faults(api["tensorrt"], made, optional, chains)
    assert any(says in fault for fault in wrong), wrong


def test_only_one_place_imports_tensorrt() -> None:
    """Elsewhere it would be untyped, and its calls unseen."""
    files = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("runtimes/*.py"), *ROOT.glob("exporters/*.py")]
    importing = [file.name for file in files if "    import tensorrt\n" in file.read_text()]
    assert importing == ["nvidia.py"], "take nvidia.library() instead"
