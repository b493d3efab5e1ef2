"""A report as Markdown, CSV or JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from harness import codec, results
from harness.errors import MissingLibrary
from harness.report import content
from harness.report.content import Reported


def markdown(reported: Sequence[Reported]) -> str:
    """A table for a pull request, with remarks and footer."""
    parts = []
    for one in reported:
        shown = content.shown(one.records)
        align = ["--:" if header in content.NUMERIC else "---" for header in content.HEADERS]
        table = [content.HEADERS, align, *content.rows(one.records)]
        lines = [line([row[i] for i in shown]) for row in table]
        said = [f"- {escape(remark)}" for remark in content.remarks(one.records)]
        foot = [f"<sub>{escape(line)}</sub>  " for line in content.footer(one)]
        body = lines if one.records else [escape(content.nothing(one))]
        parts.append("\n".join([f"### {escape(one.run.plan.name)}", "", *body, "", *said, "", *foot]))
    return "\n\n".join(parts) + "\n"


def line(words: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(escape(word) for word in words) + " |"


def escape(word: str) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    return word.replace("&", "&amp;").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def csv(reported: Sequence[Reported]) -> str:
    """One line per cell with the columns of `harness.results`."""
    import pandas as pd

    rows = [results.row(one.run, record) for one in reported for record in one.records]
    return str(pd.DataFrame(rows, columns=list(results.COLUMNS)).to_csv(index=False))


def parquet(reported: Sequence[Reported]) -> bytes:
    """The table of `csv` as a Parquet file, its types kept; `options` is JSON text. Raises `MissingLibrary`."""
    import io

    import pandas as pd

    rows = [results.row(one.run, record) for one in reported for record in one.records]
    table = pd.DataFrame(rows, columns=list(results.COLUMNS))
    for name in table.columns:
        if any(isinstance(value, Mapping) for value in table[name]):
            table[name] = [None if value is None else json.dumps(value, sort_keys=True) for value in table[name]]
    file = io.BytesIO()
    try:
        table.to_parquet(file, engine="pyarrow", index=False)
    except ImportError as error:
        raise MissingLibrary(
            "a Parquet file needs pyarrow, which is not installed", "pip install 'backbench[report]'"
        ) from error
    return file.getvalue()


def as_json(reported: Sequence[Reported]) -> str:
    """Runs with their whole records, as in the results folder."""
    data = [{"run": codec.encode(one.run), "records": [codec.encode(r) for r in one.records]} for one in reported]
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


FORMS: Mapping[str, Callable[[Sequence[Reported]], str]] = {"markdown": markdown, "csv": csv, "json": as_json}
