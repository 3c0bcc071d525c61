"""The page is used as a person would: with clicks and keys, in a browser, from the disk."""

import csv
from importlib import resources

import numpy as np
import pytest

from gan_runner.record.pictures import grid, png_bytes
from gan_runner.report.report import Report
from gan_runner.report.thumbnails import Thumbnails
from tests.report.made_up import ALARM, make_run, make_sweep

pytest.importorskip("selenium")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import errors, started

BROKEN = "</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with started(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Six rows of two seeds, a failed run beside, and a run of other images."""
    folder = make_sweep(tmp_path_factory.mktemp("sweeps") / "sweep")
    make_run(folder / BROKEN.replace("/", "_"), seed=3, status="failed", told={"error": BROKEN, "alarms": [ALARM]})
    make_run(folder / "other", told={"data": {"name": "mnist", "fingerprint": "f" * 16, "count": 60_000}})
    Report.of_sweep(folder).write(folder, Thumbnails(cells=4, times=4, grids=1000, kilobytes=100))
    return folder


@pytest.fixture
def page(browser, sweep):
    browser.get(f"file://{sweep}/compare.html")
    yield Page(browser)
    assert errors(browser) == []


class Page:
    def __init__(self, browser):
        self.browser = browser

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector):
        element = self.one(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def column(self, number):
        """What the rows of groups show in a column, the boxes at the start being column 1."""
        return [cell.text for cell in self.all(f"tr.group td:nth-child({number})")]

    def until(self, true):
        WebDriverWait(self.browser, 10).until(lambda _: true())


def test_a_click_on_a_column_sorts_by_it_and_another_reverses_it(page):
    assert page.one("tr.leads").get_attribute("data-group") == "0"
    page.click("[data-sort='key:optimizer.lr']")
    assert page.column(2) == sorted(page.column(2), key=float)
    page.click("[data-sort='key:optimizer.lr']")
    assert page.column(2) == sorted(page.column(2), key=float, reverse=True)
    sorted_by = page.one("th[aria-sort]")
    assert (sorted_by.text.split()[0], sorted_by.get_attribute("aria-sort")) == ("optimizer.lr", "descending")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)  # the keyboard does what clicks do
    assert page.one("th[aria-sort]").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize(
    ("typed", "rows"),
    [
        ("dropout=0.3", 4),
        ("dropout=0.3 lr>=4e-4", 2),
        ("failed", 1),
        ("best<0.138", 2),
        ("coin_toss seed=3", 1),
        ("no such", 0),
    ],
)
def test_the_filter_keeps_rows_that_contain_all_words(page, typed, rows):
    before = len(page.all(".row, .point"))
    page.one("#filter").send_keys(typed)
    page.until(lambda: len(page.all("tr.group")) == rows)
    assert len(page.all(".point")) < before
    shown = len(page.all("#matrix .shot"))
    assert shown == sum(int(text.split()[-1]) for text in page.column(4))


def test_a_row_opens_into_its_runs_and_untrusted_text_stays_text(page):
    page.one("#filter").send_keys("failed")
    page.until(lambda: len(page.all("tr.group")) == 1)
    page.click("tr.group .open")
    assert [row.text.split()[1] for row in page.all("tr.run")] == ["3"]
    assert BROKEN in page.one("tr.run").text
    assert page.browser.title.endswith("/sweep")
    page.click(".alarm-text summary")
    assert ALARM["message"] in page.one(".alarm-text").text
    page.click("tr.group .open")
    assert page.all("tr.run") == []


