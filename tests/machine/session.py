"""What a user does in an evening, in one process: check, train, stop, go on, sample, judge, sweep, compare."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from gan_runner.commands import main
from tests.command_line import QUICK, call


def press_ctrl_c_once_saved(folder: Path) -> None:
    """As a terminal does, once the run has a checkpoint, so that what follows can go on with it."""
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(folder.glob("outputs/*/*/checkpoints/last.pt")):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def session(folder: Path) -> dict[str, object]:
    """Give exit codes and the end of what was said, by command."""
    said: dict[str, object] = {}

    def does(name, command, *arguments):
        result = call(command, folder, *arguments)
        said[name] = [result.code, result.text[-3000:]]
        print(name, *said[name], sep="\n", file=sys.stderr)

    does("check", main.check, *QUICK)
    threading.Thread(target=press_ctrl_c_once_saved, args=(folder,), daemon=True).start()
    does(
        "train, stop",
        main.run,
        *QUICK,
        "trainer.iterations=100000",
        "trainer.log_every=2",
        "trainer.checkpoint_every=2",
    )
    (run,) = (path.relative_to(folder).as_posix() for path in folder.glob("outputs/*/*"))
    reached = json.loads((folder / run / "summary.json").read_text(encoding="utf-8"))["iterations"]
    does("go on", main.run, f"resume={run}", f"trainer.iterations={reached + 2}")
    does("sample", main.sample, f"run={run}", "num=4", "output=grid.png")
    does("eval", main.evaluate, f"run={run}")
    swept = ["trainer.iterations=2", "model.dropout=0.1,0.2"]
    does("sweep", main.run, "-m", *QUICK, *swept, "hydra.sweep.dir=multirun/one")
    at_once = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=multirun/two"]
    does("sweep of two at once", main.run, "-m", *QUICK, *swept, *at_once)
    does("compare", main.compare, "sweep=multirun/two")
    return said


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        found = session(Path.cwd())
    Path("said.json").write_text(json.dumps(found), encoding="utf-8")  # jobs' processes print, too
