"""The coverage table as it is committed: a CSV of one row per architecture, and a manifest of what made it."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import store
from harness.coverage.record import LIMIT, SCHEMA, Covered, Key, Known, Part, Ran
from harness.errors import StoreFailed
from harness.listed import ListedModel

TABLE, MANIFEST = "coverage.csv", "manifest.json"
VERIFIED = "verified"
RUNTIMES = ("ort_cpu", "openvino")
"""Those that the committed table has columns of."""
_PREFIX: Mapping[Part, str] = {"classifier": "", "features": "features_"}
_REASON = 160
Row = Mapping[str, str]


def _columns() -> dict[str, str]:
    columns = {
        "architecture": "timm's name", "family": "timm's module that defines it", "params": "parameters of the classifier",
        "input_size": "channels × height × width that it was exported with",
    }  # fmt: skip
    for part, prefix in _PREFIX.items():
        of = "the classifier" if part == "classifier" else "the `features_only` backbone (batch 1)"
        columns |= {
            f"{prefix}day": f"day on which {of} was tried; empty: not tried",
            f"{prefix}made_with": "key into the manifest's `environments`",
            f"{prefix}exporter": "exporter that made the ONNX file",
            f"{prefix}batch": "`dynamic`, or the only batch size of the file",
            f"{prefix}opset": "ONNX opset",
            f"{prefix}onnx_bytes": "size of the ONNX file, weights included",
            f"{prefix}export_s": "seconds of the exporter that made it, its check included, on a shared machine",
            f"{prefix}export_peak_bytes": "largest resident memory meanwhile, libraries included",
        }
        for runtime in RUNTIMES:
            columns |= {
                f"{prefix}{runtime}": f"`verified` (relative L2 error of every output ≤ {LIMIT:g}), or the reason class",
                f"{prefix}{runtime}_rel_l2": "largest relative L2 error of an output over all inputs and batches",
            }
        columns |= {
            f"{prefix}cause": "reason class of what stopped it before any runtime, or of a lost dynamic batch",
            f"{prefix}reason": "what was said, cut off",
        }
    columns["features_outputs"] = "number of feature maps"
    return columns


COLUMNS: Mapping[str, str] = _columns()
"""Meaning of each column, in order; `results/README.md` has the same table."""


@dataclass(frozen=True)
class Table:
    """The committed table: rows by architecture, and how the versions that made them are called."""

    rows: Mapping[str, Row]
    environments: Mapping[str, Mapping[str, str]]
    total: int
    """Architectures of the timm that it was made with, tried or not."""

    def listed(self, name: str) -> ListedModel:
        """What is known of an architecture, or of one of its pretrained names."""
        row = self.rows.get(name.partition(".")[0])
        if row is None:
            return ListedModel(name)
        classifier, features = (
            {runtime: outcome for runtime in RUNTIMES if (outcome := row[f"{prefix}{runtime}"])}
            for prefix in _PREFIX.values()
        )
        return ListedModel(
            name, row["family"], int(row["params"]), row["input_size"], row["batch"], classifier, features,
            row["day"] or row["features_day"],
        )  # fmt: skip

    def known(self, versions: Mapping[str, str]) -> Mapping[Key, Known]:
        """How each part came out that was tried with these versions of the libraries."""
        environments = {key for key, made_with in self.environments.items() if versions.items() <= made_with.items()}
        return {
            (name, part): _known(row, prefix)
            for name, row in self.rows.items()
            for part, prefix in _PREFIX.items()
            if row[f"{prefix}made_with"] in environments
        }

    def counts(self, part: Part = "classifier") -> Mapping[str, int]:
        """`tried`, `dynamic`, and how many are verified in each runtime and in all."""
        prefix = _PREFIX[part]
        tried = [row for row in self.rows.values() if row[f"{prefix}day"]]
        verified = {name: sum(row[f"{prefix}{name}"] == VERIFIED for row in tried) for name in RUNTIMES}
        both = sum(all(row[f"{prefix}{name}"] == VERIFIED for name in RUNTIMES) for row in tried)
        dynamic = sum(row[f"{prefix}batch"] == "dynamic" for row in tried)
        return {"tried": len(tried), "dynamic": dynamic, "verified": both, **verified}

    def sentence(self) -> str:
        """The figures as the README gives them."""
        of, maps = self.counts("classifier"), self.counts("features")
        last = max(row[f"{prefix}day"] for row in self.rows.values() for prefix in _PREFIX.values())
        timm = "/".join(sorted({versions["timm"] for versions in self.environments.values()}))
        return (
            f"On {last}, of timm {timm}'s {self.total:,} architectures {of['tried']} had been tried: {of['verified']} "
            f"verified in ONNX Runtime ({of['ort_cpu']}) and OpenVINO ({of['openvino']}) alike, "
            f"{of['dynamic']} with a dynamic batch; and of {maps['tried']} `features_only` backbones {maps['verified']}."
        )

    def causes(self, part: Part = "classifier") -> Mapping[str, int]:
        """How many architectures have each reason class, the commonest first."""
        prefix = _PREFIX[part]
        return dict(Counter(cause for row in self.rows.values() for cause in _causes(row, prefix)).most_common())


def _causes(row: Row, prefix: str) -> set[str]:
    return {row[f"{prefix}{name}"] for name in ("cause", *RUNTIMES)} - {"", VERIFIED}


def _known(row: Row, prefix: str) -> Known:
    runtimes = tuple(name for name in RUNTIMES if row[f"{prefix}{name}"])
    verified = bool(runtimes) and all(row[f"{prefix}{name}"] == VERIFIED for name in runtimes)
    return Known(runtimes, tuple(sorted(_causes(row, prefix))), verified)


def read(folder: Path) -> Table:
    """The table in `folder`. Raises `StoreFailed` where it is not one, or of another schema."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        text = (folder / TABLE).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StoreFailed(
            f"{folder} holds no coverage table: {error}", "make one: backbench coverage --table DIR"
        ) from error
    rows = list(csv.DictReader(io.StringIO(text)))
    if manifest.get("schema") != SCHEMA or any(set(row) != set(COLUMNS) for row in rows):
        raise StoreFailed(f"the coverage table in {folder} has other columns than this Backbench writes",
                          "remove it, and write it again: backbench coverage --resume --table DIR")  # fmt: skip
    return Table({row["architecture"]: row for row in rows}, manifest["environments"], int(manifest["total"]))


