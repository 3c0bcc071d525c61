"""What data sets say of their files: printed once where a command loads the same data several times."""

import logging

import pytest

from gan_runner.data.image_set import within_limit
from gan_runner.data.notes import once, silently

ALL_ARE_USED = "data.limit is 20, but there are 10 images: all are used."


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG, logger="gan_runner")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_line_is_repeated_only_where_a_log_file_records_what_is_not_printed(logged):
    within_limit(10, 20)
    with once():
        within_limit(10, 20)
        within_limit(10, 20)
        within_limit(10, 30)
    within_limit(10, 20)
    levels = [level for level, line in logged() if line == ALL_ARE_USED]
    assert levels == ["WARNING", "WARNING", "DEBUG", "WARNING"]
    assert len(logged()) == 5


def test_nothing_is_said_silently(logged):
    with once(), silently():
        within_limit(10, 20)
    assert logged() == []
