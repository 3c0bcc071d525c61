"""What people bring: each folder of the table loads, or ends in one message; and either says what lies there."""

import logging

import pytest
import torch

from gan_runner.data import image_folder
from gan_runner.data.folder_findings import MOST_LINES
from gan_runner.data.splits import NoTestSplitError
from gan_runner.errors import UserError
from tests.data.odd_folders import FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
def test_a_real_world_folder_is_read_and_described(tmp_path, caplog, name):
    caplog.set_level(logging.INFO)
    folder = FOLDERS[name]
    folder.make(tmp_path)
    if not folder.images:
        with pytest.raises(UserError) as error:
            image_folder.load(str(tmp_path), 8, folder.channels, None)
        said = str(error.value)
    else:
        images = image_folder.load(str(tmp_path), 8, folder.channels, None)
        said = "\n".join(caplog.messages)
        assert (len(images), images.classes) == (folder.images, folder.classes), said
        assert images.labels is None or torch.bincount(images.labels).min() > 0
        assert images.pixels(torch.arange(len(images))).float().std() > 10 or "brighter" in said
        assert_held_out(tmp_path, folder, images)
    for words in folder.says:
        assert words in said
    assert len(caplog.messages) <= MOST_LINES
    assert all(line.isprintable() for line in said.split("\n"))


def assert_held_out(root, folder, training):
    if folder.held_out is None:
        with pytest.raises(NoTestSplitError):
            image_folder.load(str(root), 8, folder.channels, None, "test")
        return
    held_out = image_folder.load(str(root), 8, folder.channels, None, "test")
    assert len(held_out) == folder.held_out
    assert held_out.classes in ((), training.classes)


def test_there_are_at_least_sixty_folders():
    assert len(FOLDERS) >= 60
