"""Explains Hydra's errors: key, value, rule, and what to type instead."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gan_runner import CONFIG_MODULE
from gan_runner.config.command_line import command_line, config_dir_of, hydras_arguments, parted
from gan_runner.config.composing import compose, search_path
from gan_runner.config.experiments import folder_with, without_first_line
from gan_runner.errors import UserError, closest, either
from gan_runner.machine import shell
from gan_runner.override import Override

# Keys that are not suggested for a mistyped last part: usual ranges, and a model's settings.
_NOT_OFFERED = ("health.usual.", "model.r1.", "model.recommended.")


def explain(error: Exception, config_name: str, *, composing: bool) -> str | None:
    """Explain an error that is caused by the command line or a YAML file; None for other errors.

    Args:
        error: what came while a config was composed or used.
        config_name: of the command's primary config.
        composing: whether the config was still being composed, so that Python's own errors are about what was typed.
    """
    match error:
        case ConfigCompositionException() | MissingConfigException():
            return explain_composition(error, config_name)
        case OverrideParseException():
            return explain_grammar(error)
        case UserError() | HydraException():
            return str(error)
        case ValueError() | TypeError() if composing and (said := explain_no_choice()):
            return said
        case AssertionError() if composing and (said := explain_key_below_a_value(config_name)):
            return said  # OmegaConf asserts that there are keys
        case OmegaConfBaseException():
            return f"The config does not resolve: {error}\n  Look for the ${{...}} that it names."
        case YAMLError():
            return f"A YAML file of the config cannot be read: {error}\n  Correct it, or leave out its option."
        case ValueError() | TypeError() if composing and not str(error).startswith("Unable to configure"):
            return f"Hydra cannot parse this: {error}\n  Check the command line, or see --help."
    return None


def explain_composition(error: HydraException, config_name: str) -> str:
    """Explain Hydra's refusal of an override: key, value, rule, and what to type."""
    text = _said(error)
    if found := re.search(r"Could not override '(\S+)@experiment\b", text):
        return str(without_first_line(_typed_value("experiment") or "?", config_dir_of(hydras_arguments()), found[1]))
    if found := re.search(r"Could not override '([^']+)'", text):
        # Of a mapping that was typed, Hydra names the key within elsewhere.
        within = re.search(rf"full_key: ({re.escape(found[1])}\.\S+)", str(error.__cause__))
        return _explain_unknown_key(within[1] if within else found[1], config_name)
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, choice = next(_chosen_as(f"{found[1]}/{found[2]}"), (found[1], found[2]))
        return _explain_unknown_choice(group, choice, re.findall(r"\t(\S+)", text.partition("Config search path")[0]))
    if found := re.search(r"Cannot find primary config '([^']+)'", text):
        return _explain_unknown_config(found[1])
    if "resolving interpolation" in text and (
        gone := [word for word in hydras_arguments() if re.fullmatch(r"~\w+", word)]
    ):
        return f"{gone[0]} removes a required setting.\n  Leave {gone[0]} out."
    return text


def _said(error: BaseException | None) -> str:
    """An error's message, or that of its cause if it has none."""
    while error is not None and not str(error):
        error = error.__cause__ or error.__context__
    return str(error) if error is not None else "Hydra cannot parse this, and does not say why."


def _typed_value(key: str) -> str | None:
    return next((word.value for word in map(Override.of, hydras_arguments()) if word.key == key), None)


def _chosen_as(path: str) -> Iterator[tuple[str, str]]:
    """Group and choice, of which Hydra names only the two together."""
    for word in map(Override.of, hydras_arguments()):
        if word.value is not None and f"{word.key}/{word.value}".removesuffix(".yaml") == path.removesuffix(".yaml"):
            yield word.key, word.value


def _explain_unknown_config(name: str) -> str:
    problem = f"--config-name is {name}, but there is no such config, and every command has its own."
    if folder := folder_with("experiment", Path(name).stem, config_dir_of(hydras_arguments())):
        return f"{problem}\n  Try: {_again('experiment', Path(name).stem, folder)}"
    return f"{problem}\n  Leave --config-name out; a file of your own is chosen by --config-dir and experiment=NAME."


