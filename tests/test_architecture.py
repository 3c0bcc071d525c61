"""Who may import whom, read off the source."""

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gan_runner
from tests.machine.missing import MAC, WINDOWS, missing_on, modules_missing_on

PACKAGE = Path(gan_runner.__file__).parent
CORE = [
    "training",
    "games",
    "objectives",
    "optim",
    "models",
    "data",
    "metrics",
    "health",
    "record",
    "report",
    "worth",
    "detection",
]
NOT_IN_THE_CORE = ("hydra", "omegaconf", "gan_runner.commands", "gan_runner.config")
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_of(path):
    """Every module that a file imports anywhere in it, by its full name; `from a import b` may mean a.b too."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name, unlike the rest"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def below(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def modules_of(*packages):
    return [path for path in MODULES if below(name_of(path), [f"gan_runner.{package}" for package in packages])]


@pytest.mark.parametrize("package", CORE)
def test_the_core_imports_neither_configs_nor_commands(package):
    modules = modules_of(package)
    assert modules
    for path in modules:
        assert not [name for name in imports_of(path) if below(name, NOT_IN_THE_CORE)], path


def test_code_that_builds_components_and_loads_exported_ones_imports_neither_hydra_nor_configs():
    """But for a part of the user's own that asks to be handed OmegaConf's containers."""
    for path in modules_of("building", "export"):
        allowed = {"omegaconf", "omegaconf.OmegaConf"} if path.stem == "making" else set()
        assert not [name for name in imports_of(path) - allowed if below(name, NOT_IN_THE_CORE)], path


def test_every_package_is_listed_here():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages - {"conf"} == {*CORE, "building", "commands", "config", "export", "machine", "runs"}


@pytest.mark.parametrize("path", modules_of("commands"), ids=lambda path: path.stem)
def test_no_command_imports_another(path):
    """But for those that start them all, and what makes the start of a run of Hydra's job at hand."""
    shared = {"gan_runner.commands", "gan_runner.commands.starting"}
    others = {name_of(other) for other in modules_of("commands")} - shared - {name_of(path)}
    if path.stem in ("start", "main"):
        return
    assert not imports_of(path) & others


def test_configs_and_runs_import_no_command():
    for path in modules_of("config", "runs"):
        assert not [name for name in imports_of(path) if below(name, ["gan_runner.commands"])], path


def test_configs_import_no_run():
    for path in modules_of("config"):
        assert not [name for name in imports_of(path) if below(name, ["gan_runner.runs"])], path


def test_runs_do_not_read_hydras_global_state():
    """A run is also started by Python, from any thread, beside a program that may be one of Hydra's itself."""
    for path in modules_of("runs"):
        assert not [name for name in imports_of(path) if below(name, ["hydra.core.hydra_config", "hydra.main"])], path


