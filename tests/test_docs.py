"""What the README and the pages in docs/ show works: every command is called here, or by .ci/run."""

import contextlib
import inspect
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gan_runner
from tests.command_line import gan_check, gan_run, gan_sample, only_run
from tests.slurm import stand_in

# Whether a command runs is looked at, not what its metrics say.
pytestmark = pytest.mark.usefixtures("judge_that_learns_little")

ROOT = Path(__file__).parent.parent
FILES = (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
BLOCKS = {page: re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) for page, text in PAGES.items()}
PROGRAMS = r"(?:PYTHONPATH=\. )?(?:gan-|pip |pytest |python |tensorboard )"


def joined(block):
    """Lines as the shell reads them: one that ends in a backslash goes on in the next."""
    return re.sub(r"\\\n *", "", block).splitlines()


def _commands_of(page):
    """Every command on a page: a line of a block, or between backticks in the text."""
    lines = [line for language, block in BLOCKS[page] if language == "bash" for line in joined(block)]
    for line in lines:
        command = line.partition("  #")[0].strip()
        if command and not command.startswith("#"):
            yield command
    text = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    for span in re.findall(r"`([^`]+)`", text):
        command = " ".join(span.split())
        if re.match(PROGRAMS, command) and " " in command:
            yield f"{command} data=fashion_mnist" if page == "docs/recipes.md" and "experiment=" in command else command


COMMANDS = {page: list(dict.fromkeys(_commands_of(page))) for page in PAGES}
EVERYWHERE = list(dict.fromkeys(command for page in sorted(PAGES) for command in COMMANDS[page]))
OF_A_RUN = re.compile(r"\b(resume|run)=(outputs/DATE/TIME|DIR)")
# What makes a command quick without making it another one.
SHORT = ["trainer.iterations=2", "data.limit=40", "evaluation.num_images=16", "trainer.batch_size=8"]
CHECK_SHORT = [
    *("data.limit=40", "trainer.batch_size=8", "preflight.seconds=0.01", "optimizer.lr=3e-3"),
    "evaluation=pixels",  # or an extractor is learned for each size of picture
]
# What is no program of ours, or is called by .ci/run, which is looked at below.
ELSEWHERE = (
    *("pip install ", "pytest ", "python -m benchmarks.", "python3 -m venv ", "tensorboard --logdir "),
    *(".ci/run", "pre-commit ", "mkdocs "),
)
# Programs that are called with what they assume by tests of their own.
READ_BY = {
    "gan-eval ": "tests/commands/test_evaluate.py",
    "gan-detect ": "tests/commands/test_detect.py",
    "gan-augment ": "tests/commands/test_augment.py",
    "gan-compare ": "tests/commands/test_compare.py",
    "gan-export ": "tests/export/conftest.py",
    "gan-translate ": "tests/commands/test_translate.py",
    "torchrun ": "tests/commands/test_distributed.py",
}
# A sweep that is written down in a file, made smaller: what to add, and how many jobs are left.
WRITTEN_DOWN = {
    "experiment=lr_dropout_sweep": (["model.dropout=0.1", "seed=0"], 3),
    "hydra.sweeper.n_trials=20": (["hydra.sweeper.n_trials=2"], 2),
}


def smaller(line):
    """What is typed after the program, where of a sweep two jobs are left, and the number of jobs.

    Of a sweep whose jobs are processes of their own it is one; tests/commands/test_sweeps.py has several of each kind.
    """
    words, jobs = [], 1
    most = 1 if "hydra/launcher=" in line else 2
    for word in shlex.split(line)[1:]:
        key, equals, values = word.partition("=")
        if " -m " in line and re.fullmatch(r"[^\[(]*,[^\[(]*", values):
            values = ",".join(values.split(",")[: most + 1 - jobs])
            jobs = most
        words.append(f"{key}{equals}{values}")
    return words, jobs


def commands(start):
    return [command for command in EVERYWHERE if command.startswith(start)]