def committed() -> Path | None:
    """The folder of the table that comes with Backbench, in a wheel or in its repository; None where there is none."""
    package = Path(__file__).resolve().parents[1]
    found = (package / "data" / "coverage", package.parent / "results" / "coverage")
    return next((folder for folder in found if (folder / TABLE).is_file()), None)


def takes(runtimes: Iterable[str], device: str) -> bool:
    """Whether outcomes in these runtimes fill a row: each row has all columns, and they are of the CPU."""
    return device == "cpu" and set(RUNTIMES) <= set(runtimes)


def write(folder: Path, records: Iterable[Covered], total: int) -> Table:
    """Put the records that fill a row into the table in `folder`, over what it had of the same parts from no later day.

    Raises `StoreFailed`.
    """
    old = read(folder) if (folder / TABLE).exists() else Table({}, {}, total)
    rows = {name: dict(row) for name, row in old.rows.items()}
    environments = {key: dict(versions) for key, versions in old.environments.items()}
    for record in records:
        row = rows.get(record.architecture.name, dict.fromkeys(COLUMNS, ""))
        if takes(record.runtimes, record.device) and row[f"{_PREFIX[record.part]}day"] <= record.day:
            rows[record.architecture.name] = row | _row(record, _environment(environments, record.versions))
    used = {row[f"{prefix}made_with"] for row in rows.values() for prefix in _PREFIX.values()}
    table = Table(
        {name: rows[name] for name in sorted(rows)}, {k: v for k, v in environments.items() if k in used}, total
    )
    with store.writing(folder, "--resume"):
        folder.mkdir(parents=True, exist_ok=True)
        store.rewrite(folder / TABLE, _lines(table.rows.values()))
        store.rewrite(folder / MANIFEST, [_manifest(table)])
    return table


def _environment(environments: dict[str, dict[str, str]], versions: Mapping[str, str]) -> str:
    for key, known in environments.items():
        if known == dict(versions):
            return key
    key = next(name for name in (f"v{n}" for n in itertools.count(1)) if name not in environments)
    environments[key] = dict(versions)
    return key


def _row(record: Covered, made_with: str) -> dict[str, str]:
    one, export, prefix = record.architecture, record.export, _PREFIX[record.part]
    ran = {each.runtime: each for each in record.ran}
    lost = export.lost if export else ""
    why = record.reason or (export.attempts[0].reason if export and lost else "")
    values = {
        "day": record.day, "made_with": made_with, "exporter": export.exporter if export else "",
        "batch": "" if export is None else (str(export.batch) if export.batch else "dynamic"),
        "opset": str(export.opset) if export else "", "onnx_bytes": str(export.size_bytes) if export else "",
        "export_s": f"{export.seconds:.1f}" if export else "",
        "export_peak_bytes": str(export.peak_bytes) if export and export.peak_bytes else "",
        "cause": record.cause or lost,
        "reason": _short("; ".join([*([why] if why else []), *(f"{r.runtime}: {r.reason}" for r in record.ran if r.reason)])),
        **{name: _outcome(ran.get(name), record, name) for name in RUNTIMES},
        **{f"{name}_rel_l2": _error(ran.get(name)) for name in RUNTIMES},
    }  # fmt: skip
    of_all = {
        "architecture": one.name, "family": one.family, "params": str(one.params),
        "input_size": "x".join(map(str, one.input_size)),
    }  # fmt: skip
    maps = {"features_outputs": str(record.outputs) if record.outputs else ""} if record.part == "features" else {}
    return of_all | {f"{prefix}{name}": value for name, value in values.items()} | maps


def _outcome(ran: Ran | None, record: Covered, name: str) -> str:
    if ran is not None:
        return ran.cause or VERIFIED
    return record.cause if name in record.runtimes else ""


def _error(ran: Ran | None) -> str:
    return "" if ran is None or ran.rel_l2 is None else f"{ran.rel_l2:.1e}"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _REASON else flat[: _REASON - 1] + "…"


def _lines(rows: Iterable[Row]) -> Sequence[str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().splitlines()


def _manifest(table: Table) -> str:
    days = sorted({row[f"{prefix}day"] for row in table.rows.values() for prefix in _PREFIX.values()} - {""})
    data = {
        "schema": SCHEMA, "total": table.total, "limit_rel_l2": LIMIT, "environments": table.environments,
        "from": days[0] if days else "", "to": days[-1] if days else "",
        "classifier": table.counts("classifier"), "features": table.counts("features"),
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=False)
