"""The job of `gan-check`: find what would fail before a long run starts."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from gan_runner.commands.starting import start_of_job
from gan_runner.config.build import build, make
from gan_runner.config.checking import check, too_much_asked
from gan_runner.config.command_line import typed_overrides
from gan_runner.data.resources import megabytes
from gan_runner.errors import UserError, mark_as_told
from gan_runner.games import accuracy_of
from gan_runner.machine.memory import peak_memory
from gan_runner.ranges import Count, Fraction, Positive
from gan_runner.record.pictures import grid, png_bytes, save_atomically, to_uint8
from gan_runner.runs.introduction import what_to_know
from gan_runner.training.experiment import Experiment
from gan_runner.training.first_look import first_look
from gan_runner.training.progress import Progress, duration
from gan_runner.training.schedules import Turn

log = logging.getLogger(__name__)

# A GPU runs the first turns of a kind eagerly and then captures a CUDA graph; only later turns are worth timing.
_WARM_UP_TURNS = 5
_LOOK_EVERY = 10


def check_job(config: DictConfig, verdicts: list[str]) -> None:
    """Check one job, print the findings, and add a line about it to the verdicts.

    Raises:
        UserError: the first thing that would fail.
    """
    typed = typed_overrides()
    overrides = " ".join(typed) or "the defaults"
    try:
        if config.resume is not None:
            raise UserError(
                f"resume is {config.resume}, but gan-check checks a run before it begins.",
                "Leave resume out; gan-run resume=... itself says what cannot be resumed, before it changes anything.",
            )
        start = start_of_job(config)
        check(config, start.overrides, start.choices, start.default_of)
        preflight: Preflight = make(config.preflight)
        with too_much_asked():
            rows = preflight.look_over(build(config))
    except UserError as error:
        log.error("%s", error)
        mark_as_told(error)
        verdicts.append(f"fails  {overrides}: {error.problem}")
        raise
    verdicts.append(f"ready  {overrides}")
    log.info("%s\n%s", overrides, as_table(rows))


def as_table(rows: list[tuple[str, str]]) -> str:
    """Format two columns of text."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


