"""The workflow for a public host, which nothing here can run."""

import re
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
