"""What becomes of signals: ignored ones stay ignored, and one that comes early ends the process."""

import contextlib
import signal
import subprocess
import sys
import textwrap

import pytest

from gan_runner.machine.signals import STOPPING

START = "import signal, sys, time\nfrom gan_runner.machine.signals import *\n"


@contextlib.contextmanager
def program(code, ignoring=(), env=None):
    """Run code in a process that ignores some signals from its start, up to where it has said that it is ready."""

    def ignore():
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN if number in ignoring else signal.SIG_DFL)

    command = [sys.executable, "-c", START + textwrap.dedent(code)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, preexec_fn=ignore, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


WAYS = {
    "handled": "with handled(STOPPING, lambda number, frame: sys.exit(7)):",
    "held back in new processes": """
        with (
            handled(STOPPING, lambda number, frame: sys.exit(7)), held_back_in_new_processes(STOPPING)
        ):""",
    "at once": "end_at_once()\nwith unwinding():",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_signal_that_is_ignored_at_the_start_stays_ignored_and_others_are_handled(way):
    wait = (
        "print('ready', flush=True); time.sleep(0.4); print('alive', flush=True); [time.sleep(0.1) for _ in range(300)]"
    )
    with program(f"{textwrap.dedent(WAYS[way])}\n    {wait}", ignoring=[signal.SIGHUP, signal.SIGINT]) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "alive\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == (143 if way == "at once" else 7)


@pytest.mark.parametrize("number", [each for each in STOPPING if each is not signal.SIGINT], ids=lambda each: each.name)
def test_a_signal_ends_a_program_that_is_still_loading(number):
    with program("end_at_once(); print('ready', flush=True); time.sleep(30)") as process:
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert process.stderr.read() == ""


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SystemExit")])
def test_once_loaded_a_signal_is_raised_so_that_the_program_can_clean_up(number, said):
    code = """
        end_at_once()
        with unwinding():
            try:
                print("ready", flush=True)
                time.sleep(30)
            except BaseException as error:
                print(type(error).__name__, flush=True)
                raise
    """
    with program(code) as process:
        process.send_signal(number)
        assert process.stdout.read() == f"{said}\n"
        assert process.wait(10) in (128 + number, -number)  # Python's own end of an interrupt


def test_if_a_library_swallows_the_exception_the_process_ends_nevertheless():
    code = """
        from gan_runner.machine import signals
        signals._SECONDS_TO_UNWIND = 0.2
        end_at_once()
        with unwinding():
            print("ready", flush=True)
            while True:
                try:
                    time.sleep(30)
                except BaseException:
                    pass
    """
    with program(code) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
