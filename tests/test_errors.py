"""The error that came first is the one that goes through."""

import contextlib

import pytest

from gan_runner.errors import FirstError, UserError


@contextlib.contextmanager
def closing_that_fails():
    try:
        yield
    finally:
        raise OSError("the record cannot be closed")


def test_the_first_error_is_raised_whatever_fails_while_files_are_closed():
    cause = OSError(28, "No space left on device")

    def work():
        with FirstError() as first, closing_that_fails():
            try:
                with first.noted():
                    raise UserError("samples cannot be written.", "Make room.") from cause
            except UserError:
                raise ValueError("the failure cannot be written") from None

    with pytest.raises(UserError, match="samples") as raised:
        work()
    assert raised.value.__cause__ is cause
    assert raised.value.__context__ is None


def test_an_error_of_closing_alone_is_raised():
    with pytest.raises(OSError, match="cannot be closed"), FirstError() as first, closing_that_fails(), first.noted():
        pass


def test_an_interrupt_is_not_delayed_by_an_error():
    def interrupted():
        with FirstError() as first, contextlib.ExitStack() as stack:
            stack.callback(exit_)
            with first.noted():
                raise ValueError("first")

    def exit_():
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        interrupted()
