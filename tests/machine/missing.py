"""What of Python's standard library other systems lack, by the conditions in typeshed's stubs, which mypy brings."""

import ast
import functools
import importlib.util
import sys
import types
from pathlib import Path

# Where code of ours could come across a difference. Others, such as msilib, nothing here would import.
MODULES = [
    "errno",
    "fcntl",
    "grp",
    "mmap",
    "os",
    "pty",
    "pwd",
    "resource",
    "select",
    "signal",
    "termios",
    "time",
    "tty",
]
MAC, WINDOWS = "darwin", "win32"


@functools.cache
def _stubs() -> Path:
    (package,) = importlib.util.find_spec("mypy").submodule_search_locations
    return Path(package) / "typeshed/stdlib"


def _holds(condition, platform):
    system = types.SimpleNamespace(platform=platform, version_info=sys.version_info)
    return eval(compile(ast.Expression(condition), "stub", "eval"), {"sys": system})


def _names(statements, platform):
    for statement in statements:
        match statement:
            case ast.If():
                chosen = statement.body if _holds(statement.test, platform) else statement.orelse
                yield from _names(chosen, platform)
            case ast.FunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name


@functools.cache
def missing_on(platform: str) -> dict[str, frozenset[str]]:
    """Names by module that Linux has and another system lacks."""
    return {name: frozenset(set(_names_of(name, "linux")) - set(_names_of(name, platform))) for name in MODULES}


@functools.cache
def modules_missing_on(platform: str) -> set[str]:
    """Modules that have no name left on another system, for it lacks them."""
    return {name for name in MODULES if not _names_of(name, platform)}


@functools.cache
def _names_of(module, platform):
    path = _stubs() / f"{module}.pyi"
    text = (path if path.exists() else path.with_suffix("") / "__init__.pyi").read_text(encoding="utf-8")
    return list(_names(ast.parse(text).body, platform))
