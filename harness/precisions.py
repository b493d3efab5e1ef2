"""Which precision each runtime executes on each device, by which chain of exporters, or why not: from class attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import registry, route, verify
from harness.errors import Unsupported
from harness.model import PRECISIONS, Precision

SCRIPTED = "fake"
"""The runtime that scripts latencies for tests: it executes nothing."""


@dataclass(frozen=True)
class Entry:
    """One cell of the table."""

    runtime: str
    device: str
    """Device kind."""
    precision: Precision
    chain: tuple[str, ...] | None
    """Exporters that are tried first, from timm on; empty where the runtime opens the snapshot; None: unsupported."""
    reason: str = ""
    """Why it is unsupported; for a supported one, what the runtime makes of the artifact while it opens it."""

    @property
    def how(self) -> str:
        """The chain in words, for a supported one."""
        return " → ".join([*(self.chain or ()), *([self.reason] if self.reason else [])]) or "as it is"


def table() -> Sequence[Entry]:
    """Every runtime × device kind × precision. A precision without a route is unsupported, whatever the runtime says."""
    return [
        _entry(name, kind, precision)
        for name in registry.found("runtimes")
        if name != SCRIPTED
        for kind in registry.runtime_class(name).precisions
        for precision in PRECISIONS
    ]


def _entry(name: str, kind: str, precision: Precision) -> Entry:
    runtime = registry.runtime_class(name)
    if precision not in runtime.precisions[kind]:
        return Entry(name, kind, precision, None, runtime.refuses.get(kind, {}).get(precision, ""))
    try:
        steps = route.find(registry.exporter_classes(), "timm", runtime, precision)
    except Unsupported as error:
        return Entry(name, kind, precision, None, error.message.partition(" (reached")[0])
    cast = runtime.casts.get(precision)
    return Entry(name, kind, precision, tuple(s.exporters[0] for s in steps), f"cast from {cast}" if cast else "")


def markdown() -> str:
    """The table of the built-in runtimes, as the documentation shows it: what else is installed is not documented here."""
    lines = ["| runtime | device | precision | | how, or why not |", "|---|---|---|---|---|"]
    for entry in table():
        if registry.plugin("runtimes", entry.runtime).origin != registry.BUILT_IN:
            continue
        state = "ok" if entry.chain is not None else "unsupported"
        about = entry.how if entry.chain is not None else entry.reason or "not declared"
        lines.append(f"| `{entry.runtime}` | {entry.device} | {entry.precision} | {state} | {about} |")
    return "\n".join(lines)


def tolerances_markdown() -> str:
    """The default tolerances as the documentation shows them."""
    lines = ["| precision | rel_l2 ≤ | median_rel_l2 ≤ | cosine ≥ | top1_agreement ≥ |", "|---|--:|--:|--:|--:|"]
    for precision, t in verify.DEFAULTS.items():
        median = "–" if t.median_rel_l2 is None else f"{t.median_rel_l2:g}"
        lines.append(f"| {precision} | {t.rel_l2:g} | {median} | {t.cosine:g} | {t.top1_agreement:g} |")
    return "\n".join(lines)


def filled(page: str) -> str:
    """A page of documentation with what stands between its marks (`<!-- precisions -->`, `<!-- tolerances -->`) renewed."""
    for mark, content in (("precisions", markdown()), ("tolerances", tolerances_markdown())):
        before, begin, rest = page.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition(f"<!-- /{mark} -->")
        if not (begin and end):
            raise ValueError(f"the page has no <!-- {mark} --> … <!-- /{mark} -->")
        page = before + begin + content + "\n" + end + after
    return page


PAGE = Path("docs") / "precision.md"
