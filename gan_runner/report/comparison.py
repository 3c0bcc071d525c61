"""Which runs can be compared, what differs between them, and statistics over their seeds."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gan_runner import tags
from gan_runner.incidental import is_incidental
from gan_runner.machine.shell import command_line
from gan_runner.override import key_of
from gan_runner.record.data_folder import Plain
from gan_runner.report.runs import RunRecord, shown

SEED = "seed"
# Settings that end a run early, or evaluate it at its end, do not change how the objective is measured. Nor does how
# often it is evaluated; but the best of more evaluations is better by chance alone, which the notes say.
_OFTEN = "evaluation.every"
_MEASURES_NOTHING = ("evaluation.stop_after", "evaluation.at_end", _OFTEN)
_LOST = {"failed", "pruned"}  # states in which the worse runs tend to end
_TOLD_ANYWAY = {"evaluation.objective", "evaluation.goal"}
_Settings = tuple[tuple[str, Plain], ...]
_MOST_KEYS = 20  # differences that are shown if the overrides do not show them


@dataclass(frozen=True)
class Statistics:
    """Mean and spread over the seeds of a group.

    Attributes:
        mean: None where there is nothing to average.
        spread: the sample's standard deviation, with n - 1 in the denominator; None for fewer than two.
        count: how many runs are averaged.
    """

    mean: float | None
    spread: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Statistics:
        """The statistics of the values that are known."""
        known = [value for value in values if value is not None]
        return cls(
            statistics.fmean(known) if known else None,
            statistics.stdev(known) if len(known) > 1 else None,
            len(known),
        )


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ only in the seed.

    Attributes:
        values: of the set's keys, in their order.
        runs: by seed.
    """

    values: tuple[Plain, ...]
    runs: list[RunRecord]

    @property
    def averaged(self) -> list[RunRecord]:
        """The runs that are averaged: the finished ones, or all that have a value if none has finished."""
        return [run for run in self.runs if run.status == "finished"] or self.runs

    @property
    def unfinished(self) -> bool:
        """Whether the averaged runs have not finished."""
        return all(run.status != "finished" for run in self.runs)

    @property
    def lost(self) -> int:
        """How many runs failed or were pruned, except those whose seed has finished in another run."""
        done = {run.seed for run in self.runs if run.status == "finished" and run.seed is not None}
        return sum(run.status in _LOST and run.seed not in done for run in self.runs)

    @property
    def best(self) -> Statistics:
        """Of the objective's best values."""
        return Statistics.of(run.best for run in self.averaged)

    @property
    def last(self) -> Statistics:
        """Of the objective's last values."""
        return Statistics.of(run.last for run in self.averaged)

    @property
    def speed(self) -> Statistics:
        """Of images per second."""
        return Statistics.of(run.images_per_second for run in self.averaged)

    @property
    def seconds(self) -> Statistics:
        """Of how long the runs took."""
        return Statistics.of(run.seconds for run in self.averaged)

    @property
    def command(self) -> str:
        """The line that runs all its seeds again; "" where there is one, or not all are known."""
        seeds = dict.fromkeys(run.seed for run in self.runs)
        if len(seeds) < 2 or None in seeds or not self.runs[0].command:
            return ""
        others = [override for override in self.runs[0].to_paste if key_of(override) != SEED]
        return command_line(["gan-run", "-m", *others, f"{SEED}={','.join(map(shown, seeds))}"])

    @property
    def alarms(self) -> dict[str, int]:
        """How many of the runs each alarm was raised in."""
        return dict(Counter(name for run in self.runs for name in sorted({alarm.name for alarm in run.alarms})))

    @property
    def states(self) -> dict[str, int]:
        """How many of the runs are in which state."""
        return dict(Counter(sorted(run.status for run in self.runs)))


