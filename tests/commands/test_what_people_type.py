"""What people type, in the shells that they type it in: it is taken, or refused with a command that can be pasted."""

import ast
import contextlib
import functools
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import gan_runner
from gan_runner.commands import main
from gan_runner.config.command_line import keep_words, named_folders, typed
from gan_runner.config.explaining import choices_of, settings
from gan_runner.config.mistyped import refuse_mistyped
from gan_runner.errors import UserError
from tests.command_line import call, gan_run

SHELLS = ["bash", "zsh"]
PICTURES = "data=image_folder data.root="
# A line as it is typed, and what comes of it: values of the composed config, or a part of the message.
LINES = {
    # paths
    f"gan-run {PICTURES}'archive (1)/img'": {"data.root": "archive (1)/img"},
    f"gan-run {PICTURES}archive\\ \\(1\\)": {"data.root": "archive (1)"},
    f"gan-run {PICTURES}照片": {"data.root": "照片"},
    f'gan-run {PICTURES}"it\'s"': {"data.root": "it's"},
    f"gan-run {PICTURES}'R&D, a=b #1'": {"data.root": "R&D, a=b #1"},
    f"gan-run {PICTURES}2024": {"data.root": "2024"},
    f"gan-run {PICTURES}1e3": {"data.root": "1e3"},
    f"gan-run {PICTURES}~nobody-of-this-name/one": {"data.root": "~nobody-of-this-name/one"},
    f"gan-run {PICTURES}'C:\\data\\new'": {"data.root": "C:\\data\\new"},
    f"gan-run {PICTURES}my photos": "photos lacks an equals sign",
    f"gan-run {PICTURES}": "data.root is empty",
    "gan-run 'hydra.run.dir=my runs/[1]'": {"hydra.run.dir": "my runs/[1]"},
    "gan-run -m data=image_folder 'data.root=one (1),two' trainer.iterations=3": {"data.root": "one (1)"},
    # options in any order
    "gan-run trainer.iterations=3 -m seed=1,2": {"seed": 1, "trainer.iterations": 3},
    "gan-run seed=1,2 trainer.iterations=3 -m": {"seed": 1, "trainer.iterations": 3},
    "gan-run seed=1 --config-dir conf experiment=mine": {"seed": 1, "experiment": "mine"},
    "gan-run --config-dir=conf +experiment=mine": {"experiment": "mine"},
    "gan-run seed=1 --cfg job trainer.epochs=2": {"seed": 1, "trainer.epochs": 2},
    "gan-run --multirun=seed=1,2": "--multirun=seed=1,2 is not an option",
    "gan-run \N{EN DASH}m seed=1,2": "\N{EN DASH}m has typographic quotes, dashes or spaces",
    # as of other programs
    "gan-run --lr 1e-4": "--lr is not an option: a setting is KEY=VALUE, without dashes.",
    "gan-run --epochs=50 --batch-size 64": "--epochs=50 is not an option",
    "gan-run -lr 1e-4 --no-progress": "-lr is not an option",
    "gan-run lr=1e-4": "There is no key lr here.",
    "gan-run modle=dcgan": "There is no key modle here.",
    "gan-run model = dcgan": "model lacks an equals sign: a setting is KEY=VALUE, in one word.",
    "gan-run model= dcgan seed=1": "dcgan lacks an equals sign",
    "gan-run model:dcgan": "model:dcgan lacks an equals sign",
    "gan-run epochs 50": "epochs lacks an equals sign",
    "gan-run dcgan": "dcgan lacks an equals sign",
    "gan-run 'model=dcgan seed=1'": "is one word, but several settings",
    "gan-run model=“dcgan”": "model is “dcgan”, which cannot be parsed as a value.",
    # numbers
    "gan-run trainer.epochs=50, seed=1": "trainer.epochs is 50,, which cannot be parsed as a value.",
    "gan-run optimizer.lr=0,1": "optimizer.lr is 0,1: several values",
    "gan-run optimizer.lr=1E-4": {"optimizer.lr": 1e-4},
    "gan-run optimizer.lr=1e\N{EN DASH}4": "optimizer.lr is 1e\N{EN DASH}4, which cannot be parsed as a value.",
    "gan-run model.generator.widths=16,16": "model.generator.widths is 16,16: several values",
    "gan-run 'model.generator.widths=[16, 16]'": {"model.generator.widths": [16, 16]},
    "gan-run seed=1,2": "seed is 1,2: several values, which only a sweep takes (-m)",
    "gan-run trainer.progress=False": {"trainer.progress": False},
    # experiment files of one's own
    "gan-run experiment=mine seed=1": "--config-dir names the folder of files of your own",
    "gan-run --config-name mine": "--config-name is mine, but there is no such config",
    "gan-run experiment=conf/experiment/mine.yaml": "must be a name without its folder",
    "gan-run --config-dir conf experiment=bare": "conf/experiment/bare.yaml does not apply to the whole config",
}
# What no command can put right: something has to be written, or named.
WITHOUT_A_COMMAND = {"data.root is empty", "conf/experiment/bare.yaml does not apply to the whole config"}


