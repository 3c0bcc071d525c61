"""A run whose data take minutes to load is stopped by one signal, soon and without a trace of trouble."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.command_line import QUICK, gan_run

COMMAND = [sys.executable, "-c", "from gan_runner.commands.main import run; run()"]


@pytest.fixture(scope="module")
def slow_pictures(tmp_path_factory):
    """A folder of 2,000 names of one picture, which together take more than a minute to decode."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "whole.png", compress_level=1)
    for number in range(2000):
        (folder / "pictures" / f"{number:04}.png").symlink_to(folder / "whole.png")
    return folder / "pictures"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_one_signal_stops_the_loading_of_data(tmp_path, slow_pictures, number, code):
    data = ["data=image_folder", f"data.root={slow_pictures}", "hydra.run.dir=here", "trainer.device=cpu"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, *data], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            while len(list((tmp_path / "here").glob("**/config.yaml"))) == 0:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.01)
            time.sleep(1)  # into the loading, wherever that is by now
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, err) == (code, "")
    assert out.splitlines()[-1] == f"Interrupted by {number.name} before the training began."
    assert json.loads((tmp_path / "here/summary.json").read_text())["status"] == "interrupted"


def test_one_signal_to_a_parallel_sweep_stops_the_loading_of_its_jobs(tmp_path, slow_pictures):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    data = ["data=image_folder", f"data.root={slow_pictures}", "trainer.device=cpu"]
    sweep = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=here", "seed=1,2", *data]
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, *sweep], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            while len(list((tmp_path / "here").glob("*/.hydra/config.yaml"))) < 2:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.01)
            time.sleep(1)
            process.send_signal(signal.SIGTERM)  # to the process that was started, not to those of its jobs
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 143, err
    assert "Traceback" not in out + err
    assert out.count("Interrupted by SIGTERM before the training began.") == 2


def test_an_interrupt_stops_a_users_program_that_loads_data(slow_pictures):
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's & has it ignored
        "from gan_runner.data import image_folder; print('begins', flush=True); "
        "image_folder.load(sys.argv[1], 64, 3, None)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program, slow_pictures], stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            process.stdout.readline()
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"


STUMBLES = '''"""A data set whose loading is interrupted, and which stumbles on its way out, as libraries do."""

import os
import signal

from gan_runner.data import digits


def load(image_size: int, limit: int):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        return digits.load(image_size, limit)
    finally:
        {}["nothing"]
'''


def test_a_signal_is_reported_as_one_even_if_a_library_converts_its_exception(tmp_path, monkeypatch):
    (tmp_path / "stumbling.py").write_text(STUMBLES)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = gan_run(tmp_path, *QUICK, "data._target_=stumbling.load", "hydra.run.dir=here")
    assert (result.code, result.err) == (143, "")
    assert result.out.splitlines()[-1] == "Interrupted by SIGTERM before the training began."
    assert json.loads((tmp_path / "here/summary.json").read_text())["status"] == "interrupted"


def test_an_interrupt_is_reported_as_one_before_a_run_begins_too(tmp_path, monkeypatch):
    def composing(*_, **__):
        try:
            raise KeyboardInterrupt
        finally:
            {}["nothing"]

    monkeypatch.setattr("hydra.main", composing)
    result = gan_run(tmp_path)
    assert (result.code, result.text) == (130, "")
