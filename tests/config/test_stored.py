"""A run's folder is data: whatever a stranger wrote into it, nothing of it runs and nothing is written."""

import copy
import hashlib
import json
import shutil

import pytest
import yaml
from omegaconf import OmegaConf

from gan_runner.building.parts import Parts
from gan_runner.config.stored import read_stored, to_store
from gan_runner.errors import UserError
from tests.command_line import QUICK, gan_run, gan_sample


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    assert gan_run(folder, *QUICK, "hydra.run.dir=run").code == 0
    return folder / "run"


@pytest.fixture
def run(good, tmp_path):
    return shutil.copytree(good, tmp_path / "run")


def leaves(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))
    if not isinstance(value, dict | list):
        yield path


def altered(run, change):
    file = run / ".hydra/config.yaml"
    config = yaml.safe_load(file.read_text())
    change(config)
    file.write_text(yaml.safe_dump(config))
    return run


def content(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("gan-run.log", "lock")
    }


def put(*path, value):
    def change(config):
        node = config
        for key in path[:-1]:
            node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
        node[path[-1]] = value

    return change


EVIL = {
    "a function of the standard library": put("loss", "_target_", value="os.system"),
    "a path to unlink": put("latent", "evil", value={"_target_": "pathlib.Path.unlink", "_args_": ["x"]}),
    "pickles through numpy": put("labels", "real", value={"_target_": "numpy.load", "file": "x", "allow_pickle": True}),
    "a report of the machine": put("data", "evil", value={"_target_": "torch.utils.collect_env.run", "command": "id"}),
    "a module's attribute reached through the package": put("loss", "_target_", value="gan_runner.files.os.unlink"),
    "our own way to build anything": put("game", "_target_", value="gan_runner.config.build.make"),
    "deep in a list": put("data", "more", value=[[{"_target_": "builtins.eval", "_args_": ["1"]}]]),
    "a target that is no name": put("loss", "_target_", value={"_target_": "os.system"}),
    "a secret of the environment": put("data", "root", value="${oc.env:HOME}"),
    "an interpolation within another": put("trainer", "device", value="${oc.decode:${seed}}"),
    "a new folder by a resolver of ours": put("trainer", "device", value="${new_folder:gan-evil}"),
    "torch's loader": put("model", "generator", "_target_", value="torch.load"),
    "torch's hub": put("optimizer", "d", "_target_", value="torch.hub.load"),
}


@pytest.mark.parametrize("change", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize("command", [gan_run, gan_sample], ids=["resume", "gan-sample"])
def test_a_malicious_config_is_refused_with_the_key_and_nothing_is_written(run, change, command):
    altered(run, change)
    before = content(run.parent)
    arguments = ["resume=run", "trainer.iterations=8"] if command is gan_run else ["run=run", "output=x.png"]
    result = command(run.parent, *arguments)
    assert result.code == 1
    assert "Traceback" not in result.text
    assert "but its config asks for" in result.err or "would be computed" in result.err, result.text
    assert content(run.parent) == before


def test_a_stored_hydra_section_and_stored_overrides_are_never_obeyed(run):
    victim = run.parent / "victim.txt"
    victim.write_text("precious")
    hydra = {"hydra": {"job_logging": {"handlers": {"file": {"filename": str(victim), "mode": "w"}}}}}
    (run / ".hydra/hydra.yaml").write_text(yaml.safe_dump(hydra))
    (run / ".hydra/overrides.yaml").write_text(
        yaml.safe_dump(["+hydra.callbacks.x._target_=os.system", f"hydra.job_logging.handlers.file.filename={victim}"])
    )
    altered(run, put("hydra", value=hydra["hydra"]))
    result = gan_run(run.parent, "resume=run", "trainer.iterations=8")
    assert result.code == 0, result.text
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "name", ["summary.json", "metrics.jsonl", "gan-run.log", "checkpoints", "samples", ".hydra/lock"]
)
def test_a_link_out_of_the_folder_is_not_followed(run, name):
    outside = run.parent / "outside"
    (run / name).rename(outside)
    (run / name).symlink_to(outside)
    before = content(run.parent)
    result = gan_run(run.parent, "resume=run", "trainer.iterations=8")
    assert result.code == 1
    assert "is a link to" in result.err
    assert content(run.parent) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1]\nb: *x", "aliases"),
        ("a: &x [1]", "a tag or an anchor"),
        ("a: " + "[" * 60 + "]" * 60, "nests deeper"),
        ("- 1", "no mapping"),
        ("a: !!python/object/apply:os.system [id]", "a tag or an anchor"),
        ("\x00", "damaged"),
        ("a: " + "x" * 2**19, "characters"),
    ],
)
def test_a_config_that_is_not_a_plain_mapping_is_damaged(run, text, said):
    (run / ".hydra/config.yaml").write_text(text)
    for command, arguments in ((gan_run, ["resume=run"]), (gan_sample, ["run=run", "output=x.png"])):
        result = command(run.parent, *arguments)
        assert result.code == 1
        assert said in result.err
        assert "Traceback" not in result.text


