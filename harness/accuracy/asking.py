"""One backbone's cells asked about the same images: sessions opened, answers read, doubts found."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import codec, published, summary
from harness.accuracy import answers, checks, proportions
from harness.accuracy.answers import Answers, Top
from harness.accuracy.campaign import Campaign, now
from harness.accuracy.checks import Probe
from harness.accuracy.image_file import ImageFile, geometry_of
from harness.accuracy.pixels import Predictions
from harness.accuracy.record import Accuracy, LabelledSet
from harness.accuracy.wanted import Wanted, wanted_of
from harness.errors import BackbenchError
from harness.launch import Worker, environment, pinned
from harness.model import Group
from harness.preprocess import DataConfig
from harness.ready import Prepared, Ready
from harness.record import Finding
from harness.station import Station

_STEP_S = 1.0
"""About the length of a request of predictions, so that progress moves."""
_STEP_IMAGES = 4096
_PROBED, _PROBED_FIRST = 400, 40
"""Images on which other normalisations are tried; all of them only where the first few speak for one."""


class Asked:
    """One backbone's cells, and what they are asked."""

    def __init__(self, campaign: Campaign, members: Group, prepared: Prepared) -> None:
        settings = campaign.settings
        self.campaign = campaign
        self.members = members
        self.ready: dict[str, Ready] = {}
        self.failed: dict[str, BackbenchError] = {}
        self.wanted: Wanted | None = None
        self.cells = {codec.key(cell): cell for cell in members.cells}
        for key, cell in self.cells.items():
            if key in prepared.failed:
                self.failed[key] = prepared.failed[key]
                continue
            self.ready[key] = prepared.ready[key]
            try:
                source = prepared.ready[key].steps[0]
                self.wanted = self.wanted or wanted_of(
                    source, cell, settings.data, settings.classes, settings.overrides
                )
            except BackbenchError as error:
                self.failed[key] = error
        self.geometry = geometry_of(self.wanted.config) if self.wanted else ""

    def answer(self, images: ImageFile) -> list[Accuracy]:
        """Records of all cells, the baseline's first. Raises what `ImageFile.make` raises."""
        if self.wanted is not None and set(self.cells) != set(self.failed):
            images.make(self.wanted.config)
        records = []
        kept = self.campaign.store.finished()
        baseline: Answers | None = None
        for key in sorted(self.cells, key=lambda k: k != self.members.baseline):
            record, mine = self._one(key, images, baseline, kept)
            if key == self.members.baseline:
                baseline = mine
            records.append(record)
            self.campaign.watcher.done(record)
        return records

    def _one(
        self, key: str, images: ImageFile, baseline: Answers | None, kept: Mapping[str, tuple[Accuracy, Top]]
    ) -> tuple[Accuracy, Answers | None]:
        store, data = self.campaign.store, self.campaign.settings.data
        record = self._blank(key, images)
        if (error := self.failed.get(key)) is None and self.wanted is not None:
            rows = [i for i in range(len(data.images)) if i not in images.skipped]
            labels = tuple(self.wanted.labels[row] for row in rows)
            if key in kept and _same(kept[key][0], record):
                found, mine = kept[key][0], Answers(labels, kept[key][1])
                # A baseline that had failed then, or answers otherwise now, makes another drop.
                if baseline is None or found.is_baseline or found.drop == answers.drop(mine, baseline):
                    return found, mine
            try:
                record, mine = self._ask(record, images, rows, labels, baseline)
                answered = mine if record.outcome == "ok" else None
                store.add(record, answered, baseline, [str(data.images[row]) for row in rows])
                return record, answered
            except BackbenchError as caught:
                error = caught
        assert error is not None
        record = replace(record, outcome=summary.outcome_of(error), reason=error.message, hint=error.hint)
        store.add(record, None, None, ())
        return record, None

    def _blank(self, key: str, images: ImageFile) -> Accuracy:
        cell, base, ready, data = (
            self.cells[key],
            self.members.baseline,
            self.ready.get(key),
            self.campaign.settings.data,
        )
        title = self.cells[base].title if base in self.cells else ""
        record = Accuracy(key, cell, base, title, "ok", started=now())
        if ready is not None:
            record = replace(record, artifact=summary.artifact_note(ready))
        if self.wanted is None:
            return record
        known = self.wanted.classes
        return replace(
            record,
            data=LabelledSet(
                str(data.source), data.digest, len(data.images) - len(images.skipped), len(known.names), known.kind,
                tuple(images.skipped.values()), hashlib.sha256("\n".join(known.names).encode()).hexdigest(),
            ),
            preprocessing=codec.encode(self.wanted.config),
            interval=proportions.INTERVAL,
        )  # fmt: skip

    def _ask(
        self,
        record: Accuracy,
        images: ImageFile,
        rows: Sequence[int],
        labels: tuple[int, ...],
        baseline: Answers | None,
    ) -> tuple[Accuracy, Answers]:
        """Open the cell's session in a worker of its own, have it answer, and judge the answers."""
        cell, ready, wanted, campaign = record.cell, self.ready[record.key], self.wanted, self.campaign
        assert wanted is not None
        log = campaign.store.logs / f"accuracy-{cell.backbone.name}-{cell.runtime}-{record.key}.log"
        name = f"{cell.backbone.name} {cell.title}"
        with Worker(
            log, prefix=pinned(cell.cpus), python=cell.python or sys.executable,
            env=environment(cell.threads, cell.python), name=name,
        ) as worker:  # fmt: skip
            station = Station(cell, ready, worker, campaign.plan.rules)
            opened = station.open(campaign.cache.folder / "runtimes")
            record = replace(record, facts=opened.facts, verification=station.verify())
            begin = time.monotonic()
            mine = Answers(labels, self._predict(station, images, rows, wanted, name))
            record = replace(record, seconds=time.monotonic() - begin)
            if missing := mine.not_finite():
                first = campaign.settings.data.images[rows[missing[0]]]
                why = f"the outputs of {len(missing)} of {len(rows)} images hold NaN or infinity (the first: {first})"
                hint = "no accuracy is given; see: backbench diff" if not record.is_baseline else "check the weights"
                return replace(record, outcome="wrong_output", reason=why, hint=hint), mine
            findings = self._findings(record, station, images, rows, mine, baseline)
        return self._judged(record, mine, baseline, findings), mine

    def _judged(
        self, record: Accuracy, mine: Answers, baseline: Answers | None, findings: Sequence[Finding]
    ) -> Accuracy:
        assert self.wanted is not None
        names = self.wanted.classes.names
        return replace(
            record,
            top1=mine.share(),
            top5=mine.share(5) if len(names) > 5 else None,
            drop=None if baseline is None else answers.drop(mine, baseline),
            per_class=answers.per_class(mine, baseline, names),
            findings=tuple(findings),
        )

    def _findings(
        self, record: Accuracy, station: Station, images: ImageFile, rows: Sequence[int], mine: Answers,
        baseline: Answers | None,
    ) -> list[Finding]:  # fmt: skip
        wanted, cell = self.wanted, record.cell
        assert wanted is not None
        if not record.is_baseline:
            details = station.ready.artifact.details
            lost = answers.drop(mine, baseline) if baseline is not None else None
            if lost is None or baseline is None:
                return []
            return checks.of_drop(cell, mine, baseline, lost, record.verification, details, record.facts)
        size = wanted.config.input_size[1]
        known = published.find(cell.backbone.name, size) if cell.backbone.weights == "pretrained" else None
        probed = self._probe(station, images, rows, mine)
        return [
            *probed,
            *checks.of_baseline(mine, wanted.classes, probed),
            *(checks.of_published(known, mine, wanted.config.crop_pct) if known else ()),
        ]

    def _probe(self, station: Station, images: ImageFile, rows: Sequence[int], mine: Answers) -> list[Finding]:
        """Ask the baseline about a few images under other normalisations: wrong ones are common, and silent."""
        wanted = self.wanted
        assert wanted is not None
        number = min(_PROBED, len(rows))
        some = [i * len(rows) // number for i in range(number)]
        few = some[:: max(1, number // _PROBED_FIRST)]
        probes = []
        for name, (mean, std) in checks.candidates(wanted.config, wanted.own).items():
            config = replace(wanted.config, mean=mean, std=std)

            def under(chosen: Sequence[int], config: DataConfig = config) -> Answers:
                top = _predict(station, images.file, [rows[i] for i in chosen], config)
                return Answers(tuple(mine.labels[i] for i in chosen), top)

            if checks.worth_probing(under(few), mine.only(few)):
                probes.append(Probe(name, mean, std, under(some)))
        pretrained = station.cell.backbone.weights == "pretrained"
        return checks.of_preprocessing(wanted.config, wanted.own, pretrained, mine.only(some), probes)

    def _predict(self, station: Station, images: ImageFile, rows: Sequence[int], wanted: Wanted, name: str) -> Top:
        top: list[tuple[int, ...]] = []
        batch, step = station.cell.batch, station.cell.batch
        while len(top) < len(rows):
            begin = time.monotonic()
            some = rows[len(top) : len(top) + step]
            top += _predict(station, images.file, some, wanted.config)
            self.campaign.watcher.step(name, len(top), len(rows))
            fitting = int(len(some) * _STEP_S / max(time.monotonic() - begin, 1e-3))
            step = max(batch, min(_STEP_IMAGES, 4 * step, fitting) // batch * batch)
        return tuple(top)


def _predict(station: Station, file: Path, rows: Sequence[int], config: DataConfig) -> Top:
    """Answers of an open session, with a limit that follows from how long an inference takes."""
    first_s = station.opened.first_inference_s if station.opened else 0.0
    limit_s = station.rules.patience_s + (2 + len(rows) // station.cell.batch) * 2 * first_s
    reply = station.worker.ask("predict", limit_s, file=str(file), rows=list(rows), config=codec.encode(config))
    return codec.decode(Predictions, reply).top


def _same(kept: Accuracy, record: Accuracy) -> bool:
    """Whether a kept record is of the same artifact, the same images and the same preprocessing."""
    digests = [r.artifact.digest if r.artifact else "" for r in (kept, record)]
    return digests[0] == digests[1] and kept.data == record.data and kept.preprocessing == record.preprocessing
