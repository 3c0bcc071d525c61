"""Reading the folders of runs: finished, running, failed or just started."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_runner import tags
from gan_runner.errors import UserError
from gan_runner.incidental import OF_A_PLACE, OF_A_START
from gan_runner.machine.shell import command_line, quoted
from gan_runner.override import Override, key_of
from gan_runner.record.data_folder import DataFolder, Plain, items, mapping, number, text, whole
from gan_runner.trees import dotted, leaves

NULL = "null"  # as it is typed; None is unknown
UNKNOWN = "-"
SHOWN = (tags.LOSS_D, tags.LOSS_G, tags.ACCURACY_D)  # besides metrics
_MOST_METRICS = 12  # curves and columns of a run
_MOST_POINTS = 1000  # of a curve that are kept; more are averaged
_MOST_SETTINGS = 5000
_MOST_ALARMS = 100
_NO_SUMMARY = "summary.json is missing: the run ended before training, or is just starting."
_DEEPEST_RUN = 4  # folders below the sweep's


@dataclass(frozen=True)
class Curve:
    """A measurement over a run.

    Attributes:
        iterations: [P], rising.
        values: [P], finite.
    """

    iterations: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class AlarmRecord:
    """An alarm of a run."""

    name: str
    iteration: int | None
    message: str


@dataclass
class RunRecord:
    """A run, or a job of a sweep that has not started; unknown values are None, "" or empty.

    Attributes:
        name: its folder's, below the sweep's where it is part of one.
        folder: None for a job that has made none.
        status: running, finished, pruned, interrupted, failed, waiting, or unknown.
        error: why it failed.
        seed: of all random numbers.
        settings: the composed config: values by dotted key, interpolations as they are written.
        choices: the choice of each config group.
        overrides: key -> value, as typed.
        typed: the overrides as they were typed, whole.
        data: the data set's name.
        fingerprint: of its images.
        count: how many images.
        objective: tag of the metric that says which run is the best.
        goal: "lower" or "higher".
        metric_fingerprint: its extractor, and how it was measured beyond the settings.
        best: the objective's best value.
        best_iteration: its iteration.
        last: the objective's last value.
        metrics: last values by tag.
        curves: by tag.
        alarms: in the order in which they were raised.
        pictures: grids of the same latents, by iteration.
        written: when the run wrote last, in seconds since the epoch.
        problems: what could not be read, a line each.
    """

    name: str
    folder: Path | None = None
    status: str = "unknown"
    error: str = ""
    seed: Plain = None
    settings: dict[str, Plain] = field(default_factory=dict)
    choices: dict[str, Plain] = field(default_factory=dict)
    overrides: dict[str, Plain] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)
    data: str = ""
    fingerprint: str = ""
    count: int | None = None
    objective: str = ""
    goal: str = ""
    metric_fingerprint: str = ""
    best: float | None = None
    best_iteration: int | None = None
    last: float | None = None
    iterations: int | None = None
    epochs: float | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    device: str = ""
    precision: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    alarms: list[AlarmRecord] = field(default_factory=list)
    pictures: dict[int, Path] = field(default_factory=dict)
    processor: str = ""
    commit: str = ""
    written: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def command(self) -> str:
        """The command that runs it again on its own, from the start; "" if it has more than plain settings.

        The folder may be untrusted, and a pasted command is run with trust: so class names, further config files,
        Hydra's own settings and interpolations are left for the user to type.
        """
        return command_line(["gan-run", *self.to_paste]) if all(map(_is_a_setting, self.typed)) else ""

    @property
    def to_paste(self) -> list[str]:
        """The overrides of its command without downloads, which are done already."""
        return [override for override in self.typed if key_of(override) != "data.download"]

    @property
    def known(self) -> bool:
        """Whether its settings are known."""
        return bool(self.settings or self.overrides)

    def value(self, key: str) -> Plain:
        """The value of a setting or the option of a group; None if unknown."""
        for known in (self.choices, self.settings, self.overrides):
            if key in known:
                return known[key]
        return None


# ---- finding --------------------------------------------------------------------------------------------


def runs_of_sweep(folder: Path) -> tuple[list[RunRecord], list[str]]:
    """Read all runs below a sweep's folder, and the jobs of its sweep.json that have no folder.

    Args:
        folder: as the user typed it.

    Returns:
        The runs by name, and what could not be read.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    newest = quoted(f"sweep={_newest_sweep() or 'multirun/DATE/TIME'}")
    remedy = f"Try {newest}, or runs=A,B with the folders of runs."
    if not folder.is_dir():
        raise UserError(f"sweep is {folder}, but there is no such folder.", remedy)
    if _is_run(folder):
        raise UserError(
            f"sweep is {folder}, but that is the folder of one run.",
            f"Try {quoted(f'sweep={folder.parent}')}, or {quoted(f'runs={folder},...')} with others to compare it to.",
        )
    runs = {path: read_run(path, str(path.relative_to(folder))) for path in _run_folders(folder, _DEEPEST_RUN)}
    top = DataFolder(folder)
    jobs = [mapping(job) for job in items(top.json("sweep.json").get("jobs"))]
    missing = []
    for job in jobs:
        run = _run_of(job, folder, runs)
        if run is not None:
            _add_what_the_sweep_knows(run, job)
        else:
            missing.append(_job_without_folder(job))
    if not runs and not missing:
        raise UserError(f"sweep is {folder}, but there are no runs in it, and no sweep.json with jobs.", remedy)
    return sorted([*runs.values(), *missing], key=lambda run: _natural(run.name)), top.problems


