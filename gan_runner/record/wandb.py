"""Runs in Weights & Biases, offline unless asked otherwise. Its code is imported where it is used."""

from __future__ import annotations

import html
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gan_runner import tags
from gan_runner.errors import UserError
from gan_runner.machine.shell import quoted
from gan_runner.record.loggers import Hyperparameters, RunToLog, Status, keep_id, kept_id, require


class WandB:
    """The settings of `logger=wandb`.

    Args:
        online: whether runs are sent to the server while they train; if not, they are kept in files for `wandb sync`.
        project: the project on the server.
        folder: where wandb makes its folder `wandb`; null is the folder in which the command is typed.
        images: whether grids of samples are logged.

    Raises:
        UserError: wandb is not installed.
    """

    writes_outside = True

    def __init__(self, online: bool, project: str, folder: str | None, images: bool) -> None:
        require("wandb", "wandb", "logger=wandb")
        self.online = online
        self.project = project
        self.folder = Path(folder or ".").expanduser()
        self.images = images

    def open(self, run: RunToLog) -> WandBRun:
        """Begin wandb's run, or continue the one that earlier starts logged to: it has the same identifier.

        Raises:
            UserError: wandb cannot begin a run.
        """
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing is sent that nobody asked for
        import wandb

        earlier = kept_id(run, "wandb")
        identifier = earlier or secrets.token_hex(8)
        settings = wandb.Settings(
            silent=not self.online, console="off", disable_git=True, save_code=False, x_disable_stats=True
        )
        try:
            begun = wandb.init(
                project=self.project,
                id=identifier,
                name=run.name,
                group=run.sweep,
                dir=str(self.folder),
                mode="online" if self.online else "offline",
                resume="allow" if earlier and self.online else None,
                reinit="create_new",
                settings=settings,
            )
        except (wandb.Error, OSError) as error:
            raise UserError(
                f"logger=wandb cannot begin a run: {' '.join(str(error).split())[:500]}",
                "Try logger.online=false, and logger.folder with a folder that can be written to.",
            ) from error
        keep_id(run, "wandb", identifier)
        return WandBRun(begun, run.last_logged or 0 if earlier else 0, images=self.images)

    def view_commands(self, folder: Path, shown: Path) -> list[str]:
        """What sends offline runs to the server."""
        return [] if self.online else [f"wandb sync {quoted(str(self.folder / 'wandb'))}/offline-run-*"]


class WandBRun:
    """One start of a run, in wandb's run of it.

    Args:
        run: wandb's.
        last_logged: what came up to this iteration is there already and is left out.
        images: whether it takes images.
    """

    def __init__(self, run: Any, last_logged: int, *, images: bool) -> None:
        self._run = run
        self._last_logged = last_logged
        self._images = images
        self._step = last_logged
        self._lock = threading.Lock()  # grids come from another thread
        self._status: Status = "finished"  # until something is begun

    def _log(self, values: Mapping[str, object], iteration: int) -> None:
        """Log values at their iteration, which is wandb's step, or at a later one that has begun: steps never fall."""
        with self._lock:
            self._step = max(self._step, iteration)
            self._run.log(dict(values), step=self._step)

    def begin(self, hyperparameters: Hyperparameters, metrics: Sequence[str]) -> None:
        """Log hyperparameters as wandb's config."""
        self._status = "interrupted"
        self._run.config.update(dict(hyperparameters.values), allow_val_change=True)

    def describe(self, descriptions: Mapping[str, str]) -> None:
        """Nothing: wandb has no place for what a curve means."""

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Log a point of each curve."""
        if iteration > self._last_logged:
            self._log(values, iteration)

    def image(self, tag: str, picture: Image.Image, iteration: int) -> None:
        """Log an image, if images are wanted."""
        import wandb

        if self._images and iteration > self._last_logged:
            self._log({tag: wandb.Image(picture, caption=f"iteration {iteration}")}, iteration)

    def text(self, tag: str, markdown: str, iteration: int) -> None:
        """Log a text."""
        import wandb

        self._log({tag: wandb.Html(f"<pre>{html.escape(markdown)}</pre>", inject=False)}, iteration)

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Log an alarm as a tag of the run, in its summary, and as a text."""
        if iteration > self._last_logged:
            self._run.tags = (*(self._run.tags or ()), f"alarm: {name}"[:64])
            self._run.summary[f"alarm/{name}"] = f"iteration {iteration}: {message}"
            self.text(f"{tags.HEALTH}{name}", message, iteration)

    def end(self, status: Status) -> None:
        """Log how the run ended in its summary, and by its exit code when it closes."""
        self._status = status
        self._run.summary["status"] = status

    def close(self) -> None:
        """Finish wandb's run."""
        self._run.finish(exit_code=0 if self._status == "finished" else 1)
