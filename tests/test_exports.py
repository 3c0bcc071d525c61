"""The names that a user's file imports are the package's own, and cost nothing until they are asked for."""

import subprocess
import sys
import typing

import gan_runner


def test_every_exported_name_can_be_imported():
    for name in gan_runner.__all__:
        assert getattr(gan_runner, name) is not None


def test_type_checkers_see_the_same_names():
    with open(gan_runner.__file__) as file:
        told = {line.rpartition(" as ")[2].strip() for line in file if line.startswith("    from gan_runner")}
    assert told == set(gan_runner.__all__) - {"CONFIG_MODULE"}
    assert not typing.TYPE_CHECKING


def test_the_package_itself_loads_no_pytorch():
    code = "import sys, gan_runner, gan_runner.commands.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
