"""The public door to results: `load(paths)` gives one row per cell, every column documented with its unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import builds, published
from harness.accuracy import join
from harness.model import OutputError
from harness.record import Latency, Record, Run, Speedup

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column: its unit (empty for none), what it means, and how it is read from a record."""

    unit: str
    meaning: str
    read: Callable[[Run, Record], Any]


def _latency(scope: str, read: Callable[[Latency], Any]) -> Callable[[Run, Record], Any]:
    return lambda _, r: read(r.latency[scope]) if scope in r.latency else None


def _percentile(scope: str, name: str) -> Callable[[Run, Record], Any]:
    return _latency(scope, lambda latency: _ms(latency.percentiles_ns.get(name)))


def _speedup(scope: str, read: Callable[[Speedup], Any]) -> Callable[[Run, Record], Any]:
    return lambda _, r: read(r.speedup[scope]) if scope in r.speedup else None


def _of(part: str, name: str) -> Callable[[Run, Record], Any]:
    return lambda _, r: getattr(getattr(r, part), name) if getattr(r, part) is not None else None


def _worst(name: str, pick: Callable[[Iterable[float]], float]) -> Callable[[Run, Record], Any]:
    def read(_: Run, r: Record) -> float | None:
        errors: tuple[OutputError, ...] = r.verification.outputs if r.verification else ()
        values = [value for error in errors if (value := getattr(error, name)) is not None]
        return pick(values) if values else None

    return read


def _condition(probe: str, name: str) -> Callable[[Run, Record], Any]:
    """A number that a probe read; None where it is `unavailable: <why>`, which the record says."""

    def read(_: Run, r: Record) -> Any:
        found = r.conditions.get(probe)
        value = found.get(name) if isinstance(found, Mapping) else None
        return None if isinstance(value, str) and value.startswith("unavailable: ") else value

    return read


def _ms(ns: float | None) -> float | None:
    return None if ns is None else ns / 1e6


def _giga(name: str) -> Callable[[Run, Record], Any]:
    read = _of("roofline", name)
    return lambda run, r: None if (value := read(run, r)) is None else value / 1e9


def _attainable(_: Run, r: Record) -> float | None:
    return _ms(r.roofline.attainable_ns) if r.roofline else None


def _throughput(_: Run, r: Record) -> float | None:
    return r.cell.batch / (r.latency["compute"].median_ns / 1e9) if "compute" in r.latency else None


def _published(_: Run, r: Record) -> float | None:
    found = published.of_size(r)
    return found.top1 if found else None