@pytest.fixture
def folder(tmp_path, monkeypatch, write_idx):
    """A folder with what the commands assume: pictures, and a labelled set in IDX files under the names of MNIST's.

    GAN_DATA points to it, so that data=fashion_mnist is this small set on a machine that has the real one, too.
    """
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(40):
        colours = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)  # noise is what alarms are raised at
        Image.fromarray(colours.repeat(5, axis=0).repeat(5, axis=1)).save(tmp_path / f"photos/{number}.jpg")
    for side in ("pairs/A", "pairs/B", "domains/A", "domains/B", "animals/cats", "animals/dogs"):
        shutil.copytree(tmp_path / "photos", tmp_path / side)
    images = random.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    write_idx(tmp_path / "my_idx_files/train-images-idx3-ubyte", images)
    write_idx(tmp_path / "my_idx_files/train-labels-idx1-ubyte", np.arange(40, dtype=np.uint8) % 10)
    write_idx(tmp_path / "my_idx_files/t10k-images-idx3-ubyte", images)  # or data.download=true would fetch them
    write_idx(tmp_path / "my_idx_files/t10k-labels-idx1-ubyte", np.arange(40, dtype=np.uint8) % 10)
    write_idx(tmp_path / "gzip/emnist-letters-train-images-idx3-ubyte.gz", images)
    monkeypatch.setenv("GAN_DATA", str(tmp_path / "my_idx_files"))
    return tmp_path


@pytest.mark.parametrize("group", ["loss", "penalty", "augment", "model"])
def test_the_page_of_a_group_lists_exactly_its_options(group):
    page = PAGES["docs/choices.md"]
    listed = set(re.findall(rf"^\| `{group}=(\w+)`", page, re.MULTILINE))
    assert listed == {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}


@pytest.mark.slow
@pytest.mark.parametrize("line", ["augment=ada loss=wasserstein", "trainer.ema=0.9 trainer.ema_half_life=1000"])
def test_examples_of_refused_input_are_refused_with_a_suggestion(tmp_path, line):  # the others are among the mistakes
    table = PAGES["docs/choices.md"].partition("## What is refused")[2]
    assert any(all(word.partition("=")[0] in row for word in line.split()) for row in table.splitlines())
    result = gan_run(tmp_path, *line.split())
    assert (result.code, "Try " in result.err) == (1, True), result.text


TRAINING = [
    line for line in commands("gan-run") if not OF_A_RUN.search(line) and not re.search("help|sweep_resume|--cfg", line)
]


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAINING)
def test_a_training_command_trains(folder, line, monkeypatch):
    for kind, choice in re.findall(r"hydra/(launcher|sweeper)=([a-z]+)", line):
        plugin = "submitit" if choice == "slurm" else choice
        pytest.importorskip(f"hydra_plugins.hydra_{plugin}_{kind}")
    monkeypatch.setenv("PATH", f"{stand_in(folder)}:{os.environ['PATH']}")
    words, jobs = smaller(line)
    added, jobs = next((less for sweep, less in WRITTEN_DOWN.items() if sweep in line), ([], jobs))
    if "pix2pix" in line:  # or an extractor is learned for each set of pairs
        added = ["evaluation.metrics.features=null", "evaluation.objective=l1"]
    if "data.image_size=64" in line:
        added = ["evaluation=pixels"]
    if "cyclegan" in line:
        added = ["evaluation.metrics.unpaired=null", "evaluation.objective=sliced_wasserstein", "model.blocks=1"]
    if "keras_dcgan" in line:
        added = ["trainer.g_batch_size=8"]  # 256 as published
    if "evaluation=full" in line:
        added = ["evaluation.at_end.num=40", "evaluation.at_end.real=40"]
    with warnings.catch_warnings():
        if "optuna" in line:  # what it takes from others is older than they are
            warnings.simplefilter("ignore", DeprecationWarning)
        result = gan_run(folder, *words, *SHORT, *added)
    assert result.code == 0, result.text
    runs = [path for start in ("outputs", "multirun") for path in folder.glob(f"{start}/**/summary.json")]
    assert len(runs) == jobs
    for run in runs:
        assert json.loads(run.read_text())["status"] == "finished"


@pytest.mark.parametrize("line", [line for line in commands("gan-run") if "--cfg" in line])
def test_a_command_that_shows_the_settings_shows_them(folder, line):
    result = gan_run(folder, *shlex.split(line)[1:])
    assert result.code == 0, result.text
    assert "batch_size: " in result.out


