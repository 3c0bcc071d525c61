"""The notebook in docs/, executed by a kernel as in a browser, and the stop button."""

import base64
import io
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "docs/first_evening.ipynb"
# What packages of the kernel's own warn of is not looked at here.
pytestmark = pytest.mark.filterwarnings("ignore")


def outputs(cell, kind):
    return [output["data"][kind] for output in cell.outputs if kind in output.get("data", {})]


def test_the_notebook_runs_in_an_empty_folder_and_shows_images_tables_and_a_message(tmp_path):
    shutil.copy(NOTEBOOK, tmp_path)
    notebook = nbformat.read(tmp_path / NOTEBOOK.name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (grid,) = [png for cell in notebook.cells if cell.cell_type == "code" for png in outputs(cell, "image/png")]
    assert Image.open(io.BytesIO(base64.b64decode(grid))).size == (350, 350)  # 6 x 6 cells of 56 pixels, and gaps of 2
    said = json.dumps([cell.get("outputs") for cell in notebook.cells])
    for expected in ("frechet_cnn_400", "There is no key optimizer.lrr here.", "('finished', 45)", "<table", "True"):
        assert expected in said
    assert len(list(tmp_path.glob("multirun/*/*/*/checkpoints"))) == 2


def test_the_stop_button_saves_and_returns_the_run(tmp_path):
    notebook = nbformat.v4.new_notebook()
    often = "'trainer.checkpoint_every=2', 'trainer.iterations=100000'"
    notebook.cells = [
        nbformat.v4.new_code_cell(
            "import os, pathlib, gan_runner as gr\npathlib.Path('pid').write_text(str(os.getpid()))"
        ),
        nbformat.v4.new_code_cell(f"run = gr.train('experiment=smoke', {often})\nrun.status"),
        nbformat.v4.new_code_cell("run.resume(iterations=run.summary['iterations'] + 1, quiet=True).status"),
    ]

    def press():
        until = time.monotonic() + 60
        while time.monotonic() < until and not list(tmp_path.glob("outputs/*/*/checkpoints/last.pt")):
            time.sleep(0.05)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGINT)  # as the button does

    threading.Thread(target=press, daemon=True).start()
    NotebookClient(notebook, timeout=90, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert outputs(notebook.cells[1], "text/plain") == ["'interrupted'"]
    assert outputs(notebook.cells[2], "text/plain") == ["'finished'"]
