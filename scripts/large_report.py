"""Times `backbench report` on a made run of many cells: scripts/large_report.py [CELLS] (default 100,000).

Prints seconds and bytes of every form; the page has to take below 20 s and 2 MB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import reporting  # noqa: E402 - found by the line above

BATCHES = (1, 4, 8, 32)


def main() -> None:
    """Make the run, then report it in every form."""
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    names = [f"backbone_{i:05d}" for i in range(max(1, cells // (len(BATCHES) * len(reporting.RUNTIMES))))]
    with tempfile.TemporaryDirectory() as folder:
        run = reporting.write(Path(folder) / "run", list(reporting.records(names, BATCHES)), bursts=2)
        for form in ("html", "csv", "parquet", "svg"):
            file = Path(folder) / f"report.{form}"
            began = time.monotonic()
            subprocess.run([sys.executable, "-m", "harness", "report", str(run), "-o", str(file)], cwd=ROOT, check=True)
            print(f"{form}: {time.monotonic() - began:.1f} s, {file.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
