"""What Backbench uses of TensorRT and cuda-core, and whether NVIDIA's own bindings have it. Run by check-tensorrt-api.

The bindings need libnvinfer and its companions, which need a GPU. Here small libraries of the same names take their
place, compiled with an empty function for every entry point that the bindings ask for: enough to import them, and to
read every class, member, enum and signature. Nothing is executed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "tests" / "data" / "tensorrt_api.json"
SOURCES = (
    "tensorrt==8.5.3.1", "tensorrt-bindings==8.6.1", "tensorrt-cu12-bindings==10.3.0", "tensorrt-cu13-bindings==10.16.1.11",
    "tensorrt-cu13-bindings==11.4.0.106",
)  # fmt: skip
CUDA = ("cuda-core==1.0.1", "cuda-core==1.2.2")
TYPES, CUDA_TYPES = ROOT / "harness" / "tensorrt_types.py", ROOT / "runtimes" / "_cuda.py"
ADAPTER = (
    "harness/nvidia.py", "exporters/tensorrt_engine.py", "exporters/_tensorrt.py", "exporters/_tensorrt_parse.py",
    "exporters/_tensorrt_timings.py", "runtimes/tensorrt.py",
    "runtimes/_tensorrt.py", "runtimes/_tensorrt_engine.py", "runtimes/_tensorrt_profile.py",
    "runtimes/_tensorrt_probe.py", "runtimes/_cuda.py",
)  # fmt: skip
# Written below the class they belong to in TensorRT, and stored as that.
_MODULE, _OPERATORS = "TensorRT", ("__sub__",)


# ── what is used ──────────────────────────────────────────────────────────────────────────────────────────────────


def protocols(file: Path) -> dict[str, dict[str, list[str] | None]]:
    """Class -> member -> names of its parameters (None for a property or a constant), of every Protocol in `file`."""
    found = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Protocol" for base in node.bases):
            members: dict[str, list[str] | None] = {}
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    members[item.name] = [a.arg for a in (*item.args.args[1:], *item.args.kwonlyargs)]
                elif isinstance(item, ast.AnnAssign):
                    members[item.target.id] = None
            found[node.name] = members
    return found


def asked_for(files: tuple[str, ...] = ADAPTER) -> set[str]:
    """Qualified names (`BuilderFlag.FP16`) given to `optional` and `put`: what only some versions have."""
    names = set()
    for file in files:
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if re.fullmatch(r"I?[A-Z][A-Za-z]+\.([a-z_0-9]+|[A-Z_0-9]+)", text):
                names.add(text)
    return names


def chains(files: tuple[str, ...] = ADAPTER) -> set[str]:
    """Attribute chains that begin with the module (`trt.ProfilingVerbosity.DETAILED`), without `trt.`."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Attribute):
                text = ast.unparse(node)
                if re.fullmatch(r"(self\._)?trt(\.\w+)+", text):
                    found.add(text.split("trt.", 1)[1])
    return found


# ── whether it is there ───────────────────────────────────────────────────────────────────────────────────────────


def faults(api: dict, used: dict, optional: set[str], attributes: set[str]) -> list[str]:
    """Everything that is used and is not in every version, or is asked for as optional and is in all or in none."""
    versions, members = list(api["versions"]), api["members"]
    wrong = []
    for owner, names in used.items():
        if owner == _MODULE:
            wrong += [f"{name}: no such class" for name in names if name != "__version__" and name not in members]
            continue
        for name, parameters in names.items():
            if name.startswith("__") and name not in _OPERATORS:
                continue
            signatures = members.get(owner, {}).get(name, {})
            has = [version for there in signatures.values() for version in there]
            wrong += [f"{owner}.{name} is not in {version}" for version in versions if version not in has]
            for signature, there in signatures.items():
                if parameters is not None and not takes(signature, parameters):
                    wrong.append(f"{owner}.{name}({', '.join(parameters)}) in {there}: {signature}")
    for qualified in sorted(optional):
        owner, name = qualified.split(".")
        has = {version for there in members.get(owner, {}).get(name, {}).values() for version in there}
        if not has:
            wrong.append(f"{qualified} is asked for, and is in no version")
        elif len(has) == len(versions):
            wrong.append(f"{qualified} is asked for as optional, and is in every version: declare it in a Protocol")
    for chain in sorted(attributes):
        owner, _, name = chain.partition(".")
        if owner not in used[_MODULE] or (name and "." not in name and name != "__init__" and name not in used[owner]):
            wrong.append(f"trt.{chain} is used, and is in no Protocol of {TYPES.name}")
    return wrong


def takes(signature: str, parameters: list[str]) -> bool:
    """Whether one overload of a signature has these parameters by name, and defaults for its others."""
    if "(" not in signature:
        return False
    for overload in signature.split(" || "):
        inside = overload[overload.index("(") + 1 : overload.rindex(")") if ")" in overload else None]
        listed = [part.strip() for part in _split(inside)]
        # Cython writes the type before the name too: `Buffer src: Buffer`.
        given = {re.split(r"[:=]", part)[0].split()[-1]: "=" in part for part in listed if part not in ("", "*", "/")}
        given.pop("self", None)
        if set(parameters) <= set(given) and all(given[name] for name in given if name not in parameters):
            return True
    return False


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


# ── what the bindings have ────────────────────────────────────────────────────────────────────────────────────────


def look(module: object, wanted: list[str]) -> dict[str, dict[str, str]]:
    """Class -> member -> signature, of the wanted classes."""
    return {name: _members(getattr(module, name)) for name in wanted if hasattr(module, name)}


def _members(kind: type) -> dict[str, str]:
    names = [name for name in dir(kind) if not name.startswith("_") or name in _OPERATORS]
    return {name: _signature(kind, name) for name in names if not name.startswith("add_") or "profile" in name}