class Preflight:
    """Checks an experiment; training it afterwards is not possible, because the networks have been updated.

    Args:
        d_updates: updates in which D must learn to tell real images from the untrained G's.
        d_accuracy: how often it must come to be right.
        seconds: for which each kind of turn is timed.
        picture: the PNG file for a grid of the images that D is trained on; None writes none.
    """

    def __init__(self, d_updates: Count, d_accuracy: Fraction, seconds: Positive, picture: str | None) -> None:
        self._d_updates = d_updates
        self._d_accuracy = d_accuracy
        self._seconds = seconds
        self._picture = picture

    def look_over(self, experiment: Experiment) -> list[tuple[str, str]]:
        """Return the findings as pairs of a name and a text.

        Raises:
            UserError: something that would fail in a run.
        """
        with contextlib.closing(experiment.loader):
            rows = [("device", f"{experiment.compute.device}, {experiment.compute.precision}")]
            rows += self._trace(experiment)
            if self._picture is not None:
                rows.append(("what D sees", self._show(experiment, Path(self._picture))))
            rows.append(("D against untrained G", self._tell_apart(experiment)))
            rows += self._time(experiment)
            rows += self._memory(experiment)
            rows.append(("disk", self._disk(experiment)))
        if unusual := experiment.watch.unusual:
            rows.append(("settings", unusual))
        rows += [("settings", said) for said in what_to_know(experiment)]
        return rows

    def _trace(self, experiment: Experiment) -> list[tuple[str, str]]:
        """Follow a batch through data, game, G and D."""
        look, players, name = first_look(experiment), experiment.players, experiment.images.name
        real, latents, fake = look.real, look.latents, look.fake.images
        rows = [
            (
                f"data {name}",
                f"{len(experiment.images):,} images, batch {_by(real.images.shape)}, {_span(real.images)}",
            ),
            ("latents", f"{_by(latents.shape)}, {_span(latents)}"),
            ("G", f"{_by(fake.shape)}, {_span(fake)}, {_parameters(players.generator.net)}"),
            ("D", _parameters(players.discriminator.net)),
        ]
        if real.conditions:
            rows.insert(1, ("conditions", ", ".join(f"{k} {_by(v.shape)}" for k, v in real.conditions.items())))
        return rows

    def _show(self, experiment: Experiment, path: Path) -> str:
        """Write a grid of real images as D sees them; that it cannot be written is no error."""
        settings = experiment.settings
        images = experiment.examples(settings.sample_columns * settings.sample_rows, as_shown=True).images
        try:
            save_atomically(grid(to_uint8(images), settings.sample_columns), path)
        except UserError as error:
            return f"not shown: {error.problem}"
        return f"a grid of real images: {path}"

    def _tell_apart(self, experiment: Experiment) -> str:
        """Train D alone: a GAN cannot start to learn from a D that fails against an untrained G."""
        step, position, accuracy = experiment.step, 0, 0.0
        before = step.read_d()
        for update in range(1, self._d_updates + 1):
            position = step.play(Turn(d_steps=1), position)
            if update % _LOOK_EVERY and update < self._d_updates:
                continue
            now = step.read_d()
            means = now.means_since(before)
            before = now
            _check_finite(experiment)
            accuracy = accuracy_of(means)
            if accuracy >= self._d_accuracy:
                return f"D accuracy {accuracy:.1%} after {update} updates"
        raise UserError(
            f"D accuracy is {accuracy:.1%} after {self._d_updates} updates against the untrained G, but must reach "
            f"{self._d_accuracy:.0%}: G cannot learn from a D that learns nothing.",
            f"Try optimizer.d.lr=2e-4, model.dropout=0.1 or preflight.d_updates={2 * self._d_updates}.",
        )

    def _time(self, experiment: Experiment) -> list[tuple[str, str]]:
        """Time every kind of turn, and estimate the run's time from how often each occurs."""
        iterations = experiment.timetable.iterations(Progress())
        shares = experiment.schedule.kinds_of_turn(iterations, experiment.epoch)
        seconds = {turn: self._seconds_of(turn, experiment) for turn in shares}
        _check_finite(experiment)
        rows = [(f"iteration {turn}", f"{1000 * value:.2f} ms") for turn, value in seconds.items()]
        each = sum(share * seconds[turn] for turn, share in shares.items())
        if (minutes := experiment.settings.minutes) is not None and experiment.settings.iterations is None:
            rows.append(
                ("time to finish", f"{minutes:g} min, some {60 * minutes / each:,.0f} iterations, without logging")
            )
        elif iterations is None:
            rows.append(("time to finish", "depends on how long D and G take to reach their goals"))
        else:
            rows.append(
                ("time to finish", f"{duration(iterations * each)} for {iterations:,} iterations, without logging")
            )
        return rows

    def _seconds_of(self, turn: Turn, experiment: Experiment) -> float:
        position = 0
        for _ in range(_WARM_UP_TURNS):
            position = experiment.step.play(turn, position)
        _synchronise(experiment.compute.device)
        start, played = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            position = experiment.step.play(turn, position)
            played += 1
        _synchronise(experiment.compute.device)
        return (time.perf_counter() - start) / played

    def _memory(self, experiment: Experiment) -> list[tuple[str, str]]:
        """Read the peak memory after a grid of samples and an evaluation, which need the most."""
        count, columns = experiment.pictures_in_grid, experiment.grid_columns
        experiment.sampler.draw(experiment.sampler.for_grid("fixed latents", count, columns))
        experiment.evaluate()
        if experiment.compute.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(experiment.compute.device)
        elif experiment.compute.device.type == "mps":
            peak = torch.mps.driver_allocated_memory()  # PyTorch never frees it
        else:
            peak = peak_memory()
        return [
            (
                "memory",
                f"{peak / 1e6:,.0f} MB at most on {experiment.compute.device}, samples and metrics included",
            )
        ]

    def _disk(self, experiment: Experiment) -> str:
        """Estimate what the run's folder will take, by the size of one checkpoint and of one grid of real images."""
        settings, timetable = experiment.settings, experiment.timetable
        checkpoint = _bytes_of(experiment.players.state_dict())
        columns = settings.sample_columns
        picture = grid(to_uint8(experiment.examples(columns * settings.sample_rows).images), columns)
        one_grid = len(png_bytes(picture))
        iterations = timetable.iterations(Progress())
        if iterations is None:
            return f"{megabytes(checkpoint)} a checkpoint, {megabytes(one_grid)} a grid of samples"
        if settings.keep == "all":
            checkpoints = 1 + timetable.intervals(settings.checkpoint_every, iterations)
        else:
            checkpoints = settings.keep
        checkpoints += experiment.evaluation.objective is not None  # best.pt
        grids = 1 + timetable.looks(settings.sample_every, iterations)
        logger = experiment.logger
        in_events = 2 * grids + 1 if logger.images and not logger.writes_outside else 0
        total = checkpoints * checkpoint + (grids + in_events) * one_grid
        hint = " (logger.images=false leaves these out)" if in_events else ""
        return (
            f"about {megabytes(total)}: {checkpoints} checkpoints of {megabytes(checkpoint)}, {grids} grids of samples "
            f"of {megabytes(one_grid)}, and {megabytes(in_events * one_grid)} of them in the event file{hint}"
        )


def _bytes_of(state: object) -> int:
    """Bytes of all tensors in a state."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(_bytes_of, state.values()))
    return sum(map(_bytes_of, state)) if isinstance(state, list) else 0


def _check_finite(experiment: Experiment) -> None:
    bad = experiment.step.finite.first_bad()
    if bad is not None:
        raise UserError(
            f"A loss is NaN or infinite after {bad} iterations.",
            "Try optimizer.lr=2e-4, labels=hard or trainer.precision=fp32.",
        )


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device.type).synchronize()


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def _span(values: Tensor) -> str:
    return f"values {values.min():.3g} to {values.max():.3g}" if values.numel() else "none"


def _parameters(net: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in net.parameters()):,} parameters"
