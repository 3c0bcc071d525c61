"""The comparison as a page in one file, without a server or network."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_runner import tags
from gan_runner.record.data_folder import Plain
from gan_runner.report.comparison import Comparable, SeedGroup, Statistics, sort_key
from gan_runner.report.offline import offline_page
from gan_runner.report.runs import SHOWN, Curve, RunRecord, shown
from gan_runner.report.thumbnails import Strip, Thumbnails

MARK = '<meta name="generator" content="gan-compare">'  # identifies a page that gan-compare wrote
_SCRIPTS = ("basics.js", "table.js", "charts.js", "images.js", "page.js")
_MOST_POINTS = 150  # of a curve on the page


def as_page(
    title: str, made: str, sets: Sequence[Comparable], problems: Callable[[], Sequence[str]], thumbnails: Thumbnails
) -> str:
    """Write the page.

    Args:
        title: what is compared.
        made: when.
        sets: what can be compared; each is a tab.
        problems: what could not be read; asked for last, since images may be among it.
        thumbnails: how many samples are shown, and how large.
    """
    described = [_set(one, thumbnails) for one in sets]
    data = {"title": title, "made": made, "problems": list(problems()), "sets": described}
    return offline_page(
        _part,
        "page.html",
        style="page.css",
        scripts=_SCRIPTS,
        data=data,
        fields={"MARK": MARK, "TITLE": html.escape(title)},
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _set(one: Comparable, thumbnails: Thumbnails) -> dict[str, Any]:
    times = thumbnails.times(one.runs)
    strips = thumbnails.strips(one.runs, times)
    runs: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for group in one.groups:
        groups.append(_group(group, first=len(runs)))
        runs += [_run(run, group, len(groups) - 1, strips[len(runs) + place]) for place, run in enumerate(group.runs)]
    return {
        "title": one.title,
        "data": one.data,
        "objective": one.objective,
        "goal": one.goal,
        "measured": one.measured,
        "keys": [_key(key, [group.values[place] for group in one.groups]) for place, key in enumerate(one.keys)],
        "notes": one.notes,
        "measures": _measures(one),
        "groups": groups,
        "runs": runs,
        "curves": {tag: _curves(tag, one.groups) for tag in _curve_tags(one)},
        "times": times,
    }


def _key(name: str, values: Sequence[Plain]) -> dict[str, Any]:
    distinct = sorted(set(values), key=sort_key)
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct)
    return {"name": name, "values": [shown(value) for value in distinct], "numbers": distinct if numeric else None}


def _group(group: SeedGroup, first: int) -> dict[str, Any]:
    return {
        "values": [shown(value) for value in group.values],
        "runs": [first + place for place in range(len(group.runs))],
        "best": _statistics(group.best),
        "last": _statistics(group.last),
        "speed": _statistics(group.speed),
        "seconds": _statistics(group.seconds),
        "known": group.runs[0].known,
        "unfinished": group.unfinished,
        "lost": group.lost,
        "states": group.states,
        "alarms": group.alarms,
        "command": group.command,
    }


def _statistics(value: Statistics) -> dict[str, Any]:
    return {"mean": value.mean, "spread": value.spread, "count": value.count}


def _run(run: RunRecord, group: SeedGroup, number: int, strip: Strip | None) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": "" if run.folder is None else run.folder.name,
        "group": number,
        "counts": any(run is other for other in group.averaged),
        "seed": None if run.seed is None else shown(run.seed),
        "status": run.status,
        "error": run.error,
        "best": run.best,
        "bestIteration": run.best_iteration,
        "last": run.last,
        "iterations": run.iterations,
        "epochs": run.epochs,
        "seconds": run.seconds,
        "speed": run.images_per_second,
        "device": run.device,
        "precision": run.precision,
        "written": run.written,
        "metrics": run.metrics,
        "losses": {tag: float(run.curves[tag].values[-1]) for tag in SHOWN if tag in run.curves},
        "alarms": [vars(alarm) for alarm in run.alarms],
        "command": run.command,
        "problems": run.problems,
        "strip": None if strip is None else _strip(strip),
    }


def _strip(strip: Strip) -> dict[str, Any]:
    data = base64.b64encode(strip.webp).decode()
    return {
        "width": strip.width,
        "height": strip.height,
        "iterations": strip.iterations,
        "names": strip.names,
        "cells": strip.cells,
        "data": data,
    }


def _measures(one: Comparable) -> list[dict[str, str]]:
    """The quantities to compare runs by: the objective first, then all other numbers."""
    measures = []
    if one.objective:
        measures += [{"key": key, "label": f"{one.objective}, {key}", "goal": one.goal} for key in ("best", "last")]
    tags = dict.fromkeys(tag for run in one.runs for tag in run.metrics if tag != one.objective)
    measures += [{"key": tag, "label": f"{tag}, last", "goal": ""} for tag in tags]
    measures += [{"key": tag, "label": f"{tag}, last", "goal": ""} for tag in SHOWN]
    measures.append({"key": "speed", "label": "images per second", "goal": "higher"})
    measures.append({"key": "seconds", "label": "seconds", "goal": ""})
    return measures


def _curve_tags(one: Comparable) -> list[str]:
    metrics = dict.fromkeys(tag for run in one.runs for tag in run.curves if tag.startswith(tags.METRIC))
    objective = [one.objective] if one.objective in metrics else []
    return [*SHOWN, *objective, *(tag for tag in metrics if tag not in objective)]


def _curves(tag: str, groups: Sequence[SeedGroup]) -> list[Mapping[str, list[float]] | None]:
    return [_band([run.curves[tag] for run in group.runs if tag in run.curves]) for group in groups]


def _band(curves: Sequence[Curve]) -> Mapping[str, list[float]] | None:
    """The mean of a group's curves and their range, at most _MOST_POINTS points.

    Points of the same iteration are combined; if there are more iterations than points, so are neighbours, averaged
    for each run first.
    """
    if not curves:
        return None
    iterations = np.unique(np.concatenate([curve.iterations for curve in curves]))
    edges = iterations[np.linspace(0, len(iterations), min(len(iterations), _MOST_POINTS) + 1).astype(int)[1:] - 1]
    values = np.array([_in_bins(curve, edges) for curve in curves])  # [runs, points], NaN where a run has none
    count = np.isfinite(values).sum(0)
    points = {"mean": np.nansum(values, 0) / count, "low": np.nanmin(values, 0), "high": np.nanmax(values, 0)}
    return {"x": edges.tolist()} | {name: [float(f"{value:.5g}") for value in row] for name, row in points.items()}


def _in_bins(curve: Curve, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    bins = np.searchsorted(edges, curve.iterations)
    count = np.bincount(bins, minlength=len(edges))
    total = np.bincount(bins, weights=curve.values, minlength=len(edges))
    values = np.full(len(edges), np.nan)
    np.divide(total, count, out=values, where=count > 0)
    return values
