"""A run's folder, opened: its config, its results, and its generator."""

from __future__ import annotations

import contextlib
import html
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from gan_runner.building.networks import gives_source
from gan_runner.building.parts import Parts, only, trusting
from gan_runner.config.build import bind_to_data, load_images, make, plain, sampler_of_checkpoint
from gan_runner.config.checking import OF_PICTURES, check_stored
from gan_runner.config.command_line import typed_overrides
from gan_runner.config.stored import Stored, read_stored
from gan_runner.data import ImageSet
from gan_runner.data.pairs import Direction
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.report import EvaluationReport
from gan_runner.record.data_folder import DataFolder, items, mapping, number, text, whole
from gan_runner.record.images import GeneratedImages
from gan_runner.record.links import check_way_to
from gan_runner.record.pictures import Pixels
from gan_runner.record.run_folder import RunFolder
from gan_runner.runs.composing import settings_of
from gan_runner.runs.judging import report_of_checkpoint
from gan_runner.runs.resuming import LENGTHS
from gan_runner.runs.surroundings import one_at_a_time
from gan_runner.runs.tables import as_table
from gan_runner.runs.translating import translator_of_run
from gan_runner.training.asked import Asked, drawn_images
from gan_runner.training.devices import choose_device
from gan_runner.training.translating import Translator, check_folder, found_at, translate_folder, translated

if TYPE_CHECKING:
    from gan_runner.detection.report import DetectionReport

log = logging.getLogger(__name__)

OTHERWISE = "or draw images with gan-sample and give samples=PATH data=NAME."
"""The alternative if a run's data are not available."""


