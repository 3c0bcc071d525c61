"""Graphs compute what the network computes, for batches of any size, and hold nothing of the machine they come from."""

import io
import re
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gan_runner import UserError
from gan_runner.export import load_exported
from gan_runner.export.graphs import CLOSE, write_onnx, write_program
from tests.batch_mates import hold_apart

PLACES = re.compile(rb"/gan_runner/|site-packages|/pytest-")
G = SimpleNamespace(what="generator", packing=1, takes_class=False, source_shape=None)


class Branching(nn.Module):
    """A network whose steps depend on the values that it is given."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 4)

    def forward(self, z):
        return self.layer(z) if z.sum() > 0 else -self.layer(z)


def test_an_onnx_file_draws_an_image_the_same_in_any_batch(exported_as, exported):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    content = exported_as(".onnx").read_bytes()
    assert not PLACES.search(content)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    net = load_exported(exported).net
    latents = torch.randn(9, 100)
    (together,) = session.run(["image"], {"latent": latents.numpy()})
    np.testing.assert_allclose(together, net(latents).numpy(), atol=CLOSE)
    hold_apart(lambda batch: torch.from_numpy(session.run(["image"], {"latent": batch.numpy()})[0]), latents)


def test_a_pytorch_program_draws_an_image_the_same_in_any_batch(exported_as, exported_d):
    with zipfile.ZipFile(exported_as(".pt2")) as archive:
        assert not any(PLACES.search(archive.read(name)) for name in archive.namelist())
    program = torch.export.load(exported_as(".pt2")).module()
    images = torch.rand(5, 1, 28, 28) * 2 - 1
    together = program(images)
    torch.testing.assert_close(together, load_exported(exported_d).net(images), atol=1e-6, rtol=0)
    hold_apart(program, images)


@pytest.mark.parametrize(("write", "ending"), [(write_onnx, "onnx"), (write_program, "pt2")])
def test_a_network_that_cannot_be_a_graph_gives_one_message_and_writes_nothing(tmp_path, write, ending):
    if ending == "onnx":
        pytest.importorskip("onnxscript")
    with pytest.raises(UserError, match=f"no .{ending} can be made of .*Branching") as refused:
        write(tmp_path / f"x.{ending}", Branching().eval(), [5], G)
    assert len(str(refused.value).splitlines()) == 2
    assert list(tmp_path.iterdir()) == []


def test_packages_that_onnx_needs_are_named_with_how_to_install_them(tmp_path, monkeypatch):
    monkeypatch.setattr("gan_runner.export.graphs._NEEDED", ("torch", "no_such_package", "nor_this"))
    with pytest.raises(UserError, match=r"not installed: no_such_package, nor_this\.[^$]*pip install"):
        write_onnx(tmp_path / "x.onnx", nn.Linear(5, 4), [5], G)


def test_packed_images_are_judged_together(tmp_path):
    from gan_runner.models.packing import Packed

    d = Packed(nn.Sequential(nn.Flatten(), nn.Linear(2 * 9, 1), nn.Flatten(0)), 2).eval()
    write_program(
        tmp_path / "d.pt2",
        d,
        (1, 3, 3),
        SimpleNamespace(what="discriminator", packing=2, takes_class=False, source_shape=None),
    )
    program = torch.export.load(io.BytesIO((tmp_path / "d.pt2").read_bytes())).module()
    images = torch.randn(6, 1, 3, 3)
    torch.testing.assert_close(program(images), d(images))


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("gan_runner.export.graphs.CLOSE", -1.0)
    with pytest.raises(UserError, match="differ by"):
        write_program(tmp_path / "x.pt2", nn.Linear(5, 4).eval(), [5], G)
    assert list(tmp_path.iterdir()) == []