def _again(key: str, value: str, config_dir: str | None = None) -> str:
    """The command as it was typed, with another value for a key."""
    name, *words = command_line()
    kept = parted([word for word in words if Override.of(word).key != key])
    folder = config_dir or kept.config_dir
    dropped = {"--config-name", "-cn", "--config-dir", "-cd"}
    flags = [flag for before, flag in itertools.pairwise(["", *kept.flags]) if not {before, flag} & dropped]
    return shell.command_line(
        [name, *(["--config-dir", folder] if folder else []), *flags, f"{key}={value}", *kept.overrides]
    )


# What brings the plug-ins of Hydra that the pages name, by how their choices begin.
_EXTRAS = {"joblib": "parallel", "submitit": "slurm", "ray": "ray", "optuna": "search"}


def _explain_unknown_choice(group: str, choice: str, options: list[str]) -> str:
    stem = Path(choice).stem
    if stem != choice and (folder := _folder_of_file(group, choice)):
        return f"{group} is {choice}, but must be a name without its folder.\n  Try: {_again(group, stem, folder)}"
    if folder := folder_with(group, stem, config_dir_of(hydras_arguments())):
        return (
            f"{group} is {choice}, which lies in {folder}: --config-dir names the folder of files of your own.\n"
            f"  Try: {_again(group, stem, folder)}"
        )
    similar = closest(stem, options) or _spoken_of(group, choice, options)
    remedy = f"Try {group}={similar or options[0]}"
    kind = group.removeprefix("hydra/")
    plugin = choice.partition("_")[0]
    if kind in ("launcher", "sweeper") and plugin in _EXTRAS:
        remedy = f"In the clone of gan-runner, try pip install -e '.[{_EXTRAS[plugin]}]'"
    elif not similar and kind in ("launcher", "sweeper"):
        # Hydra's own plug-ins are named like hydra-submitit-launcher, which brings submitit_local and submitit_slurm.
        remedy += f", or install the plug-in, such as: pip install hydra-{plugin}-{kind}"
    return f"{group} is {choice}, but must be {either(options)}.\n  {remedy}."


def _with_key(key: str, better: str) -> str:
    """The command as it was typed, with another key in a key's place."""
    name, *words = command_line()
    overrides = map(Override.of, words)
    return shell.command_line(
        [name, *(str(replace(word, key=better)) if word.key == key else str(word) for word in overrides)]
    )


def _folder_of_file(group: str, file: str) -> str | None:
    """The folder of YAML files that a file is of, which was typed as a choice."""
    path = Path(file)
    return str(path.parent.parent) if path.is_file() and path.parent.name == group else None


def _spoken_of(group: str, name: str, options: list[str]) -> str:
    """The option whose file mentions a name in its comments, as wasserstein does WGAN; "" if none does."""
    texts = choices_of(group)
    for option in options:
        comments = "\n".join(re.findall("#.*", texts.get(option, "")))
        if re.search(rf"\b{re.escape(name)}\b", comments, re.IGNORECASE):
            return option
    return ""


def choices_of(group: str) -> dict[str, str]:
    """The choices that this package has for a group, sorted, each with its file's text; none for what is no group."""
    folder = resources.files(CONFIG_MODULE).joinpath(group)
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")] if folder.is_dir() else []
    return dict(sorted((file.name.removesuffix(".yaml"), file.read_text("utf-8")) for file in files))


def _choices_with(key: str) -> list[str]:
    """The choices of a key's group that have it, such as data=idx for data.root."""
    group, _, rest = key.partition(".")
    return [f"{group}={choice}" for choice, text in choices_of(group).items() if _has(OmegaConf.create(text), rest)]


def _has(config: DictConfig | ListConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent, throw_on_resolution_failure=False) if parent else config
    return isinstance(node, DictConfig) and last in list(node)  # a value that must be given counts too


def _explain_unknown_key(key: str, config_name: str) -> str:
    config = composed_by_choices(config_name)
    parent = key
    node: object = None
    while parent and not isinstance(node, DictConfig):
        parent = parent.rpartition(".")[0]
        node = OmegaConf.select(config, parent) if parent else config
    assert isinstance(node, DictConfig)
    prefix = f"{parent}." if parent else ""
    names = [f"{prefix}{name}" for name in map(str, node) if not name.startswith("_")]
    name = key.rpartition(".")[2]
    plain = [setting for setting in settings(config) if not setting.startswith(_NOT_OFFERED)]
    whole = whole_keys(key, plain) if "." in key else []
    elsewhere = [setting for setting in plain if setting.rpartition(".")[2] == name]
    similar = closest(key, names)
    better = ""
    if whole:
        remedy, better = f"Did you mean {either(whole)}?", whole[0]
    elif key.partition(".")[0] in config and (choices := _choices_with(key)):
        remedy = f"It is a setting of {either(choices)}: choose one of them, or leave it out."
    elif elsewhere and (not similar or key != prefix + name):
        remedy, better = f"Did you mean {either(elsewhere)}?", elsewhere[0]
    elif similar:
        remedy, better = f"Did you mean {similar}?", similar
    elif names:
        remedy = f"{parent or config_name} has: {', '.join(names)}."
    else:
        remedy = f"Leave it out: {parent} has no keys here."
    return f"There is no key {key} here.\n  {remedy}{better and f'{chr(10)}  Try: {_with_key(key, better)}'}"


