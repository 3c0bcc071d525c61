"""Python begins with this where its folder is on PYTHONPATH, and becomes one of macOS or of Windows, as far as it can.

IMITATED names a JSON file with `system` ("darwin" or "win32"), `missing` (names by module), `modules` (that are missing
altogether) and `folder` (below which the tests write).

As on macOS: what is missing is gone, for libraries too; processes are spawned, and nothing is read of /proc. As on
Windows, which libraries tell by names that are built in: what is missing is missing for gan_runner alone; nobody forks;
no file gets a name that Windows refuses, a path of more than 260 characters, or another name while it is open; whoever
opens a text file without its encoding fails. Left as they are: separators of paths, drives, and how files are locked.
"""

import builtins
import errno
import importlib
import json
import os
import platform
import re
import sys
import types
import warnings

OURS = {"gan_runner", "tests", "__main__"}
_UNTIL_THE_TESTS_FOLDER = 60  # characters, as of C:\\Users\\student\\Documents\\gans


def _package_of(names):
    """The package whose code this is; what a library starts as a program is the library's."""
    return (names.get("__package__") or names.get("__name__") or "").partition(".")[0]


def _caller(depth=2):
    return _package_of(sys._getframe(depth).f_globals)


class _WithoutMissing(types.ModuleType):
    def __getattribute__(self, name):
        said = IMITATED_VALUES.get((types.ModuleType.__getattribute__(self, "__name__"), name))
        if said is not None and _caller() in OURS:
            if said is MISSING:
                raise AttributeError(f"as on {SYSTEM}, there is no {name}")
            return said
        return types.ModuleType.__getattribute__(self, name)


def _import_as_there(name, globals=None, locals=None, fromlist=(), level=0):
    if name in GONE and _package_of(globals or {}) in OURS:
        raise ModuleNotFoundError(f"as on {SYSTEM}, there is no {name}", name=name)
    return _real_import(name, globals, locals, fromlist, level)


def _asked_by_us():
    """Whether gan_runner asks for what follows by itself, and not a library that knows the system."""
    frame = sys._getframe(2)
    while frame is not None:
        name = _package_of(frame.f_globals)
        if name in OURS or name in ("psutil", "torch"):
            return name in OURS
        frame = frame.f_back
    return False


def _stat_as_there(path, *args, **kwargs):
    if str(path).startswith(("/proc", "/sys/")) and _asked_by_us():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return _real_stat(path, *args, **kwargs)


def _refuse_as_there(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc", "/sys/")) and _asked_by_us():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])
    if SYSTEM != "win32":
        return
    if event == "os.fork":
        raise OSError(errno.ENOSYS, "as on Windows, there is no fork")
    if event == "os.symlink":
        raise OSError(errno.EPERM, "as on Windows, links take a privilege")
    written = (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
    )
    if written or event == "os.mkdir":
        _refuse_name(arguments[0])
    if event in ("os.rename", "os.link"):
        _refuse_name(arguments[1])
    if event in ("os.rename", "os.remove"):
        _refuse_open(arguments[0])
    if event == "os.rename":
        _refuse_open(arguments[1])


def _below_folder(path):
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    path = os.path.abspath(os.fsdecode(path))
    return path if path.startswith(FOLDER + "/") else None


def _refuse_name(path):
    if (path := _below_folder(path)) is None:
        return
    below = path[len(FOLDER) + 1 :]
    if len(below) + _UNTIL_THE_TESTS_FOLDER > 260:
        raise FileNotFoundError(errno.ENOENT, "as on Windows, the path is too long", path)
    for name in below.split("/"):
        reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
        if reserved or re.search(r'[<>:"\\|?*]|[. ]$', name):
            raise OSError(errno.EINVAL, "as on Windows, that is no name of a file", path)


def _refuse_open(path):
    if (path := _below_folder(path)) is None or os.path.isdir(path):
        return
    for number in os.listdir("/proc/self/fd"):
        try:
            open_one = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if open_one == os.path.realpath(path):
            raise PermissionError(errno.EACCES, "as on Windows, the file is in use", path)


MISSING = object()
with open(os.environ["IMITATED"], encoding="utf-8") as _file:
    _said = json.load(_file)
SYSTEM, GONE, FOLDER = _said["system"], set(_said["modules"]), os.path.realpath(_said["folder"])
IMITATED_VALUES = {("sys", "platform"): SYSTEM, ("os", "name"): "nt" if SYSTEM == "win32" else "posix"}
_changed = {"os", "sys"}
for _module, _names in _said["missing"].items():
    if _module in GONE or _module == "errno":
        continue
    if SYSTEM == "darwin":
        _imported = importlib.import_module(_module)
        for _name in _names:
            if hasattr(_imported, _name):
                delattr(_imported, _name)
    else:
        _changed.add(_module)
        IMITATED_VALUES |= {(_module, _name): MISSING for _name in _names}
for _module in _changed:
    importlib.import_module(_module).__class__ = _WithoutMissing
_real_import, builtins.__import__ = builtins.__import__, _import_as_there
_real_stat, os.stat = os.stat, _stat_as_there
platform.libc_ver = lambda *args, **kwargs: ("", "")
warnings.filterwarnings("error", category=EncodingWarning, module=r"gan_runner(\.|$)")
if SYSTEM == "darwin":
    import multiprocessing

    multiprocessing.set_start_method("spawn")
sys.addaudithook(_refuse_as_there)
