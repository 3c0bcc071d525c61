"""The user's own experiment files: where they are, and their required first line."""

from __future__ import annotations

from pathlib import Path

from gan_runner.errors import UserError

FIRST_LINE = "# @package _global_"


def without_first_line(name: str, config_dir: str | None, key: str) -> UserError:
    """The error for an experiment whose settings lie below `experiment`, where nothing reads them.

    Args:
        name: the experiment's.
        config_dir: the folder that --config-dir names.
        key: one of those settings.
    """
    file = Path(config_dir or "", "experiment", f"{name}.yaml")
    return UserError(
        f"experiment is {name}, but its file {file} does not apply to the whole config: "
        f"{key} would be experiment.{key}, which nothing reads.",
        f"Make the first line of that file: {FIRST_LINE}",
    )


def folder_with(group: str, choice: str, config_dir: str | None) -> str | None:
    """The folder of YAML files, of those at hand, that has a file for a choice; None where there is none.

    Args:
        group: such as "experiment".
        choice: the file's name without its ending.
        config_dir: the folder that --config-dir names.
    """
    named = [Path(config_dir), Path(config_dir).parent] if config_dir else []
    for folder in [*named, *sorted(path for path in Path().iterdir() if path.is_dir()), Path()]:
        if (folder / group / f"{choice}.yaml").is_file():
            return str(folder)
    return None
