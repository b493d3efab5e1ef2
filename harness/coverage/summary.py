"""What a coverage run found, in a few lines: counts per runtime, reason classes, the slowest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.coverage.record import PARTS, Covered

_SLOWEST = 10
_NAMED = 4


def lines(records: Sequence[Covered], wanted: int, total: int) -> Iterator[str]:
    """Text for a terminal. `wanted` parts were asked for; timm has `total` architectures."""
    names = {one.architecture.name for one in records}
    yield f"{len(records)} of {wanted} parts covered, of {len(names)} architectures (timm has {total})"
    for part in PARTS:
        yield from _part(part, [one for one in records if one.part == part])
    yield from _causes(records)
    yield from _slowest(records)


def _part(part: str, records: Sequence[Covered]) -> Iterator[str]:
    if not records:
        return
    exported = [one.export for one in records if one.export]
    dynamic = sum(export.batch == 0 for export in exported)
    yield f"{part}: {len(records)} tried, {len(exported)} exported, {dynamic} of them with a dynamic batch"
    for runtime in dict.fromkeys(name for one in records for name in one.runtimes):
        asked = [one for one in records if runtime in one.runtimes]
        verified = sum(ran.verified for one in asked for ran in one.ran if ran.runtime == runtime)
        yield f"  {runtime:<12} {verified} of {len(asked)} verified"


def _causes(records: Sequence[Covered]) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for one in records:
        for cause in one.causes:
            found.setdefault(cause, []).append(f"{one.architecture.name} {one.part}")
    for cause, names in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{cause}: {len(names)}: {', '.join(names[:_NAMED])}{more}"


def _slowest(records: Sequence[Covered]) -> Iterator[str]:
    slow = sorted(records, key=lambda one: -one.seconds)[:_SLOWEST]
    if slow:
        yield "slowest:"
    for one in slow:
        export = f"export {one.export.seconds:.0f} s" if one.export else "no export"
        yield f"  {one.architecture.name} {one.part}: {one.seconds:.0f} s ({export})"