def whole_keys(end: str, keys: list[str]) -> list[str]:
    """The keys that end in what was typed, among those of settings and of what settings lie in."""
    found = (re.match(rf".+?\.{re.escape(end)}(?=\.|$)", key) for key in keys)
    return list(dict.fromkeys(match[0] for match in found if match))


def settings(config: DictConfig, path: str = "") -> Iterator[str]:
    """The keys of plain values, but for Hydra's, those nearest to the top first."""
    nodes = []
    for key in map(str, config):
        node = OmegaConf.select(config, key, throw_on_resolution_failure=False) if key != "hydra" else None
        if isinstance(node, DictConfig):
            nodes.append((node, f"{path}{key}."))
        else:
            yield f"{path}{key}"
    for node, prefix in nodes:
        yield from settings(node, prefix)


def explain_grammar(error: OverrideParseException) -> str:
    """Explain a parse error of Hydra's."""
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"{key} lacks an equals sign: a setting is KEY=VALUE.\n  Try {key}=VALUE or KEY={key}, or see --help."
    return f"{key} is {value}, which cannot be parsed as a value.\n  Quoted, it is text: '{key}=\"{value}\"'"


# Groups whose names suggest a number, and the key that takes it.
_TAKES_THE_NUMBER = {"learning_rate": "optimizer.lr"}


def explain_no_choice() -> str:
    """Put Hydra's refusal of `group=null` or of a number for a choice into words; "" where no such thing was typed."""
    arguments = [argument for argument in hydras_arguments() if "=" in argument and not argument.startswith("-")]
    for override in OverridesParser.create().parse_overrides(arguments):
        group, value = override.key_or_group, override.value()
        named = value if isinstance(value, list) else [value]
        choices = list(choices_of(group)) if group else []
        if all(isinstance(each, str) for each in named) or not choices:
            continue
        if override.is_delete():
            return f"~{group} removes a required setting.\n  Leave {override.input_line} out."
        if value is None:
            return f"{group} is empty, but a group needs one of its options.\n  Leave {group} out, or see --help."
        remedy = f"Try {_TAKES_THE_NUMBER.get(group, group)}={value if group in _TAKES_THE_NUMBER else choices[0]}."
        return f"{group} is {value}, but must be {either(choices)}.\n  {remedy}"
    return ""


def explain_key_below_a_value(config_name: str) -> str:
    """Put Hydra's refusal of a key below one that has a value, or null, into words; "" where none was typed."""
    config = _composed_with_hydras(config_name)
    for word in map(Override.of, hydras_arguments()):
        names = word.key.split(".")
        for parent in (".".join(names[:number]) for number in range(1, len(names))):
            owner, _, name = parent.rpartition(".")
            node = OmegaConf.select(config, owner) if owner else config
            if isinstance(node, DictConfig) and name in node and not OmegaConf.is_config(node[name]):
                value = "null" if node[name] is None else node[name]
                return (
                    f"{word.key} is {word.value}, but {parent} is {value} here, and has no keys.\n"
                    f"  Leave {word.key} out."
                )
    return ""


def composed_by_choices(config_name: str) -> DictConfig:
    """Compose what was asked for as far as choices of groups go, which is where the keys come from."""
    config = _composed_with_hydras(config_name)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _composed_with_hydras(config_name: str) -> DictConfig:
    """The same with Hydra's own settings."""
    choices = [argument for argument in hydras_arguments() if re.fullmatch(r"[\w/]+=[\w]+", argument)]
    try:
        return compose(config_name, [*choices, *search_path(config_dir_of(hydras_arguments()))])
    except HydraException:
        return compose(config_name, [])
