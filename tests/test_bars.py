"""What is printed on a terminal: folded to its width, above the bars, and by a table where a sweep has one."""

import contextlib
import io
import json
import re
import time
from pathlib import Path

import pytest
import yaml

from gan_runner import bars
from gan_runner.record.sweep_folder import Job, Sweep, SweepFolder
from gan_runner.report.job_table import JobTable, short_keys, table
from tests.command_line import QUICK as SMALL
from tests.command_line import gan_run

WIDTH = 80
CONF = Path(__file__).parent.parent / "conf"
PROSE = "optimizer.lr is 0.5, but must be between 0 and 0.1: Adam at that rate leaves D with NaN within some iteratio."


class Terminal(io.StringIO):
    """Keeps what is printed, and says that it is a terminal."""

    def isatty(self):
        return True


def screen(printed):
    """The lines that a terminal shows after what was printed, and all that have left its top; colours left out."""
    lines, row, column = [""], 0, 0
    for text, up in re.findall(r"([^\x1b]+)|\x1b\[(A|[\d;]*m)", printed):
        row -= up == "A"
        for character in text:
            if character == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif character == "\r":
                column = 0
            else:
                lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
                column += 1
    return [line.rstrip() for line in lines]


@pytest.fixture
def terminal(monkeypatch):
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, "80" if name == "COLUMNS" else "24")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


@pytest.mark.parametrize(
    "line", [PROSE, f"  {PROSE}", f"  disk                   {PROSE}", f"Short.\n{PROSE}\n  {PROSE}"]
)
def test_text_is_folded_between_words_and_loses_none(line):
    folded = bars.folded(line, WIDTH)
    assert max(map(len, folded.splitlines())) <= WIDTH
    assert folded.split() == line.split()


def test_a_row_of_a_table_stays_in_its_column():
    first, *others = bars.folded(f"  what it takes  {PROSE}", WIDTH).splitlines()
    assert others
    assert all(line.startswith(" " * first.index("optimizer")) for line in others)


@pytest.mark.parametrize("label", ["", "Next: ", "      ", "  Again, alone: "])
def test_a_command_is_not_folded_for_it_is_to_be_copied(label):
    command = f"{label}gan-run resume=outputs/2026-11-30/15-40-00 {'trainer.epochs=140 ' * 4}"
    assert bars.folded(command, WIDTH) == command


def test_output_that_is_not_a_terminal_gets_unfolded_lines(capsys):
    bars.say(PROSE)
    assert capsys.readouterr().out == f"{PROSE}\n"


@pytest.mark.parametrize("config", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_command_prints_above_bars_and_its_help_fits_a_terminal(config):
    hydra = yaml.safe_load(config.read_text(encoding="utf-8"))
    page = hydra["hydra"]["help"]
    lines = page["template"].replace("${hydra.help.header}", page["header"]).splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    assert {"override hydra/job_logging": "stdout"} not in hydra["defaults"]


def a_sweep(count, running=()):
    keys = ["optimizer.d.lr", "model.dropout"]
    jobs = [
        Job(f"job {number}", [f"optimizer.d.lr={number}e-4", "model.dropout=0.1"], number=number, start="now")
        for number in range(count)
    ]
    for number in running:
        jobs[number].state = "running"
    return Sweep(jobs, swept=keys, start="now", total=count)


@pytest.mark.parametrize("width", [20, 79, 200])
@pytest.mark.parametrize("count", [0, 1, 4, 500])
def test_the_table_of_a_sweep_fits_the_terminal(width, count):
    sweep = a_sweep(count, running=[count // 2] if count else ())
    standing = {"where": "epoch 10/70", "accuracy": 0.75, "best": 9.84, "left": "2 h 5 min"}
    lines = table(sweep, {f"job {count // 2}": standing}, width, 10)
    assert len(lines) == min(count, 10) + 2
    assert max(map(len, lines)) <= width
    if width >= 79 and count:
        (row,) = [line for line in lines if " running " in line and "Sweep" not in line]
        assert row.split("  ")[-1] == "2 h 5 min"
        assert re.search(r"epoch 10/70 +75% +9\.84 +2 h 5 min", row)


def test_columns_have_the_shortest_names_that_tell_them_apart():
    assert short_keys(["optimizer.d.lr", "optimizer.g.lr", "model.dropout", "seed"]) == [
        "d.lr",
        "g.lr",
        "dropout",
        "seed",
    ]
    assert short_keys(["lr", "optimizer.lr"]) == ["lr", "optimizer.lr"]


def test_a_table_stays_in_place_below_what_is_printed(terminal, tmp_path):
    folder = SweepFolder(tmp_path)
    folder.take()
    sweep = a_sweep(3)
    folder.begin(sweep)
    for job in sweep.jobs:
        job.start = sweep.start
    folder.write(sweep)
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        shown = JobTable(folder)
        bars.say("above")
        folder.job_started(1, "", 0)
        folder.note_standing(1, {"where": "epoch 1/2", "left": "3 s"})
        deadline = time.monotonic() + 60
        while "1 running." not in terminal.getvalue().rpartition("epoch 1/2")[2] and time.monotonic() < deadline:
            time.sleep(0.05)  # until the last line below that row is there
        before = terminal.getvalue()
        shown.close()
        bars.say("below")
    above, header, *rows = screen(before)
    assert above == "above"
    assert header.split() == ["lr", "dropout", "state", "progress", "D", "accuracy", "best", "time", "left"]
    assert [row.split()[2] for row in rows[:3]] == ["waiting", "running", "waiting"]
    assert rows[3] == "Sweep: 0 of 3 done, 1 running."
    folder.release()
    assert [line for line in screen(terminal.getvalue()) if line] == ["above", "below"]


@pytest.mark.slow
def test_on_a_terminal_a_sweep_shows_its_table_and_no_line_of_its_jobs(terminal, tmp_path):
    result = gan_run(
        tmp_path,
        "-m",
        "penalty=none",
        "evaluation=pixels",
        *SMALL,
        "hydra.sweep.dir=here",
        "seed=1,2",
        terminal=terminal,
    )
    assert result.code == 0
    printed = terminal.getvalue()
    assert re.search(r"seed +state +progress +D accuracy +best +time left", printed)
    left = screen(printed)
    assert not [
        line for line in left if line.startswith(("Run folder", "Data:", "epoch", "seed=1:")) or "HYDRA" in line
    ]
    assert "Sweep: 2 of 2 done." in left
    for name in ("seed=1", "seed=2"):
        assert "Run folder" in (tmp_path / "here" / name / "gan-run.log").read_text(encoding="utf-8")
        assert json.loads((tmp_path / "here" / name / "summary.json").read_text())["status"] == "finished"
