"""From a command's overrides to the start of a run, within the user's own program."""

from __future__ import annotations

import contextlib
import copy
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, open_dict, read_write

from gan_runner.config.checking import check
from gan_runner.config.command_line import Typed, command_in_python, shown, typed, typed_overrides
from gan_runner.config.composing import compose, default_of, search_path
from gan_runner.config.explaining import composed_by_choices, explain
from gan_runner.config.mistyped import refuse_mistyped
from gan_runner.errors import UserError
from gan_runner.files import unused_folder
from gan_runner.record import links
from gan_runner.runs.resuming import STORED, prepare_to_resume
from gan_runner.runs.start import Start
from gan_runner.runs.words import words_of

GAN_RUN = "gan-run"


@contextlib.contextmanager
def explained(words: Sequence[str], config_name: str = "config") -> Iterator[Typed]:
    """The arguments in Hydra's form; inside the context errors are UserErrors with the command's message.

    Args:
        words: the arguments after the command's name.
        config_name: of the command's primary config.

    Raises:
        UserError: one of them is wrong.
    """
    command = {"config": GAN_RUN, "evaluate": "gan-eval", "detect": "gan-detect"}[config_name]
    with command_in_python([command, *words], words):
        refuse_mistyped(words, partial(composed_by_choices, config_name), sweeps=config_name == "config")
        arguments = typed(words)
    with command_in_python([command, *words], arguments.arguments):
        try:
            yield arguments
        except UserError:
            raise
        except Exception as error:
            if (said := explain(error, config_name, composing=True)) is None:
                raise
            problem, _, remedy = said.partition("\n  ")
            raise UserError(problem, remedy) from error


@contextlib.contextmanager
def start_of(words: Sequence[str]) -> Iterator[Start]:
    """The start of a run from `gan-run`'s overrides; inside the context its config is composed and its folder exists.

    Raises:
        UserError: they contradict each other, or ask for a sweep.
    """
    with explained(words) as arguments:
        if arguments.multirun:
            raise UserError("-m asks for a sweep, but this trains one run.", "Try gan_runner.sweep(...).")
        if arguments.value_of("sweep_resume") is not None:
            raise UserError("sweep_resume asks for a sweep, but this trains one run.", "Try gan_runner.sweep(...).")
        name, given = "config", [*arguments.overrides, *search_path(arguments.config_dir)]
        resumed = arguments.value_of("resume")
        if resumed is not None:
            prepare_to_resume(arguments)
            name = STORED
        try:
            config = compose(name, given)
            find_default = partial(default_of, name, typed_overrides(config.hydra), copy.deepcopy(config.hydra))
            yield _start(config, arguments, words, find_default, resumed)
        finally:
            if resumed is not None:
                ConfigStore.instance().repo.pop(f"{STORED}.yaml", None)


def _start(
    config: DictConfig, arguments: Typed, words: Sequence[str], find_default: Callable[[str], object], resumed: object
) -> Start:
    """Make the folder of a run, and return its start."""
    elsewhere = arguments.value_of("hydra.run.dir")
    if resumed is not None:
        folder = Path(str(resumed))
    elif elsewhere is not None:
        folder = Path(str(elsewhere))
        if folder.is_dir():
            links.check_run(folder, "hydra.run.dir")
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder = unused_folder(new_name("outputs"))
    with read_write(config), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(folder.absolute())
    return Start(
        config=_without_hydra(config),
        hydra=config,
        folder=shown(folder),
        overrides=typed_overrides(config.hydra),
        choices=dict(config.hydra.runtime.choices),
        command=[GAN_RUN, *words],
        default_of=find_default,
    )


def _without_hydra(config: DictConfig) -> DictConfig:
    own = copy.deepcopy(config)
    with read_write(own), open_dict(own):
        del own["hydra"]
    return own


def checked_config(words: Sequence[str]) -> DictConfig:
    """The config of the run that `gan-run` would train with these overrides; nothing is loaded or written.

    Raises:
        UserError: it has errors.
    """
    with explained(words) as arguments:
        config = compose("config", [*arguments.overrides, *search_path(arguments.config_dir)])
        overrides, choices = typed_overrides(config.hydra), dict(config.hydra.runtime.choices)
        find_default = partial(default_of, "config", overrides, copy.deepcopy(config.hydra))
        own = _without_hydra(config)
        check(own, overrides, choices, find_default)
    return own


def new_name(parent: str) -> Path:
    """A folder named by date and time, as `gan-run` names it: DATE/TIME below `outputs` or `multirun`."""
    return Path(parent, f"{datetime.datetime.now():%Y-%m-%d/%H-%M-%S}")


def settings_of(config_name: str, words: Sequence[str], settings: Mapping[str, object]) -> DictConfig:
    """A command's settings with some of them overridden, without those that say what run is meant.

    Args:
        config_name: of its primary config, `evaluate` or `detect`.
        words: overrides.
        settings: the same as keyword arguments.

    Raises:
        UserError: one of them is wrong.
    """
    given = words_of(words, settings)
    with explained(given, config_name) as arguments:
        return compose(config_name, arguments.overrides)