def words_in(shell, lines, folder):
    """The words that a shell hands to gan-run for each line; what it refuses itself gives none."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = "gan-run() { printf '%s\\0' WORDS \"$@\"; }\n" + "".join(f"{line}\nprintf '\\0\\0'\n" for line in lines)
    printed = subprocess.run([shell, "-c", script], cwd=folder, capture_output=True, check=True, timeout=60).stdout
    of_lines = printed.decode().split("\0\0\0")[:-1]
    assert len(of_lines) == len(lines)
    return [text.split("\0")[1:] for text in of_lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with experiments of one's own."""
    path = tmp_path_factory.mktemp("typed")
    own = path / "conf/experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\ntrainer:\n  iterations: 20\n")
    (own / "bare.yaml").write_text("defaults:\n  - override /loss: hinge\n")
    return path


@functools.cache
def composed_once(config_name="config"):
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        return compose(config_name)


def job_of(words):
    """What composes a command's run, or the first of a sweep's; with the folder of one's own files, if there is one."""
    refuse_mistyped(words, composed_once, sweeps=True)
    taken = typed(words)
    if taken.multirun:
        parsed = OverridesParser.create().parse_overrides(taken.overrides)
        return BasicSweeper.split_arguments(parsed, None)[0][0], taken.config_dir
    return taken.overrides, taken.config_dir


@functools.cache
def refusal_of(folder, words):
    """The message that refuses words: by themselves, or once they are composed; None where they are taken."""
    with contextlib.chdir(folder):
        keep_words(["gan-run", *words])
        try:
            overrides, _ = job_of(words)
        except UserError as error:
            return str(error)
    if "--config-name" not in words and all(map(is_known, overrides)):
        return None  # all of these are composed at one go
    result = gan_run(folder, *words, "--cfg", "job")
    return result.err.replace(" --cfg job", "") if result.code else None


@functools.cache
def known():
    """Keys that any config has."""
    return {*settings(composed_once()), "data.root", "hydra.run.dir"}


def is_known(override):
    """Whether an override sets a key that any config has, or chooses what there is."""
    key, _, value = override.partition("=")
    return key in known() or value in choices_of(key)


@pytest.mark.parametrize("shell", SHELLS)
def test_typed_input_is_accepted_or_refused_with_a_command_that_works_when_pasted(folder, shell):
    taken, pasted = [], []
    for (line, expected), words in zip(LINES.items(), words_in(shell, LINES, folder), strict=True):
        refusal = refusal_of(folder, tuple(words))
        if isinstance(expected, str):
            assert refusal is not None, line
            assert expected in refusal, line
            assert len(refusal.splitlines()) <= 4
            if expected not in WITHOUT_A_COMMAND:
                pasted.append(refusal.rpartition("Try: ")[2].strip())
        else:
            assert refusal is None, (line, refusal)
            taken.append((words, expected))
    assert all(line.startswith("gan-run ") for line in pasted), pasted
    taken += [(words, {}) for words in words_in(shell, pasted, folder)]
    together = {}
    for words, expected in taken:
        assert refusal_of(folder, tuple(words)) is None, words
        with contextlib.chdir(folder):
            overrides, _ = job_of(words)
        parsed = {each.key_or_group: each for each in OverridesParser.create().parse_overrides(overrides)}
        assert {key: parsed[key].value() for key in expected} == expected, words
        together |= {key: each.input_line for key, each in parsed.items() if is_known(each.input_line)}
    compose_together(tuple(together.values()))