@dataclass(frozen=True)
class Comparable:
    """Runs whose objectives mean the same: of the same images, measured in the same way.

    Attributes:
        data: the data set in words.
        objective: tag of the metric, "" where none is measured.
        goal: "lower", "higher", or "".
        measured: how the evaluation is set where sets differ in it, otherwise "".
        keys: the settings, or choices of groups, that differ between the groups.
        groups: the best first; those with failed or pruned runs last, because their means are of the survivors only.
        notes: warnings about the comparison.
    """

    data: str
    objective: str
    goal: str
    measured: str
    keys: list[str]
    groups: list[SeedGroup]
    notes: list[str]

    @property
    def runs(self) -> list[RunRecord]:
        """All of them, group by group."""
        return [run for group in self.groups for run in group.runs]

    @property
    def title(self) -> str:
        """The set in one line."""
        better = f", {self.goal} is better" if self.goal else ""
        by = f": {self.objective.removeprefix(tags.METRIC)}{better}" if self.objective else ", without an objective"
        return f"{self.data}{by}{f' ({self.measured})' if self.measured else ''}"


# What is known of a run's images, of how its objective is measured (by its settings, by its metric fingerprint), and of
# the objective; None where nothing is.
_Identity = tuple[object | None, object | None, object | None, object | None]


def comparable_sets(runs: Sequence[RunRecord]) -> list[Comparable]:
    """Divide runs into sets whose objectives can be compared, the largest first.

    Runs are comparable that have the same images, by their fingerprint, and the same objective and goal, measured
    with the same settings and the same extractor. A run without a measurement yet joins the set that its settings
    agree with.
    """
    seen: dict[_Settings, Counter[str]] = defaultdict(Counter)
    for run in runs:
        if run.fingerprint:
            seen[_below(run, "data.")][run.fingerprint] += 1
    usual = {settings: counts.most_common(1)[0][0] for settings, counts in seen.items()}
    identities = [_identity(run, usual) for run in runs]
    parted: dict[_Identity, list[RunRecord]] = defaultdict(list)
    for run, identity in sorted(zip(runs, identities, strict=True), key=lambda pair: pair[1].count(None)):
        fitting = [other for other in parted if _agree(identity, other)]
        parted[max(fitting, key=lambda other: len(parted[other]), default=identity)].append(run)
    measured = _told_apart([_measured(members) for members in parted.values()])
    sets = [_comparable(members, words) for members, words in zip(parted.values(), measured, strict=True)]
    return sorted(sets, key=lambda one: -len(one.runs))


def _identity(run: RunRecord, usual: Mapping[_Settings, str]) -> _Identity:
    data = _below(run, "data.")
    images = run.fingerprint or usual.get(data) or data or None
    measured = run.best is not None or run.last is not None or bool(run.metrics)
    return (
        images,
        _evaluation(run) if run.settings else None,
        run.metric_fingerprint or None,
        (run.objective, run.goal) if measured else None,
    )


def _agree(identity: _Identity, other: _Identity) -> bool:
    return all(mine is None or mine == theirs for mine, theirs in zip(identity, other, strict=True))


def _below(run: RunRecord, prefix: str) -> _Settings:
    """A run's settings below a key, without those that change nothing about what is compared."""
    return tuple(
        (key, run.settings[key]) for key in sorted(run.settings) if key.startswith(prefix) and not is_incidental(key)
    )


def _evaluation(run: RunRecord) -> _Settings:
    """How a run's objective is measured."""
    return tuple((key, value) for key, value in _below(run, "evaluation.") if not key.startswith(_MEASURES_NOTHING))


def _measured(runs: Sequence[RunRecord]) -> dict[str, Plain]:
    """How the objective of comparable runs is measured, from what is known of one of them."""
    settings = next((dict(_evaluation(run)) for run in runs if run.settings), {})
    metric_fingerprint = next((run.metric_fingerprint for run in runs if run.metric_fingerprint), None)
    return settings | ({"metric fingerprint": metric_fingerprint} if metric_fingerprint else {})


def _told_apart(settings: Sequence[Mapping[str, Plain]]) -> list[str]:
    """What distinguishes each of several settings from the others, as text."""
    keys = sorted({key for each in settings for key in each} - _TOLD_ANYWAY)
    differing = [key for key in keys if len({shown(each.get(key)) for each in settings if each}) > 1][:_MOST_KEYS]
    return [", ".join(f"{key}={shown(each[key])}" for key in differing if key in each) for each in settings]


def _comparable(runs: Sequence[RunRecord], measured: str) -> Comparable:
    telling = next((run for run in runs if run.best is not None or run.last is not None), runs[0])
    keys = differing_keys(runs)
    groups = _groups(runs, keys)
    sign = -1 if telling.goal == "higher" else 1

    def rank(group: SeedGroup) -> tuple[bool, bool, float]:
        mean = group.best.mean
        return mean is None, group.lost > 0, 0.0 if mean is None else sign * mean

    groups.sort(key=rank)
    return Comparable(_data(runs), telling.objective, telling.goal, measured, keys, groups, list(_notes(runs, groups)))