@pytest.mark.slow
def test_a_command_that_resumes_a_sweep_does(folder):
    started = gan_run(folder, "-m", "optimizer.lr=1e-4,2e-4", *SHORT, "hydra.sweep.dir=multirun/mine")
    assert started.code == 0, started.text
    lines = [line for line in commands("gan-run -m") if "sweep_resume" in line]
    assert lines
    for line in lines:
        result = gan_run(folder, *shlex.split(line.replace("multirun/DATE/TIME", "multirun/mine"))[1:])
        assert result.code == 0, result.text
        assert len(list(folder.glob("multirun/mine/*/summary.json"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("line", commands("gan-check"))
def test_a_checking_command_checks(folder, line):
    result = gan_check(folder, *smaller(line)[0], *CHECK_SHORT)
    assert result.code == 0, result.text


@pytest.mark.slow
def test_the_commands_that_use_a_run_work_on_one(folder):
    kept = ["trainer.keep=all", "trainer.intervals_in=iterations", "trainer.checkpoint_every=2", "trainer.log_every=2"]
    assert gan_run(folder, *SHORT[1:], *kept, "trainer.epochs=1").code == 0
    run = str(only_run(folder).relative_to(folder))

    def here(line):
        """The line for this run, which has kept iteration 2 where the page's has kept 500."""
        return shlex.split(OF_A_RUN.sub(rf"\1={run}", line).replace("=500", "=2"))[1:]

    samples = [line for line in commands("gan-sample") if OF_A_RUN.search(line) and "trust" not in line]
    assert len(samples) >= 4
    by_class = gan_run(folder, "game=conditional", *SHORT, "hydra.run.dir=by_class")
    assert by_class.code == 0, by_class.text
    for line in samples:
        words = here(line) if "classes=" not in line else shlex.split(OF_A_RUN.sub(r"\1=by_class", line))[1:]
        result = gan_sample(folder, *words)
        assert result.code == 0, result.text
    resumed = [line for line in commands("gan-run") if OF_A_RUN.search(line) and line.split()[2:]]
    longer, from_earlier = [line for line in resumed if "logger=" not in line]  # tests/record/test_loggers.py has these
    assert "resume_from" in from_earlier
    shorter = longer.replace("trainer.epochs=200", "trainer.epochs=2")
    assert shorter != longer
    for line in (shorter, from_earlier):
        result = gan_run(folder, *here(line))
        assert result.code == 0, result.text
        assert json.loads((folder / run / "summary.json").read_text())["epochs"] == 2
    assert "Resumed at iteration 2," in result.text


SETTINGS = {  # the rows of the table of docs/settings.md, and what is typed for each
    f"`{' '.join(words) or 'gan-run'}`": words
    for words in (
        [],
        ["experiment=recommended"],
        ["experiment=keras_mlp"],
        ["model=dcgan"],
        ["experiment=recommended", "model=dcgan"],
        ["experiment=keras_dcgan"],
        ["model=resnet"],
        ["experiment=recommended", "model=resnet"],
    )
}


def settings_row(name, config):
    """A row of the table of docs/settings.md: what a run trains with."""
    adam, trainer, model = config.optimizer, config.trainer, config.model
    gamma = config.penalty.get("gamma")
    widths = model.get("widths") or model.generator.get("widths")
    cells = (
        f"{adam.lr:g}",
        ", ".join(f"{beta:g}" for beta in adam.betas),
        trainer.batch_size,
        f"{model.dropout:g}" if "dropout" in model else "none",
        "none" if gamma is None else f"gamma {gamma:g}, every {config.penalty.interval}",
        "none" if trainer.ema is None else f"{trainer.ema:g}",
        ", ".join(map(str, widths)),
    )
    return f"| {name} | {' | '.join(map(str, cells))} |"


def test_the_table_of_settings_has_the_composed_values(compose_config):
    page = re.findall(
        r"^\| `.*$", PAGES["docs/settings.md"].partition("## The settings that matter")[2].partition("\n## ")[0], re.M
    )
    rows = [settings_row(name, compose_config(*words)) for name, words in SETTINGS.items()]
    assert page == rows, "\n".join(["the table should be:", *rows])


@pytest.mark.slow
def test_the_sbatch_file_trains_and_after_its_time_limit_requeues_and_resumes(folder, monkeypatch):
    script = next(block for _, block in BLOCKS["docs/slurm.md"] if block.startswith("#!/bin/bash"))
    (folder / "gan.sbatch").write_text(script)
    programs = {
        "gan-run": 'echo gan-run "$@" >> called; mkdir -p outputs/7/checkpoints; '
        "touch outputs/7/checkpoints/last.pt; exit 138",
        "srun": 'exec "$@"',
        "scontrol": 'echo scontrol "$@" >> called',
    }
    (folder / "bin").mkdir()
    for name, does in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "gan-runner/.venv/bin").mkdir(parents=True)
    (folder / "gan-runner/.venv/bin/activate").touch()
    (folder / "my_idx_files").rename(folder / "data")
    job = {"HOME": str(folder), "SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(folder)}
    environment = os.environ | job | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    for _ in range(2):  # the second as Slurm starts it again
        subprocess.run(["bash", "gan.sbatch"], cwd=folder, env=environment, check=True)
    first, again, second, _ = (folder / "called").read_text().splitlines()
    assert (again, second) == ("scontrol requeue 7", f"gan-run resume={folder}/outputs/7")
    shutil.rmtree(folder / "outputs")
    result = gan_run(folder, *shlex.split(first)[1:], *SHORT)
    assert result.code == 0, result.text
    assert (folder / "outputs/7/summary.json").is_file()


def examples_of_extending():
    """Each example's module, its files by name, and its command."""
    files, module = {}, ""
    for language, block in BLOCKS["docs/extending.md"]:
        name = block.splitlines()[0].removeprefix("# ")
        if language == "bash":
            yield module, files, block.strip()
            files = {}
        elif re.fullmatch(r"[\w/]+\.(py|yaml)", name):
            files[name] = block
            module = name.removesuffix(".py") if language == "python" else module


EXAMPLES = list(examples_of_extending())


def test_there_is_an_example_of_each_kind_of_component():
    assert [module for module, _, _ in EXAMPLES] == [
        *("my_losses", "my_models", "my_metrics", "my_data", "my_schedules", "my_games", "my_symptoms", "my_loggers"),
        "my_operations",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "files", "command"), EXAMPLES, ids=[module for module, _, _ in EXAMPLES])
def test_an_example_of_a_component_trains_unchanged_and_resumes(tmp_path, monkeypatch, module, files, command):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    start = "PYTHONPATH=. gan-run "
    assert command.startswith(start)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        result = gan_run(tmp_path, *shlex.split(command.removeprefix(start)), *SHORT)
        assert result.code == 0, result.text
        run = only_run(tmp_path).relative_to(tmp_path)
        assert "trust=" in gan_run(tmp_path, f"resume={run}", "trainer.iterations=4").text
        result = gan_run(tmp_path, f"resume={run}", f"trust=[{module}]", "trainer.iterations=4")
        assert result.code == 0, result.text
        assert json.loads((tmp_path / run / "summary.json").read_text())["iterations"] == 4
        result = gan_sample(tmp_path, f"run={run}", f"trust=[{module}]", "num=4", "output=four.npz")
        assert result.code == 0, result.text
        assert len(np.load(tmp_path / "four.npz")["arr_0"]) == 4
    finally:
        sys.modules.pop(module, None)


def test_the_commands_that_resume_a_custom_component_are_those_that_are_tested():
    start = "PYTHONPATH=. gan-run --config-dir my_conf "
    assert {line for line in commands("PYTHONPATH=.") if not line.startswith(start)} == {
        "PYTHONPATH=. gan-run resume=DIR trust=my_losses"
    }
    assert [line for line in commands("gan-sample") if "trust" in line] == ["gan-sample run=DIR trust=my_losses"]
    assert {line for line in commands(start) if line in PAGES["docs/extending.md"]} == {line for *_, line in EXAMPLES}


OF_PYTHON = {"train", "sweep", "load", "load_sweep", "GanSampler", "SavedRun", "SavedSweep", "GeneratedImages"}


def test_the_page_on_python_has_every_name_with_the_first_line_of_its_docstring():
    documented = {}
    for name in OF_PYTHON:
        part = getattr(gan_runner, name)
        documented[name] = part
        if name.startswith("Saved"):
            documented |= {f"{name}.{inner}": getattr(part, inner) for inner in vars(part) if inner[0] != "_"}
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", PAGES["docs/python.md"], re.MULTILINE))
    assert rows == {name: inspect.getdoc(part).splitlines()[0] for name, part in documented.items()}


@pytest.mark.slow
def test_the_code_of_the_python_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = "\n".join(block for language, block in BLOCKS["docs/python.md"] if language == "python")
    short = ", ".join(map(repr, [*SHORT, "model.discriminator.widths=[8]", "trainer.ema=null"]))
    blocks = re.sub(r"gr\.(train|sweep)\(", rf"gr.\1({short}, ", blocks)
    blocks = (
        blocks.replace("epochs=60", "iterations=3")
        .replace("num=1000, real=1000", "num=20, real=20")
        .replace("num=1000", "num=40")
    )
    blocks = blocks.replace('"optimizer.lr=1e-4,2e-4", ', "")  # of four jobs two are left
    ran = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(blocks, "docs/python.md", "exec"), ran)
    assert "Did you mean trainer.epochs?" in out.getvalue()
    assert ran["images"].shape == (16, 28, 28, 1)
    assert ran["run"].summary["iterations"] == 3
    assert len(ran["swept"].runs) == 2


def test_the_page_on_extending_names_what_the_package_exports():
    table = re.findall(r"^\| (`\w+`.*?) \|", PAGES["docs/extending.md"].partition("## A loss")[0], re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    assert named == set(gan_runner.__all__) - {"CONFIG_MODULE"} - OF_PYTHON


def test_commands_to_install_test_and_measure_are_those_of_ci():
    ci = (ROOT / ".ci/run").read_text()
    for said in ('pip install -e ".[dev]"', "pytest -n 2"):
        assert any(said in command for command in COMMANDS["README.md"])
        assert said.replace("pip install", "pip install -q") in ci
    assert ci.rstrip().endswith("pytest -n 2")
    for module in {module for text in PAGES.values() for module in re.findall(r"python -m (benchmarks\.\w+)", text)}:
        assert f"python -m {module}" in ci
    for path in {path for command in commands("pytest ") for path in re.findall(r"tests/[\w/.]+", command)}:
        assert (ROOT / path).exists(), path


def test_every_code_block_names_its_language_so_that_no_command_is_missed():
    for page, blocks in BLOCKS.items():
        for language, block in blocks:
            assert language in ("bash", "python", "text", "yaml"), (page, block)
            if language == "text":
                assert not re.search(rf"^{PROGRAMS}", block, re.MULTILINE), (page, block)


def test_every_command_of_the_pages_is_run_by_a_test():
    ours = ("gan-run ", "gan-check ", "gan-sample ", "PYTHONPATH=. gan-run ")
    for tests in READ_BY.values():
        assert (ROOT / tests).is_file()
    starts = (*ours, *ELSEWHERE, *READ_BY)
    assert [command for command in EVERYWHERE if not f"{command} ".startswith(starts)] == []


def _anchors(text):
    """The places on a page that a link may lead to, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_linked_image_page_and_heading_exists(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.is_file(), target
        if anchor:
            assert anchor in _anchors(path.read_text()), target
    for name in re.findall(r"`((?:LICENSE|[\w/.]+/[\w/]+\.(?:md|py|png|yaml)))`", PAGES[page]):
        if name.startswith(("docs/", "tests/", "gan_runner/", "conf/", "LICENSE")):
            assert (ROOT / name).is_file(), name


def test_every_page_is_linked_from_the_readme_directly_or_not():
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)", PAGES[page])
        linked = {os.path.relpath((ROOT / page).parent / link, ROOT) for link in links}
        waiting += linked - reached
    assert reached == set(PAGES)


def test_the_site_has_every_page_in_its_navigation():
    named = re.findall(r": ([\w/]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(set(named))
    assert {f"docs/{name}" for name in named if name.endswith(".md")} == set(PAGES) - {"README.md"}
