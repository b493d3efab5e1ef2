"""What is still to be covered, in which order, and that an interrupted run keeps what is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.coverage import campaign, census, cover
from harness.coverage.campaign import Sitting
from harness.coverage.record import Architecture, Covered, Part
from harness.coverage.store import Store
from tests.coverage import making

NETS = tuple(
    Architecture(name, family, params, (3, 224, 224), features)
    for name, family, params, features in (
        ("vit_tiny", "vision_transformer", 5, True), ("vit_base", "vision_transformer", 80, True),
        ("resnet10", "resnet", 3, True), ("resnet50", "resnet", 25, True), ("mixer_s", "mlp_mixer", 19, False),
    )
)  # fmt: skip
SETTINGS = cover.Settings(("ort_cpu",), "cpu", 1, cover.Limits(1, 1), Path(), {})


class Silent:
    """Remembers what began."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, Part]] = []

    def begins(self, architecture: Architecture, part: Part) -> None:
        self.begun.append((architecture.name, part))

    def done(self, covered: Covered) -> None:
        """Nothing."""


def test_every_family_comes_early() -> None:
    assert [one.name for one in census.in_order(NETS)] == ["resnet10", "vit_tiny", "mixer_s", "resnet50", "vit_base"]


def test_feature_maps_are_asked_of_those_that_have_them() -> None:
    tasks = campaign.wanted(NETS, ("classifier", "features"), most=20)
    assert [(one.name, part) for one, part in tasks] == [
        ("vit_tiny", "classifier"), ("vit_tiny", "features"), ("resnet10", "classifier"), ("resnet10", "features"),
        ("mixer_s", "classifier"),
    ]  # fmt: skip


def test_what_has_a_record_of_all_runtimes_is_done_unless_it_is_asked_for_again() -> None:
    task = (making.RESNET, making.covered().part)
    records = {making.covered().key: making.covered(export=making.FIXED).known}
    assert campaign.left([task], records, ["ort_cpu"], ()) == ()
    assert campaign.left([task], records, ["ort_cpu", "tensorrt"], ()) == (task,)
    assert campaign.left([task], records, ["ort_cpu"], ("runtime",)) == ()
    assert campaign.left([task], records, ["ort_cpu"], ("export",)) == (task,)
    assert campaign.left([task], {}, ["ort_cpu"], ()) == (task,)


def covering(monkeypatch: pytest.MonkeyPatch, during: Callable[[str], None] = lambda name: None) -> None:
    def one(architecture: Architecture, part: Part, settings: cover.Settings, started: object) -> Covered:
        during(architecture.name)
        return making.covered(architecture, part)

    monkeypatch.setattr(cover, "cover", one)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_sitting_ends_after_its_number(jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    covering(monkeypatch)
    tasks = campaign.wanted(NETS, ("classifier",), None)
    store, watcher = Store.open(tmp_path, resume=False), Silent()
    assert campaign.carry_out(tasks, SETTINGS, store, Sitting(jobs, 2), watcher) == 2
    assert set(store.records()) == set(watcher.begun) == {(one.name, part) for one, part in tasks[:2]}


def test_a_sitting_without_time_begins_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    covering(monkeypatch)
    store = Store.open(tmp_path, resume=False)
    tasks = campaign.wanted(NETS, ("classifier",), None)
    assert campaign.carry_out(tasks, SETTINGS, store, Sitting(1, None, 0.0), Silent()) == 0


def test_an_interrupt_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        if name == "resnet10":
            raise KeyboardInterrupt

    covering(monkeypatch, interrupted)
    tasks = campaign.wanted(NETS, ("classifier",), None)
    store = Store.open(tmp_path, resume=False)
    with pytest.raises(KeyboardInterrupt):
        campaign.carry_out(tasks, SETTINGS, store, Sitting(1), Silent())
    assert [name for name, _ in store.records()] == ["vit_tiny", "vit_base"]
    known = {key: record.known for key, record in store.records().items()}
    assert [one.name for one, _ in campaign.left(tasks, known, ["ort_cpu"], ())] == [
        "resnet10",
        "resnet50",
        "mixer_s",
    ]


def test_a_process_that_starts_after_the_interrupt_is_ended_too() -> None:
    class Started:
        alive = True

        def kill(self) -> None:
            self.alive = False

    running = campaign._Running()
    first, late = Started(), Started()
    running.add(first)  # type: ignore[arg-type]
    threading.Thread(target=running.stop).run()
    running.add(late)  # type: ignore[arg-type]
    assert not first.alive
    assert not late.alive