def _signature(kind: type, name: str) -> str:
    static, member = inspect.getattr_static(kind, name), getattr(kind, name)
    if isinstance(static, property) or not callable(member):
        return "property"
    lines = [line.strip() for line in (member.__doc__ or "").splitlines()]
    numbered = [line.split(". ", 1)[1] for line in lines if re.match(rf"\d+\. {name}\(", line)]
    first = next((line for line in lines if line.startswith((f"{name}(", f"{kind.__name__}.{name}("))), "")
    text = " || ".join(numbered) or first
    if not text:
        try:
            text = f"{name}{inspect.signature(member)}"
        except (TypeError, ValueError):
            text = f"{name}(...)" if name not in _OPERATORS else f"{name}(self, other)"
    return re.sub(r"tensorrt\.|typing\.|typing_extensions\.", "", text)


def _run(*command: str | Path, **more: object) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **more).stdout


def _download(requirement: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.whl")):
        _run(
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            folder,
            requirement,
        )
    return next(folder.glob("*.whl"))


def tensorrt_of(requirement: str, folder: Path, wanted: list[str]) -> tuple[dict[str, dict[str, str]], str]:
    """The API of one version of the bindings, and where it is from."""
    wheel = _download(requirement, folder / requirement)
    extension = folder / requirement / "tensorrt.so"
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/tensorrt.so"))
        extension.write_bytes(archive.read(name))
    entries = [line.split()[-1] for line in _run("nm", "-D", "--undefined-only", extension).splitlines()]
    source = extension.with_name("entries.c")
    needed = [e for e in entries if re.fullmatch(r"(create|get|init)[A-Z]\w+|_ZN\d+nv(uff|caffe)\w+", e)]
    source.write_text("".join(f"void *{entry}(void) {{ return 0; }}\n" for entry in needed))
    for library in re.findall(r"\[(libnv[\w.]+)\]", _run("readelf", "-d", extension)):
        _run("gcc", "-shared", "-fPIC", "-w", "-o", extension.with_name(library), source, f"-Wl,-soname,{library}")
    order = json.dumps(wanted)
    told = _run(sys.executable, __file__, "--look", extension, order, env={"LD_LIBRARY_PATH": str(extension.parent)})
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return json.loads(told), f"{wheel.name}, sha256 {digest}"


def cuda_of(requirement: str, folder: Path, wanted: list[str]) -> tuple[dict[str, dict[str, str]], str]:
    """The API of one version of cuda-core, which imports without a driver."""
    there = folder / requirement
    if not (there / "cuda").exists():
        bindings = "cuda-bindings>=13,<14"
        _run(sys.executable, "-m", "pip", "install", "-q", "--target", there, requirement, bindings, "numpy<2")
    told = _run(sys.executable, __file__, "--look", "cuda.core", json.dumps(wanted), env={"PYTHONPATH": str(there)})
    return json.loads(told), requirement


def gathered(sources: tuple[str, ...], of: object, folder: Path, wanted: list[str]) -> dict:
    """All versions in one: member -> signature -> versions."""
    versions: dict[str, str] = {}
    members: dict[str, dict[str, dict[str, list[str]]]] = {}
    for requirement in sources:
        api, origin = of(requirement, folder, wanted)
        version = requirement.partition("==")[2]
        versions[version] = origin
        for owner, names in api.items():
            for name, signature in names.items():
                members.setdefault(owner, {}).setdefault(name, {}).setdefault(signature, []).append(version)
        print(f"  {requirement}: {sum(map(len, api.values()))} members of {len(api)} classes", flush=True)
    return {"versions": versions, "members": members}


def main() -> int:
    folder = ROOT / "build" / "tensorrt-api"
    used, cuda = protocols(TYPES), protocols(CUDA_TYPES)
    wanted = sorted({*used, *(name.split(".")[0] for name in asked_for())} - {_MODULE})
    print("importing NVIDIA's bindings over stub libraries; nothing is executed")
    made = {
        "made_by": "scripts/check-tensorrt-api --update",
        "tensorrt": gathered(SOURCES, tensorrt_of, folder, wanted),
        "cuda-core": gathered(CUDA, cuda_of, folder, sorted(cuda)),
    }
    wrong = faults(made["tensorrt"], used, asked_for(), chains())
    wrong += faults(made["cuda-core"], {**cuda, _MODULE: {}}, set(), set())
    text = json.dumps(made, indent=1, sort_keys=True) + "\n"
    if "--update" in sys.argv:
        KEPT.write_text(text)
        print(f"wrote {KEPT.relative_to(ROOT)}")
    elif KEPT.read_text() != text:
        wrong.append(f"{KEPT.relative_to(ROOT)} is not what the bindings say: scripts/check-tensorrt-api --update")
    print("\n".join(wrong) or "everything that is used is there, in every version, or is chosen by version")
    return 1 if wrong else 0


def _look() -> int:
    place, wanted = sys.argv[2], json.loads(sys.argv[3])
    if place == "cuda.core":
        module: object = importlib.import_module(place)
        graph = importlib.import_module("cuda.core.graph") if importlib.util.find_spec("cuda.core.graph") else module
        api = look(module, wanted) | look(graph, [name for name in wanted if not hasattr(module, name)])
    else:
        loader = importlib.machinery.ExtensionFileLoader("tensorrt", place)
        spec = importlib.util.spec_from_file_location("tensorrt", place, loader=loader)
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        api = look(module, wanted)
    print(json.dumps(api))
    return 0


if __name__ == "__main__":
    raise SystemExit(_look() if sys.argv[1:2] == ["--look"] else main())
