"""Lines to paste, as each shell reads them."""

import os
import re
import shlex
import subprocess

import pytest

from gan_runner.machine import shell

WORDS = ["gan-run", "resume=outputs/2026-11-30/12-00-00", "a=1,2", "a b", "it's", "$HOME", "100%", "", "a&b|c>d", "{x}"]
WORDS += ['say "a"', "a\\b\\"]


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.delenv("SHELL", raising=False)
    monkeypatch.delenv("PROMPT", raising=False)


def test_bash_and_zsh_parse_a_quoted_line_as_its_arguments():
    line = shell.command_line(WORDS)
    assert shlex.split(line) == WORDS
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split("\n")[:-1] == WORDS


def test_git_bash_on_windows_quotes_like_bash(windows, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/bash")
    assert shlex.split(shell.command_line(WORDS)) == WORDS


def as_powershell_reads(line):
    """What PowerShell hands to a program, as about_Quoting_Rules and about_Parsing say."""
    word = r"""'(?P<single>(?:[^']|'')*)'|"(?P<double>[^"`$]*)"|(?P<bare>[^\s'"`$,;(){}|&<>@#]+)"""
    while line:
        match = re.match(rf"(?:{word})(?:\s|$)", line)
        assert match, line
        line = line[match.end() :]
        if match["single"] is not None:
            yield match["single"].replace("''", "'")
        else:
            yield match["bare"] if match["double"] is None else re.sub(r"(\\+)$", lambda m: m[1][::2], match["double"])


@pytest.mark.usefixtures("windows")
def test_powershell_parses_a_quoted_line_as_its_arguments():
    assert list(as_powershell_reads(shell.command_line(WORDS))) == WORDS
    assert shell.quoted("it\u2019s $5") == "'it\u2019\u2019s $5'"


@pytest.mark.usefixtures("windows")
def test_cmd_gives_a_program_what_it_parses_to_the_arguments(monkeypatch):
    monkeypatch.setenv("PROMPT", "$P$G")
    assert shell.quoted('say "a"') == r'"say \"a\""'
    assert shell.quoted("$HOME") == '"$HOME"'
    assert shell.quoted("a b\\") == '"a b\\\\"'
    assert shell.quoted("resume=outputs\\2026-11-30\\12-00-00") == "resume=outputs\\2026-11-30\\12-00-00"
