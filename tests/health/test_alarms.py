"""Each alarm fires on the fault that is planted for it, and none on a healthy run."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.command_line import gan_run, only_run

# Small and short; a symptom need not last long.
SHORT = [
    "penalty=none",
    "trainer.ema=null",
    "data.limit=128",
    "trainer.batch_size=32",
    "trainer.iterations=60",
    "trainer.log_every=5",
    "evaluation=off",
    "model.generator.widths=[32]",
    "model.discriminator.widths=[32]",
    "health.symptoms.saturated.patience=10",
    "health.symptoms.coin_toss.patience=20",
    "health.symptoms.collapse.patience=20",
    "health.symptoms.no_progress.patience=40",
]
PLANTED = '''"""Planted faults: a generator whose output ignores its latent, and images of noise."""

import torch

from gan_runner.data.image_set import InMemoryImages
from gan_runner.models import mlp


class Generator(mlp.Generator):
    def forward(self, z):
        return super().forward(torch.zeros_like(z))


def noise(image_size: int, limit: int):
    return InMemoryImages("noise", torch.randint(256, (limit, 1, image_size, image_size)).byte(), None, ())
'''
DEEP = ["model.generator.widths=[128,128,128]", "model.discriminator.widths=[128,128,128]"]
ROUNDS = ["schedule=rounds", *(f"schedule.{what}" for what in ("d_steps=10", "g_steps=10", "g_probability=1.0"))]
# What is planted, what rings at least, and what each of that names.
FAULTS = {
    "a learning rate of 10": (
        ["model=keras_mlp", "optimizer.lr=10", *DEEP],
        {"saturated", "constant_d"},
        "Try: optimizer.lr=0.0002.",
    ),
    "a generator that ignores its latent": (["model.generator._target_=planted.Generator"], {"collapse"}, "penalty=r1"),
    "a discriminator that does not learn": (
        ["optimizer.d.lr=0", "optimizer.g.lr=1e-2"],
        {"coin_toss"},
        "Unusual: optimizer.d.lr is 0, optimizer.g.lr is 0.01. Try: optimizer.d.lr=0.0002  optimizer.g.lr=0.0002.",
    ),
    "the same in rounds": (
        ["optimizer.d.lr=0", "optimizer.g.lr=1e-2", *ROUNDS],
        {"coin_toss"},
        "optimizer.d.lr=0.0002",
    ),
    "a generator that does not learn": (["optimizer.g.lr=0"], {"no_progress"}, "Try: optimizer.g.lr=0.0002."),
    "a target that is no number": (["labels.real.value=nan"], {"not_finite"}, "Try: labels.real.value=1."),
    "two players that do not learn": (
        ["optimizer.lr=0", "model.dropout=0", "latent.std=1e-9"],
        {"constant_g", "no_progress"},
        "Try: latent.std=1  optimizer.lr=0.0002.",
    ),
    "images of noise": (["data._target_=planted.noise"], {"odd_data"}, "look at samples/real"),
}


@pytest.mark.parametrize(("fault", "alarms", "words"), FAULTS.values(), ids=FAULTS)
def test_an_injected_fault_raises_its_alarm_in_log_summary_metrics_and_dashboard(
    tmp_path, monkeypatch, fault, alarms, words
):
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = gan_run(tmp_path, *SHORT, *fault)
    assert result.code == ("not_finite" in alarms), result.text
    run = only_run(tmp_path)
    raised = {alarm["name"]: alarm for alarm in json.loads((run / "summary.json").read_text())["alarms"]}
    assert alarms <= raised.keys()
    log = (run / "gan-run.log").read_text()
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(run))
    events.Reload()
    for name in alarms:
        texts = {e.step: e.tensor_proto.string_val[0].decode() for e in events.Tensors(f"health/{name}/text_summary")}
        assert texts[raised[name]["iteration"]] == raised[name]["message"]
        assert raised[name]["message"] in log
        assert words in raised[name]["message"]
        shown = {point["iteration"]: point[f"health/{name}"] for point in points if f"health/{name}" in point}
        assert shown[raised[name]["iteration"]] == 1.0


def test_a_healthy_run_raises_no_alarm(tmp_path):
    assert gan_run(tmp_path, *SHORT[:-3], "optimizer.lr=1e-3").code == 0
    assert json.loads((only_run(tmp_path) / "summary.json").read_text())["alarms"] == []
