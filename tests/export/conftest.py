"""One run of a small DCGAN with a moving average, exported by the commands that docs/export.md shows."""

import re
import shlex
from pathlib import Path

import pytest

from gan_runner.commands import main
from tests.command_line import call, gan_run

PAGE = (Path(__file__).parents[2] / "docs/export.md").read_text()
COMMANDS = {
    Path(found[1]).suffix: line
    for line in re.findall(r"^gan-export [^#\n]*", PAGE, re.MULTILINE)
    if (found := re.search(r"output=(\S+)", line))
}
SMALL = (
    *("data.limit=64", "trainer.batch_size=16", "trainer.iterations=2", "trainer.device=cpu", "trainer.precision=fp32"),
    *("evaluation=pixels", "evaluation.num_images=16", "trainer.progress=false", "hydra.run.dir=run"),
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    widths = ("model=dcgan", "model.generator.widths=[12,8,4,4]", "model.discriminator.widths=[4,6]")
    result = gan_run(folder, *SMALL, *widths, "trainer.ema=0.9")
    assert result.code == 0, result.text
    return folder


@pytest.fixture(scope="session")
def export(folder):
    def called(*words, within=folder):
        return call(main.export, within, *words, "device=cpu")

    return called


@pytest.fixture(scope="session")
def exported_as(folder, export):
    """Exports by the page's command whose output has an ending, once; gives what was written."""
    written = {}

    def exported(ending):
        if ending not in written:
            _, *words = shlex.split(COMMANDS[ending].replace("outputs/DATE/TIME", "run"))
            result = export(*words)
            assert result.code == 0, result.text
            assert result.out.startswith(next(word for word in words if "output=" in word).partition("=")[2])
            written[ending] = folder / re.search(r"output=(\S+)", COMMANDS[ending])[1]
        return written[ending]

    return exported


@pytest.fixture(scope="session")
def exported(exported_as):
    return exported_as("")


@pytest.fixture(scope="session")
def exported_d(folder, export):
    result = export("run=run", "what=discriminator")
    assert result.code == 0, result.text
    return folder / "run/discriminator-best"
