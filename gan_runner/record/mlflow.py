"""Runs in MLflow. MLflow's code is imported where it is used: that takes seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from gan_runner import tags
from gan_runner.errors import UserError
from gan_runner.machine.shell import quoted
from gan_runner.record.loggers import Hyperparameters, InBackground, RunToLog, Status, keep_id, kept_id, require

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SQLITE = "sqlite:///"
_LOCAL = f"{_SQLITE}mlflow.db"
_LONGEST_PARAMETER = 6000  # characters that MLflow takes
_LONGEST_TAG = 5000
_IN_A_BATCH = 100  # parameters
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MLflow:
    """The settings of `logger=mlflow`.

    Args:
        tracking_uri: where MLflow keeps runs; null is what the environment variable MLFLOW_TRACKING_URI says, and
            without that `sqlite:///mlflow.db`, a file in the folder in which the command is typed.
        experiment: MLflow's experiment that the run belongs to; null is the sweep of a sweep's job, and `gan-runner`
            for all other runs.
        images: whether grids of samples are logged.

    Raises:
        UserError: MLflow is not installed.
    """

    writes_outside = True

    def __init__(self, tracking_uri: str | None, experiment: str | None, images: bool) -> None:
        require("mlflow", "mlflow", "logger=mlflow")
        self.tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _LOCAL
        self.experiment = experiment
        self.images = images

    def open(self, run: RunToLog) -> MLflowRun:
        """Begin MLflow's run, or continue the one that earlier starts logged to, if it is there.

        Raises:
            UserError: MLflow cannot keep runs there.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent that nobody asked for
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            client = MlflowClient(tracking_uri=_absolute(self.tracking_uri))
            run_id = _earlier_run(client, run)
            begun = run_id is None
            if run_id is None:
                experiment_id = _experiment(client, self.experiment or run.sweep or "gan-runner")
                run_id = client.create_run(experiment_id, run_name=run.name).info.run_id
            client.set_tag(run_id, "folder", str(run.folder.absolute()))
            if run.sweep:
                client.set_tag(run_id, "sweep", run.sweep)
        except (MlflowException, OSError, ImportError) as error:
            raise UserError(
                f"logger=mlflow cannot keep runs in {_without_password(self.tracking_uri)}: "
                f"{' '.join(str(error).split())[:500]}",
                f"Try logger.tracking_uri={_LOCAL}, or the address of an MLflow server.",
            ) from error
        keep_id(run, "mlflow", run_id)
        return MLflowRun(client, run_id, 0 if begun else run.last_logged or 0, images=self.images)

    def view_commands(self, folder: Path, shown: Path) -> list[str]:
        """MLflow's own page, where runs are kept on this machine."""
        if self.tracking_uri.startswith(("http", "databricks")):
            return []
        return [f"mlflow ui --backend-store-uri {quoted(_without_password(self.tracking_uri))}"]


def _earlier_run(client: MlflowClient, run: RunToLog) -> str | None:
    """The run that earlier starts logged to; None where MLflow has none of that identifier here."""
    from mlflow.exceptions import MlflowException

    if (run_id := kept_id(run, "mlflow")) is None:
        return None
    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run_id if found.info.lifecycle_stage == "active" else None


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another job of the sweep was quicker
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise


def _without_password(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else uri


class MLflowRun:
    """One start of a run, in MLflow's run of it.

    Args:
        client: MLflow's.
        run_id: of its run.
        last_logged: what came up to this iteration is there already and is left out.
        images: whether it takes images.
    """

    def __init__(self, client: MlflowClient, run_id: str, last_logged: int, *, images: bool) -> None:
        self._client = client
        self._run_id = run_id
        self._last_logged = last_logged
        self._images = images
        self._background = InBackground()

    def _soon(self, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
        self._background.do(lambda: call(self._run_id, *arguments, **named))

    def begin(self, hyperparameters: Hyperparameters, metrics: Sequence[str]) -> None:
        """Log hyperparameters as MLflow's parameters; a resumed run's new values, which those cannot take, as tags."""
        from mlflow.entities import Param, RunTag

        values = {key: str(value)[:_LONGEST_PARAMETER] for key, value in hyperparameters.values.items()}

        def log(run_id: str) -> None:
            self._client.update_run(run_id, status="RUNNING")
            before = self._client.get_run(run_id).data.params
            new = [Param(key, value) for key, value in values.items() if key not in before]
            for start in range(0, len(new), _IN_A_BATCH):
                self._client.log_batch(run_id, params=new[start : start + _IN_A_BATCH])
            changed = {key: value for key, value in values.items() if before.get(key, value) != value}
            if resumed := [RunTag(f"resumed.{key}", value[:_LONGEST_TAG]) for key, value in changed.items()]:
                self._client.log_batch(run_id, tags=resumed)

        self._soon(log)

    def describe(self, descriptions: Mapping[str, str]) -> None:
        """Nothing: MLflow has no place for what a metric means."""

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Log MLflow's metrics, with the iteration as their step."""
        from mlflow.entities import Metric

        if iteration > self._last_logged:
            now = int(time.time() * 1000)
            metrics = [Metric(tag, float(value), now, iteration) for tag, value in values.items()]
            self._soon(self._client.log_batch, metrics=metrics)

    def image(self, tag: str, picture: Image.Image, iteration: int) -> None:
        """Log an image, if images are wanted."""
        if self._images and iteration > self._last_logged:
            self._soon(self._client.log_image, picture, key=tag, step=iteration)

    def text(self, tag: str, markdown: str, iteration: int) -> None:
        """Log a text as a file among the run's artifacts."""
        self._soon(self._client.log_text, markdown, f"{tag}-{iteration:08d}.md")

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Log an alarm as a tag, which has the last one of its name, and as a text."""
        if iteration > self._last_logged:
            self._soon(self._client.set_tag, f"alarm.{name}", f"iteration {iteration}: {message}"[:_LONGEST_TAG])
            self.text(f"{tags.HEALTH}{name}", message, iteration)

    def end(self, status: Status) -> None:
        """Set the status of MLflow's run."""
        self._soon(self._client.set_terminated, _STATUS[status])

    def close(self) -> None:
        """Wait until MLflow has everything, for half a minute at most."""
        self._background.close()


def _absolute(uri: str) -> str:
    """A SQLite file by its whole path: MLflow keeps a store for each address, whatever folder the process is in."""
    path = uri.removeprefix(_SQLITE)
    return f"{_SQLITE}{Path(path).absolute()}" if uri.startswith(_SQLITE) and path else uri