def runs_at(folders: Sequence[str]) -> list[RunRecord]:
    """Read the runs in the folders that the user typed, without duplicates.

    Raises:
        UserError: one of them is not the folder of a run.
    """
    paths: dict[Path, Path] = {}
    for folder in folders:
        path = Path(folder)
        if not path.is_dir():
            raise UserError(
                f"runs names {folder}, but there is no such folder.",
                "Try runs=outputs/DATE/TIME,multirun/DATE/TIME/NAME, or sweep=DIR for all runs of a sweep.",
            )
        if not _is_run(path):
            remedy = f"Try {quoted(f'sweep={folder}')}." if any(_run_folders(path, _DEEPEST_RUN)) else "Leave it out."
            raise UserError(f"runs names {folder}, but that is not the folder of a run: it has no .hydra.", remedy)
        paths.setdefault(path.resolve(), path)
    return [read_run(path, str(path)) for path in paths.values()]


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (".hydra", "summary.json", "metrics.jsonl", "gan-run.log"))


def _run_folders(folder: Path, deepest: int) -> Iterator[Path]:
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in below:
        if _is_run(path):
            yield path
        elif deepest > 1 and not path.name.startswith("."):
            yield from _run_folders(path, deepest - 1)


def _newest_sweep() -> Path | None:
    folders = [path for pattern in ("*", "*/*") for path in Path("multirun").glob(pattern)]
    sweeps = [path for path in folders if not _is_run(path) and any(_run_folders(path, deepest=1))]
    return max(sweeps, key=lambda path: path.stat().st_mtime, default=None)


