"""Run Python's commands in this process, one after the other: what takes a second or four to import is imported once.

python .ci/in_one_process.py <<END
python -m benchmarks.step --rounds 1
gan-compare runs=outputs
END

A program that is not `python` is a script beside this interpreter. The first that fails ends it all.
"""

import os
import runpy
import shlex
import sys
import time
from pathlib import Path


def run(words: list[str]) -> None:
    """Run a command as a shell would.

    Raises:
        SystemExit: with the code of a command that failed.
    """
    program, *arguments = words
    environment = dict(os.environ)
    try:
        if program == "python":
            assert arguments[0] == "-m", words
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            script = Path(sys.executable).with_name(program)
            sys.argv = [str(script), *arguments]
            runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        os.environ.clear()
        os.environ.update(environment)


if __name__ == "__main__":
    sys.path[0] = ""  # as python -m has it
    for line in filter(str.strip, sys.stdin.read().splitlines()):
        print("$", line, flush=True)
        began = time.monotonic()
        run(shlex.split(line))
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
