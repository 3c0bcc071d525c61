"""A logger that writes a line for what it is told: about a start, by the name of its run."""

from pathlib import Path

from gan_runner import RunLog


class Lines:
    images = False
    writes_outside = True

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def open(self, run):
        return LinesOfRun(self.path, run)

    def view_commands(self, folder, shown):
        return [f"less {self.path}"]


class LinesOfRun(RunLog):
    def __init__(self, path, run):
        self.path, self.run = path, run

    def _write(self, what):
        with self.path.open("a") as file:
            print(f"{self.run.name} after {self.run.last_logged}: {what}", file=file)

    def begin(self, hyperparameters, metrics):
        self._write(f"begins with seed {hyperparameters.values['seed']}")

    def scalars(self, values, iteration):
        self._write(f"iteration {iteration}")

    def end(self, status):
        self._write(status)
