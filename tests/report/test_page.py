"""The page holds what was measured, as data that nothing of it can break out of."""

import json
import re

import numpy as np
import pytest

from gan_runner.report.page import MARK, as_page
from gan_runner.report.report import Report
from gan_runner.report.runs import Curve
from gan_runner.report.thumbnails import Thumbnails
from tests.report.made_up import ALARM, make_run, make_sweep

THUMBNAILS = Thumbnails(cells=3, times=3, grids=100, kilobytes=100)
HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>&\"'\u2028"


def page_of(folder) -> str:
    report = Report.of_sweep(folder)
    return as_page(report.title, "today", report.sets, report.all_problems, THUMBNAILS)


def data_of(page: str):
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(content)


def test_the_page_contains_every_run_with_its_numbers_and_grids(tmp_path):
    (one,) = data_of(page_of(make_sweep(tmp_path, told={"alarms": [ALARM]})))["sets"]
    assert [key["name"] for key in one["keys"]] == ["optimizer.lr", "model.dropout"]
    assert one["keys"][0] == {
        "name": "optimizer.lr",
        "values": ["0.0001", "0.0004", "0.002"],
        "numbers": [1e-4, 4e-4, 2e-3],
    }
    assert len(one["runs"]) == 12
    assert [one["runs"][at]["group"] for group in one["groups"] for at in group["runs"]] == sorted([*range(6)] * 2)
    assert one["groups"][0]["command"] == "gan-run -m optimizer.lr=0.0004 model.dropout=0.1 seed=1,2"
    assert one["groups"][0]["alarms"] == {"coin_toss": 2}
    assert one["times"] == [15, 45, 60]
    assert {run["strip"]["width"] for run in one["runs"]} == {26}
    assert list(one["curves"]) == ["loss/d", "loss/g", "accuracy/d", "metric/distance", "metric/diversity"]


def test_untrusted_text_stays_within_the_data(tmp_path):
    make_run(tmp_path / "<b>bold", status=HOSTILE, overrides=(f"+model.x={HOSTILE}",), told={"error": HOSTILE})
    make_run(tmp_path / "other", told={"data": {"name": HOSTILE, "fingerprint": "f", "count": 1}})
    page = page_of(tmp_path)
    before, after = page.split('<script type="application/json" id="data">')
    assert "<" not in after.partition("</script>")[0]
    assert "onerror" not in before
    assert "onerror" not in after.partition("</script>")[2]
    assert any(HOSTILE[:40] in run["error"] for one in data_of(page)["sets"] for run in one["runs"])


def test_the_title_is_escaped(tmp_path):
    make_run(tmp_path / "<i>&/a", pictures=0)
    page = page_of(tmp_path / "<i>&")
    assert "/&lt;i&gt;&amp;</title>" in page


def test_the_page_refers_to_no_other_file_and_allows_none(tmp_path):
    page = page_of(make_sweep(tmp_path, pictures=1))
    assert MARK in page[:1000]
    assert "default-src &#x27;none&#x27;" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert not re.findall(r"@import|url\((?!\"data:)", page)
    addresses = set(re.findall(r"https?://[^\"'\s]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_text_that_cannot_be_encoded_does_not_stop_the_page(tmp_path):
    folder = make_run(tmp_path / "a", pictures=1)
    summary = (folder / "summary.json").read_text()
    (folder / "summary.json").write_text(summary.replace('"error": null', '"error": "\\ud800"'))
    page_of(tmp_path).encode()


def test_a_group_without_curves_grids_or_numbers_is_shown_too(tmp_path):
    (tmp_path / "a/.hydra").mkdir(parents=True)
    data = data_of(page_of(tmp_path))
    (one,) = data["sets"]
    assert one["runs"][0]["strip"] is one["runs"][0]["best"] is None
    assert data["problems"] == ["a: summary.json is missing: the run ended before training, or is just starting."]


def test_a_band_shows_the_mean_and_the_range_of_its_runs(tmp_path):
    from gan_runner.report.page import _band

    curves = [Curve(np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0])), Curve(np.array([1, 3]), np.array([3.0, 7.0]))]
    assert _band(curves) == {"x": [1, 2, 3], "mean": [2.0, 2.0, 5.0], "low": [1.0, 2.0, 3.0], "high": [3.0, 2.0, 7.0]}
    assert _band([]) is None


def test_a_long_band_is_thinned_run_by_run(tmp_path):
    from gan_runner.report.page import _band

    iterations = np.arange(1, 301)
    band = _band([Curve(iterations, iterations.astype(float)), Curve(iterations, 2.0 * iterations)])
    assert len(band["x"]) == 150
    assert (band["x"][0], band["x"][-1]) == (2, 300)
    assert (band["low"][0], band["mean"][0], band["high"][0]) == (1.5, 2.25, 3.0)


@pytest.mark.parametrize("dropouts", [(0.1,), (0.1, 0.3)])
def test_keys_that_do_not_differ_are_not_columns(tmp_path, dropouts):
    (one,) = data_of(page_of(make_sweep(tmp_path, lrs=(1e-4,), dropouts=dropouts, pictures=1)))["sets"]
    assert [key["name"] for key in one["keys"]] == ["model.dropout"] * (len(dropouts) > 1)
