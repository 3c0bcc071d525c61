"""Call the commands in this process, as a user would in a shell."""

import contextlib
import io
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from gan_runner.commands import main

QUICK = [
    "data.limit=64",
    "trainer.batch_size=16",
    "trainer.iterations=4",
    "evaluation.num_images=16",
    "model.generator.widths=[16]",
    "model.discriminator.widths=[16]",
]


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


def call(command: Callable[[], None], folder: Path, *arguments: str) -> Result:
    """Call a command in a folder; a bug's exception comes through."""
    out, err = io.StringIO(), io.StringIO()
    before, level = sys.argv, logging.getLogger().level
    sys.argv = [f"gan-{command.__name__}", *arguments]
    code = 0
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            command()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None  # it says where the command was typed, which the next one must not believe
        logging.getLogger().setLevel(level)
        if loky := sys.modules.get("joblib.externals.loky"):  # its processes stay in the folder that they began in
            loky.get_reusable_executor().shutdown(wait=True)
        for handler in logging.getLogger().handlers[:]:
            if handler.__class__.__module__ in ("logging", "logging.handlers"):
                logging.getLogger().removeHandler(handler)
                handler.close()
    return Result(code, out.getvalue(), err.getvalue())


def gan_run(folder: Path, *arguments: str) -> Result:
    return call(main.run, folder, *arguments)


def gan_check(folder: Path, *arguments: str) -> Result:
    return call(main.check, folder, *arguments)


def gan_sample(folder: Path, *arguments: str) -> Result:
    return call(main.sample, folder, *arguments)


def only_run(folder: Path) -> Path:
    """The folder of the one run below `outputs`."""
    (run,) = folder.glob("outputs/*/*")
    return run
