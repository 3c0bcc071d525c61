"""What a run logs to TensorBoard: curves, images, text, and a row on the HPARAMS page.

`TensorBoard` holds the settings; `TensorBoard.open` starts the event file that a run writes to. TensorBoard's
code is imported where it is used, since commands that train nothing can do without the wait.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from gan_runner import files, tags
from gan_runner.machine.shell import quoted
from gan_runner.ranges import Positive
from gan_runner.record.loggers import Hyperparameters, RunToLog, Scalar, Status
from gan_runner.trees import values

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_PICTURES_KEPT = 10  # of a tag, by TensorBoard itself
_FAILURE = ".failure"  # ends the name of the event file that says that a start has failed


class TensorBoard:
    """The settings of the `logger` group.

    Args:
        flush_seconds: how old, at most, what TensorBoard shows of a running job is.
        charts: title -> the scalars to draw in one chart of the CUSTOM SCALARS page: tags, or regular
            expressions for how tags begin.
        images: whether grids of samples go into the event file besides `samples/`. Runs of earlier versions have no
            such key.
    """

    writes_outside = False

    def __init__(self, flush_seconds: Positive, charts: Mapping[str, Sequence[str]], images: bool = True) -> None:
        self.flush_seconds = flush_seconds
        self.charts = charts
        self.images = images

    def open(self, run: RunToLog) -> EventFile:
        """Start an event file at the top of a run's folder, which is made if need be.

        An earlier start that was cut short may have logged this start's first iteration and later ones too; TensorBoard
        drops those, so that no curve doubles back.
        """
        folder, first_iteration = run.folder, run.first_iteration

        def begin() -> SummaryWriter:
            from torch.utils.tensorboard import SummaryWriter

            _put_in_the_past(folder, int(time.time()))
            # A start's mark is needed in the first file too: TensorBoard takes the first mark that it meets in a
            # folder for the beginning of the run, and drops what is out of date only at the later ones.
            writer = SummaryWriter(log_dir=str(folder), purge_step=first_iteration, flush_secs=self.flush_seconds)
            charts = {title: ["Multiline", list(tags)] for title, tags in self.charts.items()}
            writer.add_custom_scalars({"GAN": charts})
            return writer

        for failure in files.listed(folder, f"events.out.tfevents.*{_FAILURE}", link=True):
            files.remove(failure)
        return EventFile(begin, folder, images=self.images)

    def view_commands(self, folder: Path, shown: Path) -> list[str]:
        """The line that opens TensorBoard."""
        return [dashboard_line(folder, shown)]


class EventFile:
    """One start's event file, which there is once something is written; a context manager that closes it.

    Args:
        begin: starts the file.
        folder: the run's.
        images: whether it takes images.
    """

    def __init__(self, begin: Callable[[], SummaryWriter], folder: Path, *, images: bool) -> None:
        self._begin = begin
        self._folder = folder
        self._images = images
        self._descriptions: dict[str, str] = {}
        self._row: list[Any] = []  # of the HPARAMS page, until the file is begun

    @cached_property
    def _writer(self) -> SummaryWriter:
        writer = self._begin()
        file: Any = writer.file_writer
        for message in self._row:
            file.add_summary(message)
        self._row = []
        return writer

    @property
    def _file(self) -> Any:
        return self._writer.file_writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, hyperparameters: Hyperparameters, metrics: Sequence[str]) -> None:
        """Put the run on the HPARAMS page, on which it is one row from now on.

        The page shows the first five hyperparameters and the first five metrics until more are ticked.

        Args:
            hyperparameters: the run's.
            metrics: scalar tags, the most telling first; the page shows the last value logged of each.
        """
        self._row = _row(hyperparameters, metrics)

    def end(self, status: Status) -> None:
        """Put the run's outcome on the HPARAMS page.

        TensorBoard keeps the first outcome that it reads in a folder. So a run that was interrupted, and may be
        resumed, has none yet; a failure, which may be resumed too, has a file of its own that the next start takes
        away.
        """
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

        if status == "finished":
            outcome = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
            self._file.add_summary(_of_hparams_page(session_end_info=outcome))
        elif status == "failed":
            _write_failure(self._folder, self._row)
            self._row = []

    def describe(self, descriptions: Mapping[str, str]) -> None:
        """Say what scalars mean, by their tags, before the first of each; their charts show it behind an i."""
        self._descriptions |= descriptions

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Add a point to each curve.

        Args:
            values: tag -> value; NaN and infinities are marked as such in the chart.
            iteration: the point's place on the x axis.
        """
        from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, Summary, SummaryMetadata

        # One event for all takes the training loop a fifth of the time of an event each.
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        for point in points:
            if point.tag in self._descriptions:  # TensorBoard keeps what comes with a curve's first point
                told = self._descriptions.pop(point.tag)
                point.metadata.CopyFrom(SummaryMetadata(summary_description=told, data_class=DATA_CLASS_SCALAR))
                point.metadata.plugin_data.plugin_name = "scalars"
        self._file.add_summary(Summary(value=points), iteration)

    def image(self, tag: str, picture: Image.Image, iteration: int) -> None:
        """Add an image, grey or RGB, to the IMAGES page, if images are wanted."""
        if not self._images:
            return
        from torch.utils.tensorboard.summary import image

        # Not by the writer's own `add_image`, which opens another file where this one is closed.
        pixels = np.asarray(picture)
        self._file.add_summary(image(tag, pixels, dataformats="HW" if pixels.ndim == 2 else "HWC"), iteration)

    def text(self, tag: str, markdown: str, iteration: int) -> None:
        """Add a text to the TEXT page."""
        from torch.utils.tensorboard.summary import text

        self._file.add_summary(text(tag, markdown), iteration)

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Add an alarm to the TEXT page."""
        self.text(f"{tags.HEALTH}{name}", message, iteration)

    def close(self) -> None:
        """Write what is still in memory and close the file; the file takes nothing more."""
        if self._row or "_writer" in self.__dict__:
            self._writer.close()


def _write_failure(folder: Path, before: Sequence[Any]) -> None:
    """Write a file of its own that says that the run has failed; the next start takes it away.

    Args:
        folder: the run's.
        before: what the file says first.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    outcome = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_FAILURE, end_time_secs=now)
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    events += [Event(wall_time=now, summary=each) for each in [*before, _of_hparams_page(session_end_info=outcome)]]
    # Not by TensorBoard's own writer, whose thread prints a traceback where the disk is full.
    name = f"events.out.tfevents.{int(now)}.{platform.node()}{_FAILURE}"
    with files.replacing(folder / name) as file:
        for event in events:
            RecordWriter(file).write(event.SerializeToString())


