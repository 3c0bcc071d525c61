"""What checks a change: the stages of .ci/run, the hooks of a commit, and the workflow for a public host."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github/workflows/ci.yml"


def test_the_workflow_trains_on_three_systems_installed_as_the_readme_says_and_runs_ci_on_linux():
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    assert {re.match(r"[a-z]+", name)[0] for name in jobs["small-run"]["strategy"]["matrix"]["os"]} == {
        "ubuntu",
        "macos",
        "windows",
    }
    small, everything = ([step.get("run") for step in jobs[name]["steps"]] for name in ("small-run", "everything"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert next(line for line in small if line and line.startswith("pip")) in readme
    assert ".ci/run" in everything
    assert jobs["everything"]["runs-on"].startswith("ubuntu")


def test_an_unknown_stage_is_refused_with_those_that_exist():
    refused = subprocess.run([ROOT / ".ci/run", "lint"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "lint is no stage" in refused.stderr
    stages = refused.stderr.partition("the stages are")[2].split()
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"wanted (\w+)", script))) == sorted(stages)
    page = (ROOT / "docs/CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {stage for named in re.findall(r"\.ci/run ([a-z ]+)`", page) for stage in named.split()} <= set(stages)
    assert [stage for stage in stages if f"`{stage}`" not in page] == []


def test_commands_in_one_process_are_run_in_turn_until_one_fails():
    program = [sys.executable, ROOT / ".ci/in_one_process.py"]
    lines = "\n".join(f"python -m {module}" for module in ("this", "platform", "json.tool nowhere.json", "site"))
    done = subprocess.run(program, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert [line for line in done.stdout.splitlines() if line.startswith("$")] == [
        *(f"$ {line}" for line in lines.splitlines()[:3])
    ]
    assert "Namespaces" in done.stdout
    assert "USER_BASE" not in done.stdout


def test_the_commit_hooks_check_what_ci_checks_with_the_tools_of_the_environment():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    entries = [hook["entry"].replace(" --force-exclude", "") for hook in hooks[0]["hooks"]]
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert [entry for entry in entries[:3] if entry not in script] == []
    assert {hook["language"] for hook in hooks[0]["hooks"]} == {"system"}


def test_package_citation_and_changes_have_the_same_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "docs/CHANGELOG.md").read_text(encoding="utf-8")
    released = re.search(r"^## (\d[\d.]*) \((\d{4}-\d\d-\d\d)\)$", changes, re.MULTILINE)
    assert released.groups() == (version, str(citation["date-released"]))
    assert citation["version"] == version