@functools.cache
def compose_together(overrides):
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        return compose("config", list(overrides))


LIST = re.compile(r"(?<![\w.'\"])[a-z][\w.]*=\[")
"""A list for a key that is in no quotes: zsh takes the brackets for a pattern of names of files."""


def test_no_message_page_or_help_shows_a_list_without_the_quotes_that_zsh_needs():
    sentences = [
        (path.name, node.value)
        for path in Path(gan_runner.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    project = Path(gan_runner.__file__).parents[1]
    for path in project.glob("docs/*.md"):
        spans = re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
        sentences += [(path.name, code) for code in spans if "(" not in code]  # that is Python
    sentences += [(path.name, path.read_text(encoding="utf-8")) for path in project.glob("conf/**/*.yaml")]
    assert not [(name, text[:200]) for name, text in sentences if LIST.search(text)]


# ---- paths ----------------------------------------------------------------------------------------------

LETTERS = "abZ09 ._-+~$\\{}[]()'\"`!@#%^&*=,;:|?<>/äß照ñ\N{COMBINING DIAERESIS}😀\t"
KINDS = [
    *(
        "archive (1)/img",
        "照片",
        "Fotos_für_GAN",
        "it's",
        "R&D",
        "a=b",
        "a,b",
        "2024",
        "1e3",
        "#1",
        "a${b",
        "${",
        "\\${b",
    ),
    *(
        "~nobody-of-this-name",
        "$x",
        "C:\\data\\new",
        "{",
        "!",
        "-x",
        "+x",
        "null",
        "true",
        "a/",
        "\\",
        "a\\\\'",
        " a ",
        "[x]",
    ),
    *("choice(1)", "a\nb", "'a", "a: b", "%s", "None", "nan", "???", "*"),
]


def names(count):
    """Names of folders of all kinds, the same ones every time."""
    draw = random.Random(0)
    drawn = ("".join(draw.choices(LETTERS, k=draw.randint(1, 12))) for _ in range(count))
    quoted = ("'", '"')  # what is in quotes as a whole is a text of Hydra's
    return [*KINDS, *(name for name in drawn if not (name[0] in quoted and name[-1] == name[0]) and name[0] != "~")]


def values_of(words, config_name="config"):
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        return compose(config_name, typed(words).overrides)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_path_of_a_folder_is_the_text_that_the_shell_passes(tmp_path, shell):
    given = names(300)
    line = " ".join(shlex.quote(f"+data.n{number}.root={name}") for number, name in enumerate(given))
    (words,) = words_in(shell, [f"gan-run {line}"], tmp_path)
    data = OmegaConf.to_container(values_of(words).data, resolve=True)
    for number, name in enumerate(given):
        assert data[f"n{number}"]["root"] == name


def test_quotes_home_folders_interpolations_and_null_work_in_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    config = values_of(["seed=3", "data=image_folder", "data.root=~/one", "resume=null", "+data.n.root='a,b'"])
    assert config.data.root == f"{tmp_path}/my home/one"
    assert config.resume is None
    assert config.data.n.root == "a,b"
    assert values_of(["seed=3", "+data.n.root=runs (${seed})"]).data.n.root == "runs (3)"


@pytest.mark.parametrize(
    ("config_name", "key"),
    [
        ("sample", "run"),
        ("sample", "output"),
        ("evaluate", "samples"),
        ("detect", "others"),
        ("compare", "sweep"),
        ("compare", "runs"),
    ],
)
def test_every_key_for_a_path_accepts_any_path(config_name, key):
    for name in ("a=b, (1)", "2024", "it's"):
        assert values_of([f"+{key}={name}"], config_name)[key] == name


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_for_runs_may_have_any_name_that_a_system_allows(key):
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        config = compose("config", typed([f"{key}=1e3 (a,b)/it's"]).overrides, return_hydra_config=True)
    assert OmegaConf.select(config, key) == "1e3 (a,b)/it's"


def test_in_a_sweep_commas_separate_paths_except_in_quotes():
    (override,) = OverridesParser.create().parse_overrides(
        typed(["-m", "data.root=archive (1),2024,'a,b',${oc.env:HOME}/x"]).overrides
    )
    assert list(override.sweep_string_iterator()) == ["'archive (1)'", "'2024'", "'a,b'", r"$\{oc.env\:HOME\}/x"]


def test_the_folder_of_a_sweep_is_a_single_path():
    assert typed(["-m", "hydra.sweep.dir=sweeps/lr=1,2"]).overrides == ["hydra.sweep.dir='sweeps/lr=1,2'"]


def test_a_custom_parameter_annotated_as_a_path_accepts_any_path(tmp_path, monkeypatch):
    (tmp_path / "my_own_data.py").write_text(
        "from pathlib import Path\ndef load(folder: Path, index: Path | None, limit: int): ...\n"
    )
    (tmp_path / "conf/data").mkdir(parents=True)
    (tmp_path / "conf/data/own.yaml").write_text("_target_: my_own_data.load\nfolder: a\nindex: null\nlimit: 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    overrides = ["data.folder=1e3", "data.index=null", "data.limit=1e3"]
    expected = ["data.folder='1e3'", "data.index=null", "data.limit=1e3"]
    assert typed(["data._target_=my_own_data.load", *overrides]).overrides[1:] == expected
    assert typed(["--config-dir", str(tmp_path / "conf"), "data=own", *overrides]).overrides[1:] == expected


def test_runs_may_be_in_brackets_or_not_and_a_folder_of_that_name_is_preferred(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "lr=1,seed=2", "[x]"):
        (tmp_path / name).mkdir()
    assert named_folders("[a,b]") == named_folders("a,b") == ["a", "b"]
    assert named_folders("[x]") == ["[x]"]
    assert named_folders("lr=1,seed=2,a") == ["lr=1,seed=2", "a"]


# ---- the rest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed_value", [r"'${oc.env:\'HOME\'}'", r'"${oc.env:\"HOME\"}\""', "${a", "'${a'"])
def test_any_value_for_a_key_gives_at_most_one_message(tmp_path, typed_value):
    result = gan_run(tmp_path, f"trainer.device={typed_value}")
    assert result.code == 1
    assert 1 <= len(result.err.splitlines()) <= 4, result.err


WITHOUT_A_READER = [("run", "--help"), ("run", "--cfg job"), ("run", "--info defaults"), ("sample", "--version")]


def test_a_closed_pipe_gives_no_traceback(tmp_path):
    begin = "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); from gan_runner.commands import main\n"
    child = "sys.argv = ['gan', *{words}]\nif os.fork() == 0: main.{command}(); sys.exit()\nos.wait()\n"
    code = begin + "".join(child.format(words=words.split(), command=command) for command, words in WITHOUT_A_READER)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=120)
    assert done.stderr == b""


@pytest.mark.parametrize("words", ["--info", "--info seed=1", "seed=1 --info", "-i trainer.epochs=3"])
def test_an_option_with_an_optional_value_does_not_take_a_setting_as_its_value(words):
    taken = typed(words.split())
    assert taken.flags == ["-i" if "-i " in words else "--info", "all"]
    assert taken.overrides == [word for word in words.split() if "=" in word]


def test_gan_eval_accepts_every_list_of_metrics_by_the_name_in_its_help(tmp_path):
    for value in ("fast", "full", "[frechet,coverage]"):
        result = call(main.evaluate, tmp_path, f"evaluation={value}", "--cfg", "job")
        assert result.code == 0, result.text
        numbers = OmegaConf.create(result.out).metrics.numbers
        assert f"evaluation={numbers}".replace("'", "").replace(" ", "") == f"evaluation={value}"
