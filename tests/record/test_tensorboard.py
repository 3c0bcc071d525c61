import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as EventAccumulatorOfTheServer,
)
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata

from gan_runner.record.loggers import Hyperparameters, RunToLog
from gan_runner.record.tensorboard import TensorBoard, dashboard_line, flatten

CHARTS = {
    "loss": ["loss/d", "loss/g"],
    "accuracy": ["accuracy/d", "accuracy/d_real", "accuracy/d_fake"],
    "probability": ["probability/real", "probability/fake"],
}
LOGGER = TensorBoard(flush_seconds=60, charts=CHARTS)
ROW = Hyperparameters({"seed": 0}, {"seed": "number"}, chosen=[])


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def hparams(folder):
    """What the HPARAMS page reads of a run: part -> the message's serialised content."""
    return read(folder).PluginTagToContent("hparams")


def points(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_each_start_writes_one_event_file_at_the_top_of_the_folder(tmp_path):
    folder = tmp_path / "run"
    with LOGGER.open(RunToLog(folder, first_iteration=1)) as events:
        events.begin(ROW, metrics=["loss/d"])
        events.scalars({"loss/d": 1.0}, 1)
        events.end("finished")
    (file,) = folder.rglob("*")
    assert file.name.startswith("events.out.tfevents.")
    assert file.parent == folder


def test_a_start_without_values_leaves_no_file(tmp_path):
    LOGGER.open(RunToLog(tmp_path, first_iteration=1)).close()
    assert not list(tmp_path.iterdir())


def test_every_scalar_is_read_back_at_its_iteration(tmp_path):
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        for iteration in range(1, 31):
            events.scalars({"loss/d": iteration / 2, "speed/images_per_second": 1e6}, iteration)
    stored = read(tmp_path)
    assert stored.Tags()["scalars"] == ["loss/d", "speed/images_per_second"]
    assert points(stored, "loss/d") == [(i, i / 2) for i in range(1, 31)]
    assert points(stored, "speed/images_per_second")[0] == (1, 1e6)


def test_a_diverged_loss_is_logged_as_nan(tmp_path):
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        events.scalars({"loss/d": float("nan")}, 1)
    ((_, value),) = points(read(tmp_path), "loss/d")
    assert np.isnan(value)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_is_read_back_pixel_by_pixel(tmp_path, mode):
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).convert(mode)
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        events.image("samples/fixed", picture, 7)
    (stored,) = read(tmp_path).Images("samples/fixed")
    assert stored.step == 7
    with Image.open(io.BytesIO(stored.encoded_image_string)) as decoded:
        assert np.array_equal(np.asarray(decoded.convert(mode)), np.asarray(picture))


def test_images_can_be_left_out_of_the_event_file(tmp_path):
    with TensorBoard(flush_seconds=60, charts=CHARTS, images=False).open(RunToLog(tmp_path)) as events:
        events.image("samples/fixed", Image.new("L", (64, 64)), 1)
        events.scalars({"loss/d": 1.0}, 1)
    assert read(tmp_path).Tags()["images"] == []


def test_a_text_is_read_back(tmp_path):
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        events.text("config", "**seed**: 0", 0)
    (stored,) = read(tmp_path).Tensors("config/text_summary")
    assert stored.tensor_proto.string_val[0] == b"**seed**: 0"


def test_the_custom_scalars_page_has_a_chart_for_each_title(tmp_path):
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        events.scalars({"loss/d": 1.0}, 1)
    (stored,) = read(tmp_path).Tensors("custom_scalars__config__")
    (category,) = layout_pb2.Layout.FromString(stored.tensor_proto.string_val[0]).category
    assert {chart.title: list(chart.multiline.tag) for chart in category.chart} == CHARTS


def test_charts_can_be_configured(tmp_path):
    config = OmegaConf.create(CHARTS)
    with TensorBoard(flush_seconds=60, charts=config).open(RunToLog(tmp_path, first_iteration=1)) as events:
        events.scalars({"loss/d": 1.0}, 1)
    assert "custom_scalars__config__" in read(tmp_path).Tags()["tensors"]


@pytest.mark.parametrize("reader", [EventAccumulator, EventAccumulatorOfTheServer])
def test_a_resumed_run_has_no_point_twice_in_its_chart(tmp_path, reader):
    for first, last, value in [(1, 9, 0.0), (6, 12, 1.0)]:
        with LOGGER.open(RunToLog(tmp_path, first_iteration=first)) as events:
            for iteration in range(first, last + 1):
                events.scalars({"loss/d": value}, iteration)
                events.image("samples/fixed", Image.new("L", (2, 2)), iteration)
    stored = reader(str(tmp_path)).Reload()
    name = "Scalars" if reader is EventAccumulator else "Tensors"
    assert [event.step for event in getattr(stored, name)("loss/d")] == list(range(1, 13))
    assert len(list(tmp_path.iterdir())) == 2, "a file a start"
    assert [value for _, value in points(read(tmp_path), "loss/d")] == [0.0] * 5 + [1.0] * 7


