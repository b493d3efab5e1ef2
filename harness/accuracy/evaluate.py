"""Measures accuracy: every artifact answers the same images, preprocessed once, and is compared with the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness import codec
from harness.accuracy.asking import Asked
from harness.accuracy.campaign import Campaign, now
from harness.accuracy.image_file import ImageFile, scratch
from harness.accuracy.record import Accuracy
from harness.errors import PlanInvalid
from harness.model import JSON
from harness.prepare import prepare
from harness.record import Plan
from harness.run import alone


def carry_out(campaign: Campaign) -> tuple[Accuracy, ...]:
    """The accuracy of every cell, each on disk before the next begins; a cell that fails stops only itself.

    Raises `DataInvalid` for images that cannot be read, unless they are to be skipped.
    """
    refuse_random(campaign.plan)
    plan, store, watcher = (
        calibrated_alike(campaign.plan, campaign.settings.overrides),
        campaign.store,
        campaign.watcher,
    )
    records = []
    for refused in plan.refused:
        records.append(Accuracy(refused.key, refused.cell, refused.baseline, refused.baseline_title, refused.outcome,
                                refused.reason, refused.hint, started=now()))  # fmt: skip
        store.add(records[-1], None, None, ())
        watcher.done(records[-1])
    if not plan.groups:
        return tuple(records)
    with alone(campaign.cache.folder, watcher.note), scratch(campaign.cache.folder) as folder:
        cells = {codec.key(cell): cell for members in plan.groups for cell in members.cells}
        prepared = prepare(cells, campaign.cache, store.logs, campaign.jobs, watcher.note)
        asked = [Asked(campaign, members, prepared) for members in plan.groups]
        settings = campaign.settings
        images = ImageFile(settings.data.images, settings.skip_unreadable, folder, store.logs, watcher)
        for one in sorted(asked, key=lambda a: a.geometry):  # images are preprocessed once for those that agree
            records += one.answer(images)
    return tuple(records)


def calibrated_alike(plan: Plan, overrides: Mapping[str, JSON]) -> Plan:
    """The plan whose quantisers watch images that are prepared as those to be answered are, unless it says how itself."""
    if not overrides:
        return plan
    groups = []
    for members in plan.groups:
        cells = {
            codec.key(cell): replace(cell, calibration=replace(cell.calibration, config=overrides))
            if cell.calibration is not None and not cell.calibration.config
            else cell
            for cell in members.cells
        }
        groups.append(replace(members, cells=tuple(cells.values()), baseline=codec.key(cells[members.baseline])))
    return replace(plan, groups=tuple(groups))


def refuse_random(plan: Plan) -> None:
    """Raise `PlanInvalid` where weights would be random: their accuracy says nothing."""
    names = dict.fromkeys(g.cells[0].backbone.name for g in plan.groups if g.cells[0].backbone.weights == "random")
    if names:
        raise PlanInvalid(
            f"the weights of {', '.join(names)} would be random, and their accuracy chance",
            "give trained weights: --weights pretrained, or --weights FILE.pth",
        )