class SavedRun:
    """The folder of a run that has saved a checkpoint. An untrusted folder is only read as data: see `trust`.

    Args:
        folder: the run's folder.
        trust: your own modules that its config may name.
        key: the setting that named the folder, for messages.

    Raises:
        UserError: it is not the folder of a run, or its config names components that may not be built.
    """

    def __init__(self, folder: str | Path, trust: Sequence[str] | str = (), *, key: str = "run") -> None:
        self.folder = Path(folder)
        self._key = key
        self._parts: Parts = trusting(trust)
        self._record = RunFolder.of_run(str(folder), key)
        self._data = DataFolder(self.folder)

    @cached_property
    def stored(self) -> Stored:
        """Its composed config and its overrides."""
        return read_stored(self.folder, self._parts, self._key)

    @property
    def config(self) -> dict[str, Any]:
        """Its settings, nested as in the YAML files, references replaced by their values."""
        return self.stored.values

    @property
    def summary(self) -> dict[str, Any]:
        """Its summary.json: iterations, device, speed and more; {} if it cannot be read."""
        return self._data.json("summary.json")

    @property
    def status(self) -> str:
        """`running`, `finished`, `pruned`, `interrupted` or `failed`; `unknown` without a summary."""
        return text(self.summary.get("status")) or "unknown"

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics of its last evaluation, by tag, such as `metric/frechet_cnn_1k`."""
        return {tag: number(value) for tag, value in mapping(self.summary.get("metrics")).items()}

    @property
    def best(self) -> dict[str, Any] | None:
        """The best value of the objective and its iteration; None if nothing was measured."""
        best = mapping(self.summary.get("best"))
        value = number(best.get("value"))
        return None if value is None else {"value": value, "iteration": whole(best.get("iteration"))}

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """The alarms that were raised, each with its name, message and iteration."""
        return [
            {
                "name": text(alarm.get("name")),
                "message": text(alarm.get("message")),
                "iteration": whole(alarm.get("iteration")),
            }
            for alarm in map(mapping, items(self.summary.get("alarms")))
        ]

    @property
    def history(self) -> Any:
        """Its log points: a pandas DataFrame where pandas is installed, else a list of dicts."""
        return as_table(list(self._data.json_lines("metrics.jsonl")))

    @property
    def checkpoints(self) -> list[str]:
        """The names of its checkpoints: `last`, `best`, and the iterations that were kept."""
        kept = self._record.checkpoints
        return [name for name in ("last", "best", *map(str, kept.iterations())) if kept.path(name).is_file()]

    def checkpoint_for(self, asked: str) -> str:
        """The named checkpoint; the last instead of the best if no evaluation gave a finite number."""
        if asked != "best" or "best" in self.checkpoints or "last" not in self.checkpoints:
            return asked
        log.warning(
            "%s has no best checkpoint, because no evaluation gave a finite number: the last one is used.", self.folder
        )
        return "last"

    def load_checkpoint(self, checkpoint: str | int = "last", device: str = "auto") -> dict[str, Any]:
        """A checkpoint's whole state, on a device.

        Raises:
            UserError: there is none of that name, or it is damaged.
        """
        return self._record.checkpoints.load(str(checkpoint), choose_device(device, "device"))

    def sample(
        self,
        num: int = 64,
        seed: int = 0,
        checkpoint: str | int = "best",
        device: str = "auto",
        classes: Asked = None,
    ) -> GeneratedImages:
        """Draw images with its generator, or with its moving average if it has one.

        Args:
            num: how many images, at least 1.
            seed: of the latents; the same seed gives the same images as `gan-sample`.
            checkpoint: one of `checkpoints`; the last if there is no best.
            device: auto, cpu, mps, cuda or cuda:N.
            classes: for a run by class (game=conditional): a list of names or numbers, which share `num` evenly;
                "like_data" for the frequencies of the data; None for all classes evenly.

        Returns:
            uint8 [num, H, W, C], class after class, shown as a grid in a notebook; see `GeneratedImages.label`.

        Raises:
            UserError: the checkpoint does not exist or is of another model, there is no such class, or memory is short.
        """
        if num < 1:
            raise UserError(f"num is {num}, but must be at least 1.", "Try num=64.")
        chosen = choose_device(device, "device")
        state = self._record.checkpoints.load(self.checkpoint_for(str(checkpoint)), chosen)
        explained = too_little_memory_explained("Try a smaller num several times, each with another seed.")
        with one_at_a_time(), only(self._parts), explained:
            sampler = sampler_of_checkpoint(self._config_to_draw(), state, seed, chosen)
            return drawn_images(sampler, num, classes, state["about"]["classes"], f"run is {self.folder}")

    def export(
        self,
        output: str | Path,
        checkpoint: str | int = "best",
        what: Literal["generator", "discriminator"] = "generator",
        device: str = "auto",
    ) -> str:
        """Write its generator (the moving average, if it has one) or its discriminator for other programs.

        Args:
            output: a path without an ending is a folder that `gan_runner.load` and model hubs read; .onnx, .pt2 or
                .html is one file. It must not exist yet.
            checkpoint: one of `checkpoints`.
            what: generator or discriminator.
            device: auto, cpu, mps, cuda or cuda:N, where its images are drawn.

        Returns:
            A sentence on how close the output of the exported network is to the original.

        Raises:
            UserError: the output exists, or the network cannot be written in that form.
        """
        from gan_runner.runs.exporting import checked_output, export_run

        if what not in ("generator", "discriminator"):
            raise UserError(
                f"what is {what}, but must be generator or discriminator.", "Leave it out for the generator."
            )
        chosen, name = choose_device(device, "device"), self.checkpoint_for(str(checkpoint))
        path = checked_output(str(output))
        check_way_to(path, self.folder, "output")
        state = self._record.checkpoints.load(name, chosen)
        explained = too_little_memory_explained("Export on a machine with more memory.")
        with one_at_a_time(), only(self._parts), explained:
            return export_run(
                self._config_to_draw(),
                self.folder,
                state,
                path,
                checkpoint=name,
                what=what,
                device=chosen,
                parts=self._parts,
            )

    def data_config(self) -> DictConfig:
        """Its config, with `data.root` and other paths relative to the current folder."""
        config = OmegaConf.create(self.stored.values)
        for name, path in self.stored.places_from_elsewhere().items():
            config.data[name] = path
        return config

    def _config_to_draw(self) -> DictConfig:
        """Its config, after a check of everything that is built to draw; for pairs that includes the data."""
        where = f"{self._key} is {self.folder}"
        check_stored(self.stored.config, OF_PICTURES, where)
        config = self.data_config()
        if gives_source(plain(config.game)):
            check_stored(self.stored.config, ("data",), where)
        return config

    @contextlib.contextmanager
    def its_data(self) -> Iterator[DictConfig]:
        """Gives `data_config`; inside the context only components that its folder may name can be built.

        Raises:
            UserError: its config has errors.
        """
        with only(self._parts):
            check_stored(self.stored.config, (*OF_PICTURES, "data"), f"{self._key} is {self.folder}")
            yield self.data_config()

    def training_images(self, config: DictConfig, state: Mapping[str, Any]) -> ImageSet:
        """The images that a checkpoint was trained on.

        Args:
            config: what `its_data` gives.
            state: the checkpoint.

        Raises:
            UserError: they cannot be had, or are no longer the same.
        """
        where = f"{self._key} is {self.folder}"
        try:
            training = load_images(config)
        except UserError as error:
            raise UserError(
                f"{where}, but the images that it was trained on are not available: {error.problem}",
                f"Put them back into its data.root, {OTHERWISE}",
            ) from error
        if training.fingerprint != state["about"]["data_fingerprint"]:
            raise UserError(
                f"{where}, but the images that its config names are no longer those that it was trained on.",
                f"Put them back into data.root, {OTHERWISE}",
            )
        return training

    def _translator(self, checkpoint: str | int, device: str, direction: Direction | None) -> Translator:
        chosen = choose_device(device, "device")
        state = self._record.checkpoints.load(self.checkpoint_for(str(checkpoint)), chosen)
        return translator_of_run(self._config_to_draw(), state, chosen, f"{self._key} is {self.folder}", direction)

    def translate(
        self,
        images: Pixels,
        checkpoint: str | int = "best",
        device: str = "auto",
        direction: Direction | None = None,
    ) -> GeneratedImages:
        """Translate images with a run of pairs (game=paired) or of two domains (game=cycle).

        Args:
            images: uint8 [N, H, W, C] of any size, C being 1, 3 or 4; scaled and cropped as the run's data are.
            checkpoint: one of `checkpoints`; the last if there is no best.
            device: auto, cpu, mps, cuda or cuda:N.
            direction: AtoB or BtoA, with a run that draws both ways; None is that of the run's data.

        Returns:
            uint8 [N, H, W, C] at the run's size. A result depends on its own input only, bit for bit.

        Raises:
            UserError: the run does not translate images, or the images have another type or shape.
        """
        with one_at_a_time(), only(self._parts), too_little_memory_explained("Try fewer images at a time."):
            return translated(self._translator(checkpoint, device, direction), images)

    def translate_folder(
        self,
        input: str | Path,
        output: str | Path,
        checkpoint: str | int = "best",
        device: str = "auto",
        direction: Direction | None = None,
    ) -> int:
        """Translate every image of a folder, as `gan-translate` does.

        Args:
            input: a folder, subfolders included, or one image; of any sizes and formats.
            output: a new or empty folder; the results have the names of their inputs, as PNG.
            checkpoint: see `translate`.
            device: see `translate`.
            direction: see `translate`.

        Returns:
            How many images were written. Those that cannot be read are left out and named in the log.

        Raises:
            UserError: the run does not translate images, there are none, or `output` is not empty.
        """
        path = check_folder(str(output))
        check_way_to(path, self.folder, "output")
        found = found_at(str(input))
        with (
            one_at_a_time(),
            only(self._parts),
            too_little_memory_explained("Translate on a machine with more memory."),
        ):
            return translate_folder(self._translator(checkpoint, device, direction), found, path)

    def evaluated(
        self,
        metrics: FeatureMetrics,
        *,
        checkpoint: str,
        num: int,
        real: int,
        seed: int,
        device: torch.device,
        detector: bool = False,
    ) -> EvaluationReport:
        """Draw images from a checkpoint and measure them against the run's data.

        Args:
            metrics: the metrics, not yet bound to data.
            checkpoint: `last`, `best` or an iteration.
            num: images to draw, at most.
            real: real images to compare with, at most.
            seed: of the latents.
            device: where to compute.
            detector: whether a network is trained to tell them from real ones.

        Raises:
            UserError: the data are not available, or are no longer those that the run was trained on.
        """
        state = self._record.checkpoints.load(checkpoint, device)
        with self.its_data() as config:
            training = self.training_images(config, state)
            bind_to_data(metrics, config, training, device)
            return report_of_checkpoint(
                config,
                state,
                metrics,
                training,
                checkpoint=checkpoint,
                num=num,
                real=real,
                seed=seed,
                device=device,
                detector=detector,
            )

    def evaluate(self, *words: str, **settings: object) -> EvaluationReport:
        """Measure how good its images are, as `gan-eval` does.

        Args:
            *words: settings of gan-eval, such as "num=1000" or "checkpoint=last".
            **settings: the same as keyword arguments.

        Returns:
            The metrics beside those of real images and of noise: see its `table()`, `as_dict()` and `picture()`.

        Raises:
            UserError: a setting is wrong, or the data are not available.
        """
        config = settings_of("evaluate", words, settings)
        metrics: FeatureMetrics = make(config.metrics)
        checkpoint = self.checkpoint_for(str(config.checkpoint))
        device = choose_device(config.device, "device")
        with one_at_a_time(), too_little_memory_explained("Try a smaller num or real."):
            return self.evaluated(
                metrics,
                checkpoint=checkpoint,
                num=config.num,
                real=config.real,
                seed=config.seed,
                device=device,
                detector=config.detector,
            )

    def detect(self, *words: str, **settings: object) -> DetectionReport:
        """Measure how well detectors tell its images from real ones, as `gan-detect` does.

        Args:
            *words: settings of gan-detect, such as "num=2000" or "samples=pictures.npz".
            **settings: the same as keyword arguments, such as others=(folder,).

        Returns:
            The scores of each detector: see its `table()`, `sentences()` and `as_dict()`.

        Raises:
            UserError: a setting is wrong, or the data cannot be had.
        """
        from gan_runner.runs.detecting import Asked as AskedOfDetectors
        from gan_runner.runs.detecting import detected

        config = settings_of("detect", words, settings)
        overrides = typed_overrides(config.hydra)
        with open_dict(config):
            del config["hydra"]
        asked = AskedOfDetectors.of(config, overrides)
        with one_at_a_time(), too_little_memory_explained("Try a smaller num."):
            return detected(self, asked, make(config.metrics))

    def resume(self, *words: str, quiet: bool = False, **settings: object) -> SavedRun:
        """Resume it in its folder, as `gan-run resume=outputs/DATE/TIME` does.

        Args:
            *words: overrides, such as "trainer.epochs=100".
            quiet: print nothing.
            **settings: the same as keyword arguments; `epochs`, `iterations` and `minutes` are the trainer's.

        Returns:
            The run, opened again.

        Raises:
            UserError: an override would change what is trained.
        """
        from gan_runner.runs.in_python import train

        length = [f"trainer.{name}={settings.pop(name)}" for name in LENGTHS if name in settings]
        trust = [f"trust=[{','.join(self._parts.trust)}]"] if self._parts.trust else []
        return train(f"resume={self.folder}", *trust, *length, *words, quiet=quiet, **settings)

    def __repr__(self) -> str:
        summary, best, alarms = self.summary, self.best, self.alarms
        parts = [str(self.folder), self.status]
        if (iterations := whole(summary.get("iterations"))) is not None:
            parts.append(f"{iterations:,} iterations")
        if (objective := text(summary.get("objective_name"))) and best:
            parts.append(f"{objective} {best['value']:.4g} at best")
        if alarms:
            parts.append(f"{len(alarms)} alarm{'s' * (len(alarms) > 1)}")
        return f"<SavedRun {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        measured = {name: f"{value:.4g}" for name, value in self.metrics.items() if value is not None}
        rows = {"status": self.status, **measured}
        cells = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in rows.items())
        return f"<p><code>{html.escape(str(self.folder))}</code></p><table>{cells}</table>"
