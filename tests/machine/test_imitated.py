"""The commands as on macOS and as on Windows, imitated: see `imitation/sitecustomize.py` for how far that goes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine.missing import MAC, WINDOWS, missing_on, modules_missing_on

HERE = Path(__file__).parent


@pytest.fixture
def as_on(tmp_path):
    """Runs Python as on another system, and gives what it prints."""

    def run(system, *arguments):
        said = {
            "system": system,
            "missing": {module: sorted(names) for module, names in missing_on(system).items()},
            "modules": sorted(modules_missing_on(system)),
            "folder": str(tmp_path),
        }
        description = tmp_path / "imitated.json"
        description.write_text(json.dumps(said), encoding="utf-8")
        more = {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"} if system == WINDOWS else {}
        kept = {key: value for key, value in os.environ.items() if system != WINDOWS or key not in ("SHELL", "PROMPT")}
        path = os.pathsep.join([str(HERE / "imitation"), str(HERE.parent.parent)])
        environment = kept | more | {"PYTHONPATH": path, "IMITATED": str(description), "PYTHONWARNDEFAULTENCODING": "1"}
        result = subprocess.run(
            [sys.executable, *arguments], capture_output=True, env=environment, cwd=tmp_path, timeout=300, check=False
        )
        assert result.returncode == 0, result.stderr.decode(errors="replace")[-4000:]
        return result.stdout.decode("cp1252")

    return run


SYSTEMS = [MAC, WINDOWS]


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_commands_of_a_first_evening_work(as_on, system, tmp_path):
    as_on(system, "-m", "tests.machine.session", str(tmp_path))
    said = json.loads((tmp_path / "said.json").read_text(encoding="utf-8"))
    assert {name: code for name, (code, _) in said.items()} == dict.fromkeys(said, 0) | {"train, stop": 130}, said
    stopped = said["train, stop"][1]
    assert "Interrupted by SIGINT. To resume: gan-run " in stopped


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_imitated_system_lacks_what_the_real_one_lacks(as_on, system):
    asked = "import os, sys; print(hasattr(os, 'sched_getaffinity'), hasattr(os, 'fork'), os.name, sys.platform)"
    expected = {MAC: "False True posix darwin", WINDOWS: "False False nt win32"}
    assert as_on(system, "-c", asked).strip() == expected[system]


@pytest.mark.parametrize(
    ("doing", "refusal"),
    [
        ("import resource", "ModuleNotFoundError"),
        ("open('a:b', 'w')", "OSError"),
        ("import os; os.mkdir('a.')", "OSError"),
        ("open('nul.txt', 'w')", "OSError"),
        ("import os; open('a', 'w').close(); kept = open('a'); os.replace('a', 'b')", "PermissionError"),
        ("import multiprocessing as m; m.get_context('fork').Process().start()", "OSError"),
        ("from signal import pthread_sigmask", "ImportError"),
    ],
)
def test_files_that_windows_refuses_are_refused(as_on, doing, refusal):
    code = f"try:\n {doing}\nexcept Exception as error: print(type(error).__name__)"
    assert as_on(WINDOWS, "-c", code).strip() == refusal