def _data(runs: Sequence[RunRecord]) -> str:
    run = next((run for run in runs if run.fingerprint), None)
    if run is None:
        choice = next((run.value("data") for run in runs if run.value("data") is not None), None)
        return "data that is not known yet" if choice is None else shown(choice)
    count = "" if run.count is None else f"{run.count:,} images, "
    return f"{run.data} ({count}{run.fingerprint[:8]})"


def differing_keys(runs: Sequence[RunRecord]) -> list[str]:
    """The settings that differ between runs, the seed left out.

    What was typed names them, in the order of typing; a setting that follows another one's value does not differ. Runs
    may differ in what nobody typed, such as a file of the config that was changed in between: between runs with the
    same overrides, the configs tell.
    """
    telling = [run for run in runs if run.known]
    typed = dict.fromkeys(key for run in telling for key in run.overrides if key != SEED)
    keys = [key for key in typed if _differ(telling, key)]
    untold: dict[str, None] = {}
    for group in _groups([run for run in telling if run.settings], keys):
        everything = dict.fromkeys(key for run in group.runs for key in run.settings)
        untold |= dict.fromkeys(
            key for key in everything if key != SEED and not is_incidental(key) and _differ(group.runs, key)
        )
    return keys + [key for key in untold if key not in keys][:_MOST_KEYS]


def _differ(runs: Sequence[RunRecord], key: str) -> bool:
    return len({run.value(key) for run in runs}) > 1


def _groups(runs: Sequence[RunRecord], keys: Sequence[str]) -> list[SeedGroup]:
    groups: dict[tuple[bool, tuple[Plain, ...]], list[RunRecord]] = defaultdict(list)
    for run in runs:
        groups[run.known, tuple(run.value(key) for key in keys)].append(run)
    return [SeedGroup(key[1], sorted(members, key=lambda run: sort_key(run.seed))) for key, members in groups.items()]


def sort_key(value: Plain) -> tuple[int, float, str]:
    """Numbers by size, then text, then what is not known."""
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, str):
        return 1, 0.0, value
    return 0, float(value), ""


def _interval(run: RunRecord) -> tuple[Plain, Plain]:
    """How often a run was evaluated: the number, also where it follows another setting, and what it counts."""
    every = run.settings[_OFTEN]
    if isinstance(every, str) and every.startswith("${"):
        every = run.value(every[2:-1])
    return every, run.value("trainer.intervals_in")


def _notes(runs: Sequence[RunRecord], groups: Sequence[SeedGroup]) -> Iterator[str]:
    behind = sum(group.lost > 0 and group.best.mean is not None for group in groups)
    if behind:
        yield (
            f"Rows with failed or pruned runs are below all others ({behind} of {len(groups)}): the runs "
            "that are left tend to be the better ones."
        )
    if len({_interval(run) for run in runs if _OFTEN in run.settings}) > 1:
        yield (
            f"The runs were not evaluated equally often ({_OFTEN}): the best of more evaluations is better by chance "
            "alone. Compare their last values."
        )
    for what, name in (("device", "devices"), ("processor", "processors"), ("precision", "precisions")):
        values = sorted({getattr(run, what) for run in runs} - {""})
        if len(values) > 1:
            yield f"The runs were computed on different {name}, so their speeds do not compare: {', '.join(values)}."
    for package in ("gan-runner", "torch"):
        versions = sorted({run.versions.get(package, "") for run in runs} - {""})
        if len(versions) > 1:
            yield f"The runs were made by different versions of {package}: {', '.join(versions)}."
    commits = sorted({run.commit[:10] for run in runs} - {""})
    if len(commits) > 1:
        yield f"The runs were made by different commits of the code: {', '.join(commits)}."
    seeds = [[run.seed for run in group.runs if run.seed is not None] for group in groups]
    twice = sum(len(each) > len(set(each)) for each in seeds)
    if twice:
        yield (
            f"In {twice} of the rows a seed comes more than once. Such runs may be exactly the same, and make the "
            "spread smaller than it is."
        )