def test_every_import_is_a_declared_dependency():
    """Not of one that is there only because another one, or an extra for developers, brings it along."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    optional = {
        "gan_runner.data.huggingface": extras["huggingface"],
        "gan_runner.metrics.inception": extras["inception"],
        "gan_runner.export.graphs": extras["export"],
        "gan_runner.runs.tables": extras["notebook"],
        "gan_runner.record.mlflow": extras["mlflow"],
        "gan_runner.record.wandb": extras["wandb"],
        "gan_runner.runs.oversampling": extras["imbalanced"],
    }
    brought_by = importlib.metadata.packages_distributions()
    for path in MODULES:
        requirements = [*project["dependencies"], *optional.get(name_of(path), [])]
        declared = {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}
        for name in {name.partition(".")[0] for name in imports_of(path)} - sys.stdlib_module_names - {"gan_runner"}:
            distributions = {found.lower().replace("_", "-") for found in brought_by.get(name, [name])}
            assert distributions & declared, f"{path} imports {name}"


LEAVES = {
    "objectives": {"objectives"},
    "optim": {"optim"},
    "models": {"models"},
    "data": {"data"},
    "games": {"games", "data", "objectives"},
    "metrics": {"metrics", "data", "record.pictures"},
    "health": {"health", "games"},
    "record": {"record"},
    "worth": {"worth", "data", "metrics", "record.pictures"},
    "detection": {"detection", "data", "metrics"},
}


@pytest.mark.parametrize("package", LEAVES)
def test_a_package_of_the_core_imports_only_those_below_it(package):
    """But for what all may import."""
    shared = (
        "arithmetic",
        "bars",
        "contracts",
        "errors",
        "files",
        "machine",
        "override",
        "ranges",
        "seeds",
        "tags",
        "trees",
    )
    allowed = [f"gan_runner.{name}" for name in (*LEAVES[package], *shared)]
    for path in modules_of(package):
        own = {name for name in imports_of(path) if name.startswith("gan_runner.")}
        assert not [name for name in own if not below(name, allowed)], path


@pytest.mark.slow
def test_importing_the_core_loads_no_hydra():
    check = (
        "import sys\n"
        "for module in ('gan_runner.games', 'gan_runner.training.sampler', 'gan_runner.training.loop'):\n"
        "    __import__(module)\n"
        "    others = {name.partition('.')[0] for name in sys.modules} & {'hydra', 'omegaconf', 'tensorboard'}\n"
        "    assert not others, (module, others)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_hydra_instantiates_nothing_of_a_config_from_others():
    """Its `instantiate` imports and calls whatever a node names; ours looks names up in a table."""
    assert not [path for path in MODULES if "hydra.utils" in imports_of(path)]
    assert [path.name for path in MODULES if "gan_runner.building.parts.part_named" in imports_of(path)] == [
        "making.py"
    ]


# Names by which code asks which system this is, or that only one system understands.
TELLING_SYSTEMS_APART = {
    "os": {"name", "uname", "link", "symlink"},
    "sys": {"platform", "getwindowsversion"},
    "platform": {"system", "uname", "platform", "libc_ver", "release", "mac_ver", "win32_ver", "processor", "machine"},
}
MODULES_OF_ONE_SYSTEM = {"ctypes", "msvcrt", "psutil", "shlex", "winreg", "multiprocessing.resource_tracker"}


def what_differs(path):
    """What a file mentions of what not all systems have: modules, names of modules, and folders of the kernel."""
    modules = MODULES_OF_ONE_SYSTEM | modules_missing_on(MAC) | modules_missing_on(WINDOWS)
    names = {module: set(missing_on(MAC)[module] | missing_on(WINDOWS)[module]) for module in missing_on(MAC)}
    for module, more in TELLING_SYSTEMS_APART.items():
        names.setdefault(module, set()).update(more)
    yield from imports_of(path) & (modules | {f"{module}.{name}" for module in names for name in names[module]})
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                pass
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[ast.Name(id=module), ast.Constant(name), *_]):
                pass
            case ast.Constant(value=str(text)) if re.match(r"/(proc|sys|dev)\b", text):
                yield text
                continue
            case _:
                continue
        if name in names.get(module, ()):
            yield f"{module}.{name}"


def test_only_one_package_depends_on_the_operating_system():
    found = {name_of(path): set(what_differs(path)) for path in MODULES if path.parent.name != "machine"}
    assert not {name: what for name, what in found.items() if what}


# Calls that open, make, replace or remove what has a name, and decoders that take a name where a file is meant.
BY_NAME = {
    *("open", "io.open", "os.open", "os.replace", "os.rename", "os.remove", "os.unlink", "os.link", "os.symlink"),
    *("os.truncate", "os.mkfifo", "np.load", "np.save", "np.savez", "np.fromfile", "np.memmap", "np.loadtxt"),
    *("torch.load", "torch.save", "torch.from_file", "Image.open", "gzip.open", "tarfile.open", "zipfile.ZipFile"),
    *("shutil.copyfile", "shutil.copy", "shutil.copy2", "shutil.move", "shutil.rmtree", "shutil.copytree"),
    *("OmegaConf.load", "OmegaConf.save", "logging.FileHandler", "SummaryWriter", "EventFileWriter", "FileLock"),
}
METHODS = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "rename", "touch", "rmdir"),
    *("symlink_to", "hardlink_to", "iterdir", "glob", "rglob"),
}
MAY = {
    # What the package itself ships, and what the system says of itself.
    "config.explaining": {"folder.iterdir", "file.read_text"},
    "commands.sweep": {"OmegaConf.load"},
    "config.overrides": {"OmegaConf.load"},  # a file of the user's own below --config-dir
    "config.experiments": {"Path().iterdir"},  # names in the folder that a command is typed in, for a message
    "runs.resuming": {"OmegaConf.load"},
    "runs.in_python": {"folder.rmdir"},
    "building.parts": {"resources.files(CONFIG_MODULE).iterdir", "group.iterdir", "file.read_text"},
    "export.page": {"resources.files(__package__).joinpath('page', name).read_text"},
    "report.page": {"resources.files(__package__).joinpath('page', name).read_text"},
    "data.digits": {"resources.files('gan_runner.data').joinpath('digits.npz').open", "np.load"},
    "data.emoji": {"resources.files('gan_runner.data').joinpath(FILE).open", "Image.open"},
    "metrics.features": {"found.open", "np.load"},
    "data.resources": {"membership.read_text", "limit.read_text", "path.read_text"}
    | {"(group / 'memory.current').read_text"},
    "record.summary": {"cpuinfo.read_text"},
    "commands.console": {"os.open", "open"},
    "commands.main": {"open"},
    # A set of images: a user's own folder, in which links are followed and files are read by `data.locations.opened`.
    "data.decoding": {"Image.open"},
    "data.huggingface": {"folder.glob", "shutil.rmtree"},
    "data.idx": {"gzip.open", "folder.glob"},
    "data.locations": {"shutil.copytree", "shutil.rmtree", "folder.rmdir"},
    "data.tables": {"zipfile.ZipFile", "archive.open", "np.loadtxt"},  # of files that `data.locations` has opened
    # The cache: a user's own folder, with a digest over each file.
    "metrics.cache": {"path.read_bytes", "torch.load", "torch.save", "os.link", "os.unlink"},
    # Decoders of files that `files` has opened, and locks, which are opened without following links.
    "metrics.samples": {"zipfile.ZipFile", "archive.open", "folder.iterdir"},
    "worth.generated": {"np.savez", "np.load"},
    "detection.changes": {"Image.open"},  # of what it has written into memory
    "record.checkpoint_files": {"zipfile.ZipFile", "torch.load", "torch.save"},
    "record.pictures": {"Image.open", "np.savez", "path.iterdir"},
    "record.run_lock": {"FileLock"},
    "record.sweep_folder": {"FileLock"},
    "record.run_folder": {"self.path.iterdir", "self.path.rmdir", "self.path.parent.rmdir"},
    # Folders are looked over by `record.links` before TensorBoard opens a new file in them.
    "record.loggers": {"logger.open"},
    "record.tensorboard": {"SummaryWriter", "EventFileWriter", "path.rename", "folder.glob"},
    "report.runs": {"folder.iterdir", "Path('multirun').glob"},
}


def opens_by_name(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call in BY_NAME or ("." in call and call.rpartition(".")[2] in METHODS):
                yield call


def test_files_are_opened_listed_and_removed_in_one_module_only():
    """A reader of its own could follow a stranger's link, or wait for ever; the exceptions open nothing of a run's."""
    apart = [PACKAGE / "files.py", *modules_of("machine")]
    for path in [path for path in MODULES if path not in apart]:
        allowed = MAY.get(name_of(path).removeprefix("gan_runner."), set())
        assert not set(opens_by_name(path)) - allowed, f"{path}: see gan_runner/files.py"


def test_developers_get_what_the_extras_require_in_the_required_versions():
    """Else the tests of an extra run on other versions than its users have."""
    extras = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = extras["optional-dependencies"]
    told = {re.match(r"[\w.-]+", requirement)[0]: requirement for requirement in extras["dev"]}
    for name in extras.keys() - {"dev", "ray"}:  # Ray is large, and its launcher's config alone is tested
        for requirement in extras[name]:  # another extra may narrow the versions
            assert told.get(re.match(r"[\w.-]+", requirement)[0], "").startswith(requirement), (name, requirement)
