"""The cost of the page that compares runs: time to write it, its size, and time to open it in Chromium.

    python -m benchmarks.pages --runs 30 300

Creates artificial runs with 12 grids of noise of 28x28 pixels each, and compares them as `gan-compare` does.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from gan_runner.record.pictures import grid
from gan_runner.report.report import Report
from gan_runner.report.thumbnails import Thumbnails
from tests.report.made_up import make_run

TIMES, SEEDS, DROPOUTS = 12, 5, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def make_up(folder: Path, count: int) -> None:
    """Leave so many runs of a grid of learning rates, dropouts and seeds."""
    random = np.random.default_rng(0)
    for number in range(count):
        seed, dropout = number % SEEDS, DROPOUTS[number // SEEDS % len(DROPOUTS)]
        lr = 1e-4 * 2 ** (number // (SEEDS * len(DROPOUTS)))
        run = make_run(folder / str(number), lr=lr, dropout=dropout, seed=seed, points=60, pictures=TIMES)
        for file in (run / "samples").glob("*.png"):
            grid(random.integers(0, 256, (36, 28, 28, 1), dtype=np.uint8), 6).save(file)


def seconds_to_open(page: Path) -> float:
    """Until Chromium has loaded the page and answers."""
    from selenium import webdriver
    from selenium.webdriver.common.by import By

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--window-size=1400,1000"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        began = time.perf_counter()
        browser.get(page.absolute().as_uri())
        browser.find_element(By.CSS_SELECTOR, "tbody tr")
        return time.perf_counter() - began
    finally:
        browser.quit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[30, 300])
    pictures = OmegaConf.load(Path(__file__).parent.parent / "conf/compare.yaml").pictures
    for count in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_up(folder, count)
            began, processor = time.perf_counter(), time.process_time()
            _, page = Report.of_sweep(folder).write(folder, Thumbnails(**pictures))
            wall, busy = time.perf_counter() - began, time.process_time() - processor
            opened = (
                f"{seconds_to_open(page):.1f} s to open" if shutil.which("chromedriver") else "no Chromium to open it"
            )
            size = page.stat().st_size / 1e6
            print(
                f"{count} runs: {wall:.1f} s to write ({busy:.1f} s of processor), {size:.1f} MB, {opened}", flush=True
            )


if __name__ == "__main__":
    main()
