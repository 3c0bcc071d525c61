"""summary.csv has a row a run; the terminal's table a row a group."""

import csv
import io

from gan_runner.report.comparison import Statistics, comparable_sets
from gan_runner.report.runs import runs_of_sweep
from gan_runner.report.tables import FIRST_COLUMNS, as_csv, as_text, in_words
from tests.report.made_up import ALARM, make_run, make_sweep


def sets_of(folder):
    return comparable_sets(runs_of_sweep(folder)[0])


def test_the_csv_file_has_a_row_for_each_run_with_its_keys_and_metrics(tmp_path):
    content = as_csv(sets_of(make_sweep(tmp_path, pictures=1, told={"alarms": [ALARM, ALARM]})))
    assert content.startswith(FIRST_COLUMNS)
    rows = list(csv.DictReader(io.StringIO(content)))
    assert len(rows) == 12
    row = next(row for row in rows if row["name"] == "model.dropout=0.1,optimizer.lr=0.0004,seed=2")
    assert (row["set"], row["status"], row["seed"], row["goal"]) == ("1", "finished", "2", "lower")
    assert (float(row["optimizer.lr"]), float(row["model.dropout"])) == (4e-4, 0.1)
    assert row["best"] == row["last"] == row["metric/distance"]
    assert (row["alarms"], row["error"]) == ("coin_toss", "")
    assert row["command"] == "gan-run optimizer.lr=0.0004 model.dropout=0.1 seed=2"


def test_numbers_keep_all_digits_and_unknown_values_are_empty(tmp_path):
    make_run(tmp_path / "a", pictures=1, told={"seconds": 0.1 + 0.2, "images_per_second": None, "data": None})
    (row,) = csv.DictReader(io.StringIO(as_csv(sets_of(tmp_path))))
    assert float(row["seconds"]) == 0.1 + 0.2
    assert row["data"] == row["data_count"] == ""


def test_a_spreadsheet_that_splits_cells_at_semicolons_computes_nothing_either(tmp_path):
    make_run(tmp_path / "a", pictures=1, told={"error": 'a;=1+1; "@SUM(1);b;-2'})
    make_run(tmp_path / "b", pictures=1, told={"error": "\uff1d1+1"})
    rows = list(csv.DictReader(io.StringIO(as_csv(sets_of(tmp_path)))))
    assert {row["error"] for row in rows} == {"a;'=1+1;' \"@SUM(1);b;'-2", "'\uff1d1+1"}


def test_a_cell_that_a_spreadsheet_would_compute_is_text(tmp_path):
    make_run(tmp_path / "=1+1", pictures=1, told={"error": '=HYPERLINK("x")', "best": {"value": -1.5, "iteration": 3}})
    (row,) = csv.DictReader(io.StringIO(as_csv(sets_of(tmp_path))))
    assert (row["name"], row["error"], row["best"]) == ("'=1+1", '\'=HYPERLINK("x")', "-1.5")


def test_the_terminals_table_has_a_row_for_each_group_with_the_best_first(tmp_path):
    make_sweep(tmp_path, pictures=1, lrs=(4e-4,), dropouts=(0.1,), told={"alarms": [ALARM]})
    make_sweep(tmp_path, pictures=1, lrs=(1e-4, 2e-3, 1e-2))
    header, first, *others = as_text(sets_of(tmp_path)[0], most_rows=4, width=200).splitlines()
    assert header.split() == ["optimizer.lr", "model.dropout", "runs", "best", "last", "status", "images/s", "alarms"]
    assert first.split()[:3] == ["0.0004", "0.1", "2"]
    assert first.endswith("coin_toss")
    assert others[-1] == "... and 3 more"


def test_the_terminals_table_is_no_wider_than_the_terminal(tmp_path):
    make_run(tmp_path / "a", pictures=1, told={"status": "x" * 100})
    assert {len(line) <= 40 for line in as_text(sets_of(tmp_path)[0], 10, width=40).splitlines()} == {True}


def test_a_mean_has_as_many_digits_as_its_spread_supports():
    words = [
        in_words(Statistics(*values, 3))
        for values in (
            (0.12345, 0.0123),
            (1234.5, 67.8),
            (159.9, 130.4),
            (12623.0, 388.0),
            (-12.0, 4321.0),
            (5.0, 0.0),
            (0.5, None),
            (1e9, 2e7),
        )
    ]
    assert words == [
        "0.123 ± 0.012",
        "1234 ± 68",
        "160 ± 130",
        "12620 ± 390",
        "0 ± 4300",
        "5 ± 0",
        "0.5",
        "1e+09 ± 2e+07",
    ]
    assert in_words(Statistics(None, None, 0)) == ""