COLUMNS: Mapping[str, Column] = {
    "run": Column("", "id of the run", lambda run, _: run.id),
    "started": Column("", "when the run began (ISO 8601)", lambda run, _: run.started),
    "cpu": Column("", "processor of the machine", lambda run, _: run.machine.get("cpu")),
    "key": Column("", "stable hash that names the cell", lambda _, r: r.key),
    "group": Column("", "hash of what its group shares (backbone, weights, input, batch)", lambda _, r: r.group),
    "backbone": Column("", "timm name, or the ONNX file's stem", lambda _, r: r.cell.backbone.name),
    "weights": Column(
        "", "`random`, `pretrained`, `file` or a checkpoint's path", lambda _, r: r.cell.backbone.weights
    ),
    "input_size": Column("px", "height and width; 0 is the backbone's own", lambda _, r: r.cell.backbone.input_size),
    "runtime": Column("", "runtime plug-in", lambda _, r: r.cell.runtime),
    "precision": Column("", "precision, as labelled and as read back", lambda _, r: r.cell.precision),
    "batch": Column("images", "images per inference", lambda _, r: r.cell.batch),
    "device": Column("", "device", lambda _, r: r.cell.device),
    "threads": Column("", "threads an inference may use", lambda _, r: r.cell.threads),
    "options": Column("", "runtime options that differ from the defaults", lambda _, r: dict(r.cell.options)),
    "exports": Column("", "exporter options that differ from the defaults", lambda _, r: dict(r.cell.exports)),
    "calibration": Column(
        "", "what a quantiser watched: source, number of images, seed, digest", lambda _, r: _detail(r, "calibration")
    ),
    "int8_layers": Column(
        "", "share of its convolutions and matrix products that run in int8, where it is told", lambda _, r: _int8(r)
    ),
    "python": Column("", "interpreter of its worker, where it is not Backbench's own", lambda _, r: r.cell.python),
    "label": Column("", "`control` for the A/A twin of the baseline", lambda _, r: r.cell.label),
    "outcome": Column("", "ok, unsupported, failed, crashed, timed_out or wrong_output", lambda _, r: r.outcome),
    "reason": Column("", "why, where the outcome is not ok", lambda _, r: r.reason),
    "trust": Column("", "trusted, caution or untrusted", lambda _, r: r.trust),
    "findings": Column("", "reasons of the verdict", lambda _, r: "; ".join(f.seen for f in r.findings)),
    "baseline": Column("", "what speed-ups are relative to", lambda _, r: r.baseline_title),
    "is_baseline": Column("", "whether this cell is the baseline", lambda _, r: r.is_baseline),
    "latency_ms": Column("ms", "median of `compute` (run + sync)", _latency("compute", lambda x: _ms(x.median_ns))),
    "latency_mean_ms": Column("ms", "mean of `compute`", _latency("compute", lambda x: _ms(x.mean_ns))),
    "latency_std_ms": Column("ms", "standard deviation of `compute`", _latency("compute", lambda x: _ms(x.std_ns))),
    "latency_min_ms": Column("ms", "minimum of `compute`", _latency("compute", lambda x: _ms(x.min_ns))),
    "latency_max_ms": Column("ms", "maximum of `compute`", _latency("compute", lambda x: _ms(x.max_ns))),
    "latency_p90_ms": Column("ms", "90th percentile; empty below 64 samples", _percentile("compute", "p90")),
    "latency_p95_ms": Column("ms", "95th percentile; empty below 130 samples", _percentile("compute", "p95")),
    "latency_p99_ms": Column("ms", "99th percentile; empty below 662 samples", _percentile("compute", "p99")),
    "latency_p999_ms": Column("ms", "99.9th percentile; empty below 6,636 samples", _percentile("compute", "p99.9")),
    "samples": Column("", "timed inferences of `compute`", _latency("compute", lambda x: x.samples)),
    "end_to_end_ms": Column(
        "ms", "median of bind + run + sync + fetch", _latency("end_to_end", lambda x: _ms(x.median_ns))
    ),
    "end_to_end_p99_ms": Column("ms", "its 99th percentile", _percentile("end_to_end", "p99")),
    "device_ms": Column("ms", "median by the device's own clock", _latency("device", lambda x: _ms(x.median_ns))),
    "h2d_ms": Column(
        "ms",
        "median of the inputs' copy to the device, by its clock",
        _latency("split_h2d", lambda x: _ms(x.median_ns)),
    ),
    "d2h_ms": Column(
        "ms", "median of the outputs' copy back, by its clock", _latency("split_d2h", lambda x: _ms(x.median_ns))
    ),
    "throughput_per_s": Column("images/s", "batch / median `compute` latency, one inference at a time", _throughput),
    "speedup": Column(
        "×", "baseline latency / latency, per round, median", _speedup("compute", lambda s: s.ratio.value)
    ),
    "speedup_low": Column("×", "lower end of its 95 % interval", _speedup("compute", lambda s: s.ratio.low)),
    "speedup_high": Column("×", "upper end of its 95 % interval", _speedup("compute", lambda s: s.ratio.high)),
    "speedup_end_to_end": Column("×", "speed-up of `end_to_end`", _speedup("end_to_end", lambda s: s.ratio.value)),
    "rounds": Column("", "rounds it was measured in", lambda _, r: r.rounds),
    "measured_s": Column("s", "time in its bursts", lambda _, r: r.measured_s),
    "overhead_s": Column(
        "s", "time spent on it beside import, load, warm-up, verification, bursts", lambda _, r: r.overhead_s
    ),
    "export_s": Column("s", "time the exporters of its chain took when they ran", _of("cold", "export_s")),
    "import_s": Column("s", "importing the runtime's libraries", _of("cold", "import_s")),
    "load_s": Column("s", "artifact to session, compilation included", _of("cold", "load_s")),
    "first_inference_s": Column("s", "first inference", _of("cold", "first_inference_s")),
    "artifact_bytes": Column("bytes", "size of the artifact's files", _of("memory", "artifact_bytes")),
    "rss_loaded_bytes": Column(
        "bytes", "worker's resident memory after the first inference", _of("memory", "rss_loaded_bytes")
    ),
    "rss_peak_bytes": Column("bytes", "largest resident memory of the worker", _of("memory", "rss_peak_bytes")),
    "device_bytes": Column("bytes", "device memory of the session", _of("memory", "device_bytes")),
    "builds": Column("", "builds of its engine that were measured; 0 where not asked for", lambda _, r: len(r.builds)),
    "build_spread": Column(
        "", "slowest build's median over the fastest's, minus 1", lambda _, r: builds.spread(r.builds)
    ),
    "warmup_s": Column("s", "time until bursts were flat", _of("warmup", "seconds")),
    "cpu_mhz_median": Column(
        "MHz",
        "clock of the worker's fastest processor at the end of bursts",
        _condition("cpu_frequency", "cpu_mhz_median"),
    ),
    "governor": Column("", "CPU governor", _condition("cpu_frequency", "governor")),
    "steal_share": Column(
        "",
        "share of the time that the worker's processors had something to do, that the hypervisor took",
        _condition("cpu_time", "steal_share"),
    ),
    "other_cpus_busy": Column(
        "processors",
        "how many of the worker's processors, or threads of their cores, others kept busy, on average",
        _condition("cpu_time", "other_cpus_busy"),
    ),
    "cpu_pressure_share": Column(
        "", "share of the time in which some task waited for a processor", _condition("pressure", "cpu_some_share")
    ),
    "throttled_periods": Column(
        "", "periods in which the container's CPU quota stopped it", _condition("cgroup", "throttled_periods")
    ),
    "major_faults": Column("", "page faults of the worker that read from disk", _condition("worker", "major_faults")),
    "temperature_c_max": Column("°C", "hottest sensor", _condition("thermal", "temperature_c_max")),
    "cpu_energy_j_per_inference": Column(
        "J", "energy of all CPU packages per inference, idle included", _condition("rapl", "energy_j_per_inference")
    ),
    "gpu_mhz_median": Column(
        "MHz", "clock of an NVIDIA GPU at the end of bursts", _condition("nvml", "gpu_mhz_median")
    ),
    "gpu_throttled_share": Column(
        "", "share of bursts at whose end the GPU's clock was held back", _condition("nvml", "throttled_share")
    ),
    "gpu_energy_j_per_inference": Column(
        "J", "energy of the GPU board per inference, idle included", _condition("nvml", "energy_j_per_inference")
    ),
    "power_mode": Column("", "Jetson power mode", _condition("jetson", "power_mode")),
    "board_power_w_median": Column(
        "W", "Jetson's input rail at the end of bursts", _condition("ina3221", "board_power_w_median")
    ),
    "rel_l2": Column("", "largest relative L2 error of an output", _worst("rel_l2", max)),
    "cosine": Column("", "smallest cosine to the reference", _worst("cosine", min)),
    "top1_agreement": Column(
        "", "smallest share of inputs with the reference's top class", _worst("top1_agreement", min)
    ),
    "params": Column(
        "", "parameters of the backbone, where what its chain begins with tells", _of("artifact", "params")
    ),
    "flops": Column("", "floating-point operations of an inference; a multiply-add is 2", _of("roofline", "flops")),
    "matmul_flops": Column("", "those of matrix products and convolutions", _of("roofline", "matmul_flops")),
    "compulsory_bytes": Column(
        "bytes", "weights, inputs and outputs once, at its precision", _of("roofline", "compulsory_bytes")
    ),
    "graph_bytes": Column("bytes", "moved if no operator were fused", _of("roofline", "graph_bytes")),
    "intensity": Column("FLOP/byte", "operations per compulsory byte", _of("roofline", "intensity")),
    "gflop_per_s": Column("GFLOP/s", "achieved, by median `compute` latency", _giga("flops_per_s")),
    "gb_per_s": Column("GB/s", "achieved, of the compulsory bytes", _giga("bytes_per_s")),
    "graph_gb_per_s": Column("GB/s", "achieved, of the graph's bytes", _giga("graph_bytes_per_s")),
    "peak_gflop_per_s": Column("GFLOP/s", "measured ceiling of arithmetic", _giga("peak_flops_per_s")),
    "peak_gb_per_s": Column("GB/s", "measured ceiling of the memory that its bytes fit in", _giga("peak_bytes_per_s")),
    "attainable_ms": Column("ms", "latency at the ceilings", _attainable),
    "roofline_fraction": Column("", "attainable / measured latency; 1 is the roofline", _of("roofline", "fraction")),
    "roofline_bound": Column("", "`compute` or `memory`: the ceiling it is bound by", _of("roofline", "bound")),
    "top1": Column("", "share of images whose class is the first answer (0..1)", _of("accuracy", "top1")),
    "top1_low": Column(
        "", "lower end of its 95 % interval (Wilson); empty where published", _of("accuracy", "top1_low")
    ),
    "top1_high": Column("", "upper end", _of("accuracy", "top1_high")),
    "top5": Column("", "share of images whose class is among the first five", _of("accuracy", "top5")),
    "top1_drop": Column(
        "", "`top1` minus the baseline's on the same images; below 0 is a loss", _of("accuracy", "top1_drop")
    ),
    "accuracy_source": Column(
        "", "`measured` on this artifact, or `published` of exactly these weights", _of("accuracy", "source")
    ),
    "accuracy_of": Column("", "the images it was measured on, or who published it", _of("accuracy", "of")),
    "top1_published": Column(
        "", "published for this timm tag and size, whatever weights were measured here", _published
    ),
    "artifact": Column("", "sha256 of the artifact", _of("artifact", "digest")),
    "chain": Column("", "exporters that made it", lambda _, r: " > ".join(r.artifact.chain) if r.artifact else None),
}


def _detail(record: Record, name: str) -> object:
    return record.artifact.details.get(name) if record.artifact else None


def _int8(record: Record) -> float | None:
    heavy = record.facts.heavy_layers if record.facts else {}
    return heavy.get("int8", 0) / sum(heavy.values()) if heavy else None


def load(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """All cells of the runs in `paths` (results folders) as a table with the columns of `COLUMNS`.

    Accuracies in any of the folders join the cells that measured the same artifact; a folder may hold accuracies alone.
    Raises `StoreFailed` where a folder holds no run.
    """
    import pandas as pd

    folders = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    return pd.DataFrame(
        [row(run, record) for run, records in join.read(folders) for record in records],
        columns=list(COLUMNS),
    )


def row(run: Run, record: Record) -> Mapping[str, Any]:
    """One record as a row."""
    return {name: column.read(run, record) for name, column in COLUMNS.items()}