def test_a_running_job_is_on_the_hparams_page_with_its_values(tmp_path):
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        row = Hyperparameters(
            values={"optimizer.lr": 2e-4, "seed": 3, "data.download": False, "loss": "Hinge", "untold": "x"},
            columns={"optimizer.lr": "number", "seed": "number", "data.download": "truth", "loss": "text"},
            chosen={"optimizer.lr"},
        )
        events.begin(row, metrics=["metric/fid", "loss/d"])
    parts = hparams(tmp_path)
    assert sorted(parts) == [metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG]

    experiment = metadata.parse_experiment_plugin_data(parts[metadata.EXPERIMENT_TAG])
    assert [(info.name, info.type, info.differs) for info in experiment.hparam_infos] == [
        ("optimizer.lr", api_pb2.DATA_TYPE_FLOAT64, True),
        ("seed", api_pb2.DATA_TYPE_FLOAT64, False),
        ("data.download", api_pb2.DATA_TYPE_BOOL, False),
        ("loss", api_pb2.DATA_TYPE_STRING, False),
    ]
    assert [info.name.tag for info in experiment.metric_infos] == ["metric/fid", "loss/d"]

    start = metadata.parse_session_start_info_plugin_data(parts[metadata.SESSION_START_INFO_TAG])
    assert start.start_time_secs > 0
    values = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
    assert values == {"optimizer.lr": 2e-4, "seed": 3.0, "data.download": False, "loss": "Hinge", "untold": "x"}


@pytest.mark.parametrize(
    ("outcome", "status"), [("finished", api_pb2.STATUS_SUCCESS), ("failed", api_pb2.STATUS_FAILURE)]
)
def test_a_run_that_ended_has_its_status_on_the_hparams_page(tmp_path, outcome, status):
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        events.end(outcome)
    end = metadata.parse_session_end_info_plugin_data(hparams(tmp_path)[metadata.SESSION_END_INFO_TAG])
    assert end.status == status
    assert end.end_time_secs > 0


def test_values_logged_before_an_error_are_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:  # noqa: PT012
        events.scalars({"loss/d": 1.0}, 1)
        raise KeyboardInterrupt
    assert points(read(tmp_path), "loss/d") == [(1, 1.0)]


def test_flatten_gives_one_level_of_plain_values():
    config = {
        "seed": 0,
        "resume": None,
        "data": {"download": False, "root": "data"},
        "loss": {"_target_": "gan_runner.objectives.losses.Hinge", "_partial_": True},
        "optimizer": {"lr": 2e-4, "betas": [0.5, None], "d": {"lr": 4e-4}},
        "model": {1.5: "half", 2: {True: "both"}},
    }
    flat = {
        "model.1.5": "half",
        "model.2.True": "both",
        "seed": 0,
        "resume": "null",
        "data.download": False,
        "data.root": "data",
        "loss": "Hinge",
        "optimizer.lr": 2e-4,
        "optimizer.betas": "0.5, null",
        "optimizer.d.lr": 4e-4,
    }
    assert flatten(config) == flat
    assert flatten(OmegaConf.create(config)) == flat


def test_importing_the_module_does_not_load_tensorboard_or_torch():
    check = "import sys, gan_runner.record.tensorboard; sys.exit(bool({'tensorboard', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_closed_file_takes_nothing_more_and_no_other_is_opened(tmp_path):
    with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
        events.scalars({"loss/d": 1.0}, 1)
    for late in (
        lambda: events.image("samples/fixed", Image.new("L", (2, 2)), 2),
        lambda: events.text("health/collapse", "too late", 2),
    ):
        with pytest.raises(AttributeError):
            late()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_run_that_failed_and_then_finished_is_finished_on_the_hparams_page(tmp_path):
    for outcome in ("failed", "interrupted", "finished"):
        with LOGGER.open(RunToLog(tmp_path, first_iteration=1)) as events:
            events.begin(ROW, metrics=["loss/d"])
            events.end(outcome)
    end = metadata.parse_session_end_info_plugin_data(hparams(tmp_path)[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS


def test_a_run_that_fails_before_training_is_a_row_until_it_starts_again(tmp_path):
    for _ in range(2):
        with LOGGER.open(RunToLog(tmp_path)) as events:
            events.begin(ROW, metrics=["loss/d"])
            events.end("failed")
    assert len(list(tmp_path.iterdir())) == 1
    parts = hparams(tmp_path)
    start = metadata.parse_session_start_info_plugin_data(parts[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["seed"].number_value == 0.0
    end = metadata.parse_session_end_info_plugin_data(parts[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_FAILURE
    LOGGER.open(RunToLog(tmp_path, first_iteration=1)).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("grids", "more"), [(10, ""), (11, " --samples_per_plugin images=11")])
def test_the_dashboards_command_asks_for_all_images_where_tensorboard_would_sample_them(tmp_path, grids, more):
    (tmp_path / "job/samples").mkdir(parents=True)
    for iteration in range(grids):
        (tmp_path / f"job/samples/iteration_{iteration:08d}.png").touch()
    assert dashboard_line(tmp_path, Path("my sweep")) == f"tensorboard --logdir 'my sweep'{more}"


def test_a_chart_explains_its_scalar_wherever_the_first_point_is(tmp_path):
    for start in (1, 3):
        with LOGGER.open(RunToLog(tmp_path, first_iteration=start)) as events:
            events.describe({"metric/a": "Lower is better: a distance."})
            for iteration in (start, start + 1):
                events.scalars({"metric/a": 0.5, "loss/d": 1.0}, iteration)
    server = EventAccumulatorOfTheServer(str(tmp_path)).Reload()
    assert server.SummaryMetadata("metric/a").summary_description == "Lower is better: a distance."
    assert server.SummaryMetadata("loss/d").summary_description == ""
    assert [event.step for event in server.Tensors("metric/a")] == [1, 2, 3, 4]