def _row(hyperparameters: Hyperparameters, metrics: Sequence[str]) -> list[Any]:
    """The two messages that make a run a row of the HPARAMS page: the page's columns, and the row's values."""
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    # torch's own helper for these messages writes booleans as numbers, leaves out the time, and only reports success.
    types = {"number": "DATA_TYPE_FLOAT64", "truth": "DATA_TYPE_BOOL", "text": "DATA_TYPE_STRING"}
    experiment = api_pb2.Experiment(
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    )
    for key, kind in hyperparameters.columns.items():
        experiment.hparam_infos.add(name=key, type=types[kind], differs=key in hyperparameters.chosen)
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for key, value in hyperparameters.values.items():
        setattr(start.hparams[key], _field_of(value), value)
    return [_of_hparams_page(experiment=experiment), _of_hparams_page(session_start_info=start)]


def _of_hparams_page(**message: object) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    (kind,) = message
    content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**message))
    return Summary(value=[Summary.Value(tag=f"_hparams_/{kind}", metadata=content, tensor=metadata.NULL_TENSOR)])


def dashboard_line(folder: Path, shown: Path) -> str:
    """The line that opens TensorBoard on a run or a sweep, with more images than it loads by default.

    Args:
        folder: the run's or the sweep's.
        shown: the same, as one would type it.
    """
    grids = max((len(files.listed(path, "iteration_*.png")) for path in folder.glob("**/samples")), default=0)
    more = f" --samples_per_plugin images={grids}" if grids > _PICTURES_KEPT else ""
    return f"tensorboard --logdir {quoted(str(shown))}{more}"


def _put_in_the_past(folder: Path, now: int) -> None:
    """Have event files of earlier starts carry earlier times in their names than one that is begun now.

    TensorBoard reads them in the order of their names and never goes back: after a clock was set back, it would leave
    out what comes from now on.
    """
    found = files.listed(folder, "events.out.tfevents.*", link=True)
    limit = now - 1
    for path in reversed(found):
        stamp, _, rest = path.name.removeprefix("events.out.tfevents.").partition(".")
        if stamp.isdecimal() and int(stamp) > limit:
            with contextlib.suppress(OSError):
                path.rename(path.with_name(f"events.out.tfevents.{limit:010d}.{rest}"))
            limit -= 1


def flatten(config: Mapping[str, Any]) -> dict[str, Scalar]:
    """Turn a nested config into one level of hyperparameters.

    Keys are joined by dots. The class that a part of the config names is the value of that part; Hydra's
    other keys, which begin with an underscore too, are left out. Lists become text, and None becomes "null".

        {"loss": {"_target_": "gan_runner.objectives.losses.Hinge"}, "optimizer": {"lr": 2e-4, "betas": [0.5, 0.999]}}
        -> {"loss": "Hinge", "optimizer.lr": 2e-4, "optimizer.betas": "0.5, 0.999"}

    Args:
        config: a resolved config of plain values, lists and mappings, whose keys may be numbers.
    """
    flat: dict[str, Scalar] = {}
    for key, value in values(config).items():
        owner, _, name = key.rpartition(".")
        if name == "_target_" and owner:
            flat[owner] = value.rpartition(".")[-1]
        elif not name.startswith("_"):
            flat[key] = _as_scalar(value)
    return flat


def _as_scalar(value: object) -> Scalar:
    if value is None:
        return "null"
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return ", ".join(str(_as_scalar(item)) for item in value)
    return str(value)


def _field_of(value: Scalar) -> str:
    """The field of a protobuf value that holds such a value."""
    if isinstance(value, bool):  # asked first, since a bool is an int to Python
        return "bool_value"
    return "number_value" if isinstance(value, int | float) else "string_value"