def _natural(name: str) -> list[tuple[float, str]]:
    """Sort 2 before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", name)
    return [(float(part), "") if at % 2 else (0.0, part) for at, part in enumerate(parts)]


def _run_of(job: Mapping[str, Any], sweep: Path, runs: Mapping[Path, RunRecord]) -> RunRecord | None:
    """The run of a job in sweep.json."""
    for name in (job.get("folder"), job.get("name")):
        if isinstance(name, str):
            for path in (sweep / name, sweep / Path(name).name):
                if path in runs:
                    return runs[path]
    return None


def _add_what_the_sweep_knows(run: RunRecord, job: Mapping[str, Any]) -> None:
    state = text(job.get("state"))
    if state and _NO_SUMMARY in run.problems:  # sweep.json has it instead
        run.problems.remove(_NO_SUMMARY)
    # A job that was killed could not write how it ended; the sweep may have seen it.
    if state and (run.status == "unknown" or (run.status == "running" and state != "waiting")):
        run.status = state
    run.error = run.error or text(job.get("error"))
    if not run.typed:
        _take_overrides(run, [text(override) for override in items(job.get("overrides"))])
    if run.seconds is None:
        run.seconds = number(job.get("seconds"))


def _job_without_folder(job: Mapping[str, Any]) -> RunRecord:
    run = RunRecord(
        name=text(job.get("name")) or "a job without a name",
        status=text(job.get("state")) or "unknown",
        error=text(job.get("error")),
        seconds=number(job.get("seconds")),
    )
    _take_overrides(run, [text(override) for override in items(job.get("overrides"))])
    return run


# ---- reading --------------------------------------------------------------------------------------------


def read_run(path: Path, name: str) -> RunRecord:
    """Read a run as far as it has come; damaged files are listed in `problems` and left out.

    Args:
        path: the run's folder.
        name: what to call it.
    """
    folder = DataFolder(path)
    run = RunRecord(name=text(name), folder=path)
    settings = itertools.islice(leaves(folder.yaml(".hydra/config.yaml"), lists=False), _MOST_SETTINGS)
    run.settings = {dotted([*map(text, path)]): _plain(value) for path, value in settings if path}
    runtime = mapping(mapping(folder.yaml(".hydra/hydra.yaml").get("hydra")).get("runtime"))
    run.choices = {k: _plain(v) for k, v in mapping(runtime.get("choices")).items() if "/" not in k}
    _take_overrides(run, folder.yaml_list(".hydra/overrides.yaml"))
    if not folder.has("summary.json"):
        folder.problems.append(_NO_SUMMARY)
    summary = folder.json("summary.json")
    _take_summary(run, summary)
    _take_curves(run, folder)
    _take_objective(run, summary)
    run.pictures = {
        int(found[1]): file
        for file in folder.files("samples/iteration_*.png")
        if (found := re.fullmatch(r"iteration_(\d{1,15})\.png", file.name))
    }
    written = [file.stat().st_mtime for file in folder.files("*.json*")]
    run.written = max(written, default=None)
    run.problems = folder.problems
    return run


def _take_overrides(run: RunRecord, typed: Sequence[str]) -> None:
    last = {key_of(override): override for override in typed}  # a resumed run has the later overrides at the end
    run.typed = [override for key, override in last.items() if key not in OF_A_START]
    for override in map(Override.of, run.typed):
        if override.key not in OF_A_PLACE:
            run.overrides[override.key] = "removed" if override.takes_away else as_plain(override.value or "")
    run.seed = run.value("seed")


def _is_a_setting(override: str) -> bool:
    """Whether an override, in a command, is a choice or a plain value, and neither an option nor one of Hydra's."""
    if any(word in override for word in ("_target_", "_args_", "download:", "${")):
        return False
    # The choice of a group is a file's name, which must not lead elsewhere.
    choice = re.fullmatch(r"[+~]*(?!hydra\b)\w+(=[^/\\]*)?", override)
    return bool(choice or re.match(r"[+~]*(?!hydra\b)\w+([.@]\w[\w.]*|/\w+)(=|$)", override))


def _take_summary(run: RunRecord, summary: Mapping[str, Any]) -> None:
    run.status = text(summary.get("status")) or "unknown"
    run.error = text(summary.get("error"))
    if "seed" in summary:
        run.seed = _plain(summary["seed"])
    data = mapping(summary.get("data"))
    run.data, run.fingerprint, run.count = (
        text(data.get("name")),
        text(data.get("fingerprint")),
        whole(data.get("count")),
    )
    run.metric_fingerprint = text(mapping(summary.get("evaluation")).get("metric"))
    run.iterations, run.epochs = whole(summary.get("iterations")), number(summary.get("epochs"))
    run.seconds, run.images_per_second = number(summary.get("seconds")), number(summary.get("images_per_second"))
    run.processor = text(summary.get("gpu")) or text(summary.get("cpu"))
    run.commit = text(mapping(summary.get("git")).get("commit"))
    run.device, run.precision = text(summary.get("device")), text(summary.get("precision"))
    run.versions = {key: text(value) for key, value in mapping(summary.get("versions")).items()}
    metrics = mapping(summary.get("metrics"))
    run.metrics = {tag: number(metrics[tag]) for tag in list(metrics)[:_MOST_METRICS]}
    for alarm in map(mapping, items(summary.get("alarms"))[:_MOST_ALARMS]):
        run.alarms.append(
            AlarmRecord(text(alarm.get("name")), whole(alarm.get("iteration")), text(alarm.get("message")))
        )