def test_one_slider_moves_all_grids_through_time(page):
    pictures = "return [...document.querySelectorAll('.image')].map((box) => getComputedStyle(box).backgroundPositionY)"
    assert page.one("#time-words").text == "iteration 60"
    last = page.browser.execute_script(pictures)
    assert len(last) == 13
    slider = page.one("#time")
    slider.send_keys(Keys.HOME)
    assert page.one("#time-words").text == "iteration 15"
    assert set(page.browser.execute_script(pictures)) == {"0px"}
    slider.send_keys(Keys.ARROW_RIGHT)
    assert page.one("#time-words").text == "iteration 30"
    page.click("#play")
    page.until(lambda: page.one("#time-words").text == "iteration 60")
    assert page.browser.execute_script(pictures) == last
    sizes = page.browser.execute_script(
        "const image = new Image();"
        "image.src = getComputedStyle(document.querySelector('.image')).backgroundImage.slice(5, -2);"
        "return image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    )
    assert sizes == [4 * 9 - 1, 4 * (4 * 9 - 1)]


def test_class_names_are_beside_the_rows_of_a_grid(browser, tmp_path):
    names = ["cat", BROKEN, "dog", "a", "b", "c"]
    for seed in (1, 2):
        folder = make_run(tmp_path / f"sweep/{seed}", seed=seed)
        for file in (folder / "samples").glob("iteration_*.png"):
            images = np.random.default_rng(seed).integers(0, 256, (36, 8, 8, 1), np.uint8)
            file.write_bytes(png_bytes(grid(images, 6, names if seed == 1 else ())))
    Report.of_sweep(tmp_path / "sweep").write(tmp_path / "sweep", Thumbnails(4, 4, 1000, 100))
    browser.get(f"file://{tmp_path}/sweep/compare.html")
    page = Page(browser)
    page.until(lambda: page.all(".image"))
    (beside,) = page.all(".names")
    shown = [name.get_attribute("title") for name in beside.find_elements(By.TAG_NAME, "span")]
    assert (shown[0], shown[2:]) == ("cat", ["dog", "a"]), "those of the rows that are shown"
    box, tops = page.one(".named .image").rect, [name.rect["y"] for name in beside.find_elements(By.TAG_NAME, "span")]
    for row, top in enumerate(tops):
        assert 0 <= top - box["y"] - row * box["height"] / 4 <= box["height"] / 4, "beside its row"
    assert errors(browser) == []


def test_grids_are_a_matrix_of_two_keys_or_a_list(page):
    assert (len(page.all(".matrix tbody tr")), len(page.all(".matrix thead th"))) == (2, 4)  # dropouts, rates
    Select(page.one("#image-rows")).select_by_value("")
    assert len(page.all(".matrix tbody tr")) == 1
    Select(page.one("#image-columns")).select_by_value("")
    assert page.all(".matrix") == []
    Select(page.one("#image-seed")).select_by_value("2")
    assert [caption.text.split()[3] for caption in page.all(".shot figcaption")] == ["2"] * 6


def test_a_command_is_copied(page):
    page.click("tr.group .copy")
    page.until(lambda: page.one("tr.group .copy").text == "Copied")
    field = page.one("#filter")
    field.send_keys(Keys.CONTROL, "v")
    assert field.get_attribute("value") == "gan-run -m optimizer.lr=0.0004 model.dropout=0.1 seed=1,2"


def test_what_mattered_has_a_chart_for_every_key_and_any_metric(page):
    titles = [title.text for title in page.all("#matters figcaption strong")]
    assert titles == ["optimizer.lr", "model.dropout", "Two keys together"]
    assert "of the variance" in page.one("#matters figcaption").text
    best = page.one(".heat td.leads").text
    Select(page.one("#measure")).select_by_value("speed")
    assert page.one(".heat td.leads").text != best
    assert len(page.all(".heat tbody tr")) == 2
    Select(page.one("#heat-rows")).select_by_value("optimizer.lr")
    assert len(page.all(".heat tbody tr")) == 4
    assert page.one("#heat-columns").get_attribute("value") == "model.dropout"


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_a_cell_with_failed_runs_is_never_the_best_of_the_heat_map(browser, tmp_path, status):
    sweep = make_sweep(tmp_path / "sweep")
    compared = Report.of_sweep(sweep).sets[0]
    best = dict(zip(compared.keys, map(float, compared.groups[0].values), strict=True))
    nothing = {"best": None, "objective": None, "metrics": {}, "error": "out of range"}
    settings = {"lr": best["optimizer.lr"], "dropout": best["model.dropout"]}
    make_run(sweep / "lost", **settings, seed=9, status=status, points=0, pictures=0, told=nothing)
    Report.of_sweep(sweep).write(sweep, Thumbnails(cells=4, times=4, grids=1000, kilobytes=100))
    browser.get(f"file://{sweep}/compare.html")
    page = Page(browser)
    leads, survivors = page.one(".heat td.leads"), page.one(".heat td.survivors")
    assert float(leads.text) > float(survivors.text)  # lower would be better
    assert "in italics" in page.all("#matters figcaption")[-1].text


def test_a_value_without_finished_runs_does_not_stretch_its_axis(browser, tmp_path):
    sweep = make_sweep(tmp_path / "sweep")
    nothing = {"best": None, "objective": None, "metrics": {}, "error": "out of range"}
    make_run(sweep / "bad", dropout=30.0, status="failed", points=0, pictures=0, told=nothing)
    Report.of_sweep(sweep).write(sweep, Thumbnails(cells=4, times=4, grids=1000, kilobytes=100))
    browser.get(f"file://{sweep}/compare.html")
    cards = {card.text.split()[0]: card for card in Page(browser).all("#matters figure")}
    ticks = [tick.text for tick in cards["model.dropout"].find_elements(By.CSS_SELECTOR, "text.tick")]
    assert "0.3" in ticks
    assert "30" not in ticks
    assert "log scale" not in cards["model.dropout"].text


def test_a_key_accounts_for_the_adjusted_share_of_the_variance_between_its_values(page, sweep):
    rows = csv.DictReader((sweep / "summary.csv").read_text().splitlines())
    runs = [(row["optimizer.lr"], float(row["best"])) for row in rows if row["set"] == "1"]
    values = np.array([value for _, value in runs])
    within = sum(np.var(group) * len(group) for group in ([v for k, v in runs if k == key] for key in dict(runs)))
    share = 1 - (within / (len(runs) - len(dict(runs)))) / np.var(values, ddof=1)
    assert f"accounts for {100 * share:.0f}% of the variance" in page.one("#matters figcaption").text


NOISE = """
const key = {values: [], numbers: []};
for (let at = 0; at < VALUES; at++) { key.values.push(String(at)); key.numbers.push(at); }
let [seed, half, said] = [1, 0, 0];
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
for (let draw = 0; draw < 1000; draw++) {
  const found = [];
  for (let run = 0; run < RUNS; run++)
    found.push({group: {values: [String(run % VALUES)]}, y: random() + random() + random()});
  const effect = effectOf(found, key, 0);
  if (effect.size >= 0) said++;
  if (effect.size >= 0.5) half++;
}
return [half / 1000, said / 1000]
"""


@pytest.mark.parametrize(("runs", "values"), [(3, 2), (4, 2), (5, 3), (4, 4), (5, 5), (6, 2), (8, 8), (12, 3)])
def test_noise_hardly_ever_explains_half_of_the_variance(page, runs, values):
    scripts = resources.files("gan_runner.report") / "page"
    source = "".join((scripts / name).read_text(encoding="utf-8") for name in ("basics.js", "charts.js"))
    half, said = page.browser.execute_script(source + NOISE.replace("VALUES", str(values)).replace("RUNS", str(runs)))
    assert half < 0.1
    assert said == (runs >= 6)


def test_ticked_rows_have_curves_with_bands_and_alarms(page):
    assert [title.text for title in page.all("#curve-cards strong")] == [
        "D's loss",
        "G's loss",
        "D's accuracy",
        "metric/distance",
    ]
    drawn = len(page.all("#curve-cards .line"))
    assert drawn == 4 * 6
    assert len(page.all("#curve-cards .band")) == 4 * 6
    assert len(page.all("#curve-cards .alarm-mark")) == 0
    page.click("tr.group:nth-last-child(1) .draw")  # the row of a single run, which failed with an alarm
    drawn += 4
    assert len(page.all("#curve-cards .band")) == 4 * 6
    assert len(page.all("#curve-cards .alarm-mark")) == 4
    page.click("tr.group .draw")
    assert len(page.all("#curve-cards .line")) == drawn - 4
    page.click("#legend .chip")
    assert len(page.all("#curve-cards .line")) == drawn - 8


def test_runs_that_cannot_be_compared_are_in_separate_tabs(page):
    assert "2 sets that cannot be compared" in page.one("#sets").text
    assert [tab.get_attribute("aria-pressed") for tab in page.all(".tabs button")] == ["true", "false"]
    page.click(".tabs button:last-child")
    assert len(page.all("tr.group")) == 1
    assert "mnist (60,000 images" in page.one("#overview").text


def test_a_click_switches_between_light_and_dark(page):
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = page.browser.execute_script(ground)
    page.click("#theme")
    assert page.browser.execute_script(ground) != before
    page.click("#theme")
    assert page.browser.execute_script(ground) == before
