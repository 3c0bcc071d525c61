"""A command works whatever its terminal is: closed, broken, with few letters, or 80 columns wide."""

import re
import subprocess
import sys

import pytest

from gan_runner.commands import main
from tests.command_line import call, gan_run, only_run

RUN = f"{sys.executable} -c 'from gan_runner.commands.main import run; run()' experiment=smoke trainer.iterations=4"
SMALL = " data.limit=64 trainer.batch_size=16 evaluation.num_images=16 model.generator.widths=[16]"
CONSOLES = {
    "a reader who leaves": "| head -3",
    "no standard output": ">&-",
    "no standard error": "2>&-",
    "no stream at all": "<&- >&- 2>&-",
    "a console in Latin-1": "'hydra.run.dir=\"żółw\"'",
}


@pytest.mark.parametrize("console", CONSOLES.values(), ids=CONSOLES)
def test_a_run_finishes_without_error_messages(tmp_path, console):
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "latin-1" if "hydra" in console else "utf-8"}
    line = f"set -o pipefail; {RUN}{SMALL} {console}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Traceback" not in done.stdout
    (summary,) = tmp_path.rglob("summary.json")
    assert '"status": "finished"' in summary.read_text()


WIDE = re.compile(r"gan-\w+ |tensorboard |\S*/\S*$|\[HYDRA\]")  # a command, a path at its end, or Hydra's overrides


COMMANDS = ("run", "check", "sample", "evaluate", "export", "translate", "augment", "detect", "compare")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_help_is_wider_than_80_columns(tmp_path, command):
    result = call(getattr(main, command), tmp_path, "--help")
    assert result.code == 0
    assert [line for line in result.out.splitlines() if len(line) > 80] == []


def test_no_line_in_a_pipe_is_wider_than_80_columns_unless_it_has_a_command_or_a_path(tmp_path):
    small = ["data.limit=64", "trainer.iterations=4", "model.generator.widths=[16]", "evaluation.num_images=16"]
    run = gan_run(tmp_path, *small)
    folder = only_run(tmp_path).relative_to(tmp_path)
    evaluated = call(main.evaluate, tmp_path, f"run={folder}", "num=32", "real=32")
    swept = gan_run(tmp_path, "-m", *small, "optimizer.lr=1e-4,2e-4", "evaluation=pixels")
    for result in (run, evaluated, swept):
        assert (result.code, result.err) == (0, ""), result.text
        assert [line for line in result.out.splitlines() if len(line) > 80 and not WIDE.search(line)] == []
    assert "Short run: " in run.out
    assert "Better images after " in run.out
