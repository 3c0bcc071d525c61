import pytest

from gan_runner.errors import UserError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.png", "plain name.png"),
        ("Grüße 猫 🐈.png", "Grüße 猫 🐈.png"),
        ("\x1b[2Jred", r"\x1b[2Jred"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("caf\udce9", r"caf\xe9"),  # as Python reads a name in Latin-1
        ("\ud800", r"\ud800"),
        ("\u202egnp.exe", r"\u202egnp.exe"),  # turns the direction of writing
        ("\x9b31m", r"\x9b31m"),
        ("\u2028", r"\u2028"),
    ],
)
def test_a_character_that_is_not_printable_is_shown_as_its_escape(text, shown):
    assert printable(text) == shown
    assert shown.isprintable()


def test_quotes_in_a_user_error_are_printable_except_its_own_line_breaks():
    error = UserError("a\x1b\nb", "See c\udcff.")
    assert str(error) == "a\\x1b\nb\n  See c\\xff."
    assert (error.problem, error.remedy) == ("a\\x1b\nb", "See c\\xff.")
