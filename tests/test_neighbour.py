"""A real busy neighbour, for part of a real run, is caught: the probes see it, and the verdict says so."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness import cache, machine, plan, run, spec, store
from tests import making
from tests.test_run import Quiet, _inspect, _no_catalog

BURN = "while True: pass"


@pytest.mark.skipif(len(machine.processors()) < 2, reason="a neighbour needs a processor beside the measured one")
def test_a_process_that_burns_a_processor_during_a_run_is_seen(tmp_path: Path) -> None:
    model = making.identity_onnx(tmp_path / "identity.onnx")
    data = {
        "backbones": [str(model)],
        "runtimes": ["ort_cpu"],
        "rules": {"budget": "4s", "target": 0, "control": True, "wait": 0},
    }
    made = plan.resolve(spec.check(data), plan.Sources(_no_catalog, _inspect))
    kept = store.Store.create(tmp_path / "run", run.new_run(made, ("x",)))
    burner = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        stop = threading.Timer(60.0, burner.kill)  # it burns for all of the run, unless the run hangs
        stop.start()
        records = run.carry_out(run.Campaign(kept, cache.Cache(tmp_path / "cache"), 1, Quiet()))
    finally:
        burner.kill()
        burner.wait()
        stop.cancel()
    for record in records:
        busy = [finding for finding in record.findings if finding.check == "busy_neighbour"]
        assert busy, [finding.seen for finding in record.findings]
        assert record.trust != "trusted"
        assert "other processes kept" in busy[0].seen
