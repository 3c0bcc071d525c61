"""A command works whatever its terminal is: closed, broken, or of few letters."""

import subprocess
import sys

import pytest

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
def test_a_run_finishes_without_a_word_of_complaint(tmp_path, console):
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "latin-1" if "hydra" in console else "utf-8"}
    line = f"set -o pipefail; {RUN}{SMALL} {console}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Traceback" not in done.stdout
    (summary,) = tmp_path.rglob("summary.json")
    assert '"status": "finished"' in summary.read_text()