def _take_curves(run: RunRecord, folder: DataFolder) -> None:
    points: dict[str, list[tuple[int, float]]] = {tag: [] for tag in SHOWN}
    epochs: float | None = None
    speed: float | None = None
    for point in folder.json_lines("metrics.jsonl"):
        iteration = whole(point.get("iteration"))
        if iteration is None:
            continue
        for tag, value in point.items():
            if tag not in points and tag.startswith(tags.METRIC) and len(points) < 3 + _MOST_METRICS:
                points[text(tag)] = []
            found = number(value)
            if tag in points and found is not None:
                points[tag].append((iteration, found))
        run.iterations = max(run.iterations or 0, iteration)  # a running one's summary is older
        epochs = number(point.get("epoch")) or epochs
        speed = number(point.get(tags.SPEED)) or speed
    run.epochs = max((epoch for epoch in (run.epochs, epochs) if epoch is not None), default=None)
    run.images_per_second = speed if run.images_per_second is None else run.images_per_second
    run.curves = {tag: _curve(measured) for tag, measured in points.items() if measured}
    for tag, measured in points.items():
        if measured and tag.startswith(tags.METRIC):
            run.metrics.setdefault(tag, measured[-1][1])


def _curve(points: list[tuple[int, float]]) -> Curve:
    """Keep at most _MOST_POINTS of a curve, each the mean of its neighbours, at the last one's iteration."""
    ordered = sorted(points)
    iterations = np.array([iteration for iteration, _ in ordered], np.int64)
    values = np.array([value for _, value in ordered], np.float64)
    together = -(-len(ordered) // _MOST_POINTS)
    starts = np.arange(0, len(ordered), together)
    ends = np.minimum(starts + together, len(ordered))
    return Curve(iterations[ends - 1], np.add.reduceat(values, starts) / (ends - starts))


def _take_objective(run: RunRecord, summary: Mapping[str, Any]) -> None:
    name, goal = (
        text(summary.get(key)) or text(run.settings.get(f"evaluation.{setting}")).removeprefix(NULL)
        for key, setting in (("objective_name", "objective"), ("goal", "goal"))
    )
    run.goal = goal if goal in ("lower", "higher") else ""
    run.objective = _tag(name, [*run.metrics, *run.curves]) if name else ""
    best = mapping(summary.get("best"))
    run.best, run.best_iteration = number(best.get("value")), whole(best.get("iteration"))
    curve = run.curves.get(run.objective)
    if run.best is None and curve is not None and run.goal:
        at = int(curve.values.argmin() if run.goal == "lower" else curve.values.argmax())
        run.best, run.best_iteration = float(curve.values[at]), int(curve.iterations[at])
    if run.best is None:
        run.best = number(summary.get("objective"))
    run.last = run.metrics.get(run.objective)
    if run.last is None and curve is not None:
        run.last = float(curve.values[-1])


def _tag(name: str, known: Sequence[str]) -> str:
    """The tag of a metric, whose name may lack `metric/` and the count of images at its end, such as _10k."""
    full = name if name.startswith(tags.METRIC) else f"{tags.METRIC}{name}"
    if full in known:
        return full
    return next((tag for tag in known if re.fullmatch(re.escape(full) + r"_\d+[kM]?", tag)), full)


def _plain(value: object) -> Plain:
    if value is None:
        return NULL
    if isinstance(value, bool) or (isinstance(value, int | float) and number(value) is not None):
        return value
    if isinstance(value, list):
        return text(f"[{', '.join(text(_plain(item)) for item in value)}]")
    return text(value)


def as_plain(typed: str) -> Plain:
    """A value as it was typed, read the way Hydra reads plain ones: 1e-4 is a number, 'a' is text."""
    bare = typed.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
        return bare[1:-1]
    match bare.lower():
        case "null":
            return NULL
        case "true" | "false":
            return bare.lower() == "true"
    for kind in (int, float):
        try:
            return _plain(kind(bare))
        except ValueError:
            continue
    return bare


def shown(value: Plain) -> str:
    """A value as a user types it; a dash if unknown."""
    match value:
        case None:
            return UNKNOWN
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
    return str(value)