def test_any_single_changed_value_gives_one_message_or_a_run(good, tmp_path):
    """Every leaf of a good config in turn, changed to what a fuzzer would write."""
    config = yaml.safe_load((good / ".hydra/config.yaml").read_text())
    poison = ["${oc.env:HOME}", "__import__('os')", -1, None, [], {}, "x" * 500, True, {"_target_": "os.system"}]
    for number, path in enumerate(leaves(config)):
        folder = tmp_path / f"{number}"
        (folder / ".hydra").mkdir(parents=True)
        changed = copy.deepcopy(config)
        put(*path, value=poison[number % len(poison)])(changed)
        (folder / ".hydra/config.yaml").write_text(json.dumps(changed))  # which is YAML, and quickly written
        try:
            read = str(read_stored(folder, Parts(), "resume").config)
        except UserError as error:
            read = ""
            said = str(error)
        else:
            said = str(path[-1])
        assert str(path[-1]) in said or "_target_" in said
        assert "oc.env" not in read
        assert "os.system" not in read


def test_environment_variables_are_resolved_before_a_config_is_stored(compose_config, monkeypatch):
    monkeypatch.setenv("GAN_DATA", "/somewhere")
    config = compose_config("data=mnist")
    of_run = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    stored = yaml.safe_load(to_store(of_run))
    assert stored["data"]["root"] == "/somewhere"
    assert stored["optimizer"]["d"]["lr"] == "${optimizer.lr}"


def test_a_config_is_stored_alike_whether_or_not_a_value_of_it_is_resolved(compose_config, monkeypatch):
    monkeypatch.setenv("RATE", "1e-2")
    config = compose_config("optimizer.lr=${oc.env:RATE}", "model.generator.activation='null'", "seed='7'")
    config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    with_resolved = to_store(config)
    config.optimizer.lr = "1e-2"
    assert to_store(config) == with_resolved


def test_a_module_is_trusted_by_one_override(run):
    altered(run, put("loss", "_target_", value="my_project.losses.Mine"))
    with pytest.raises(UserError, match=r"trust=my_project"):
        read_stored(run, Parts(), "resume")
    assert read_stored(run, Parts(("my_project",)), "resume").config["loss"]["_target_"] == "my_project.losses.Mine"
    with pytest.raises(UserError):
        read_stored(run, Parts(("my_pro",)), "resume")


def test_a_run_from_before_an_optional_group_existed_resumes_without_it(run, tmp_path):
    altered(run, lambda config: [config.pop(group) for group in ("augment", "pruning")])
    result = gan_run(tmp_path, "resume=run", "trainer.iterations=6")
    assert result.code == 0, result.text
    assert gan_sample(tmp_path, "run=run", "num=4", "output=four.npz").code == 0


def test_a_stored_config_without_a_required_key_is_refused_with_that_key(run, tmp_path):
    altered(run, lambda config: config.pop("latent"))
    result = gan_run(tmp_path, "resume=run", "trainer.iterations=6")
    assert (result.code, result.err.splitlines()) == (
        1,
        [
            "resume is run, but its .hydra/config.yaml says nothing of latent, which every run has.",
            "  Correct or restore that file, or start a new run.",
        ],
    )
