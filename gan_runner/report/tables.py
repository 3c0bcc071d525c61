"""The comparison as tables: a CSV file with a row for each run, and one for the terminal with a row for each group."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence

from gan_runner.record.data_folder import Plain
from gan_runner.report.comparison import Comparable, Statistics
from gan_runner.report.runs import RunRecord, shown

_COLUMNS = (
    "name", "set", "status", "seed", "best", "best_iteration", "last", "objective", "goal", "alarms", "iterations",
    "epochs", "seconds", "images_per_second", "device", "precision", "data", "data_fingerprint", "data_count", "error",
    "command",
)  # fmt: skip
FIRST_COLUMNS = ",".join(_COLUMNS[:4])  # by which our files are recognised
# Begins of formulas; the last four characters are those of Chinese keyboards.
_FORMULA = re.compile(r"(?:^|(?<=;))(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_WIDEST = 28  # characters of a cell in the terminal


def as_csv(sets: Sequence[Comparable]) -> str:
    """A row for each run: name, outcome, the settings that differ, and metrics.

    The column `set` numbers the sets: objectives of different sets cannot be compared.
    """
    keys = list(dict.fromkeys(key for one in sets for key in one.keys))
    metrics = list(dict.fromkeys(tag for one in sets for run in one.runs for tag in run.metrics))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*_COLUMNS, *map(_as_cell, keys), *map(_as_cell, metrics)])
    for number, one in enumerate(sets, start=1):
        for run in one.runs:
            row = _row(run, number) | {f"key {key}": run.value(key) for key in keys}
            row |= {f"metric {tag}": run.metrics.get(tag) for tag in metrics}
            writer.writerow(map(_as_cell, row.values()))
    return file.getvalue()


def _row(run: RunRecord, number: int) -> dict[str, Plain]:
    values: Mapping[str, Plain] = vars(run) | {
        "set": number,
        "alarms": " ".join(dict.fromkeys(alarm.name for alarm in run.alarms)),
        "command": run.command,
        "data_fingerprint": run.fingerprint,
        "data_count": run.count,
    }
    return {column: values[column] for column in _COLUMNS}


def _as_cell(value: Plain) -> str:
    """A value that is safe in a spreadsheet: text that would be read as a formula is marked as text.

    In countries with decimal commas, spreadsheets separate cells at semicolons.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    return _FORMULA.sub("'", value)


def as_text(one: Comparable, most_rows: int, width: int) -> str:
    """A row for each group, the best first.

    Args:
        one: the runs to show.
        most_rows: rows of the table; a line says how many are left out.
        width: of the terminal, in characters.
    """
    header = [*one.keys, "runs", *(["best", "last"] if one.objective else []), "status", "images/s", "alarms"]
    rows = []
    for group in one.groups[:most_rows]:
        measured = [in_words(group.best), in_words(group.last)] if one.objective else []
        averaged, count = group.best.count, len(group.runs)
        counted = str(count) if averaged == count or not one.objective else f"{averaged} of {count}"
        states = _counted(group.states, len(group.runs)) + (" so far" if group.unfinished and group.best.count else "")
        speed = "" if group.speed.mean is None else f"{group.speed.mean:,.0f}"
        alarms = _counted(group.alarms, len(group.runs))
        rows.append([*map(shown, group.values), counted, *measured, states, speed, alarms])
    cells = [[_cut(cell, _WIDEST) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in cells]
    left_out = len(one.groups) - len(rows)
    if left_out:
        lines.append(f"... and {left_out} more")
    return "\n".join(_cut(line, width) for line in lines)


def in_words(value: Statistics) -> str:
    """A mean with its spread, rounded to two digits of the spread: 0.1234 ± 0.0021, 160 ± 130."""
    if value.mean is None:
        return ""
    if value.spread is None:
        return f"{value.mean:.4g}"
    if value.spread == 0:
        return f"{value.mean:.4g} ± 0"
    places = 1 - math.floor(math.log10(value.spread))
    if places > 6 or max(abs(value.mean), value.spread) >= 1e7:
        return f"{value.mean:.4g} ± {value.spread:.2g}"
    mean, spread = (round(part, places) + 0.0 for part in (value.mean, value.spread))  # also to tens and hundreds
    return f"{mean:.{max(places, 0)}f} ± {spread:.{max(places, 0)}f}"


def _counted(counts: Mapping[str, int], of: int) -> str:
    """Names with how many there are of each: "2 finished, 1 failed", or "finished" where that is all."""
    return ", ".join(name if count == of else f"{count} {name}" for name, count in counts.items())


def _cut(line: str, longest: int) -> str:
    return line if len(line) <= longest else line[: longest - 1] + "…"
