"""Exported folders, loaded without a run, Hydra or TensorBoard: they draw the images that their run draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_runner import files
from gan_runner.building.games import make_drawing, make_latent
from gan_runner.building.networks import check_room_to_draw, gives_source, is_ours, make_player, with_weights
from gan_runner.building.parts import only, trusting
from gan_runner.data import Batch
from gan_runner.data.batch import as_float
from gan_runner.data.pairs import Direction
from gan_runner.errors import UserError, is_want_of_memory, too_little_memory_explained
from gan_runner.export.description import NAME, Description, read_description
from gan_runner.export.weights import read_weights
from gan_runner.games import Drawing, DrawsBackwards
from gan_runner.ranges import Count, Seed
from gan_runner.record.images import GeneratedImages
from gan_runner.record.pictures import Pixels
from gan_runner.training.asked import Asked, drawn_images
from gan_runner.training.devices import choose_device
from gan_runner.training.sampler import Sampler
from gan_runner.training.translating import (
    Translator,
    check_folder,
    found_at,
    is_backwards,
    translate_folder,
    translated,
)

Label = Sequence[int] | NDArray[np.integer[Any]]


class Exported:
    """A trained network out of an exported folder.

    Attributes:
        description: what the folder says of it.
        net: the network, in evaluation mode: [B, latent_dim], or images to translate, to images [B, C, H, W] in
            [-1, 1], or such images to logits [B].
    """

    def __init__(self, description: Description, net: nn.Module, drawing: Drawing | None, device: torch.device) -> None:
        self.description = description
        self.net = net
        self._drawing = drawing
        self._device = device

    def sample(self, num: Count = 64, seed: Seed = 0, classes: Asked = None) -> GeneratedImages:
        """Draw the images of `gan-sample num=NUM seed=SEED` with the run's own folder, uint8 [num, H, W, C].

        A notebook shows them as a grid.

        Args:
            num: images.
            seed: of the latents.
            classes: what to draw, see `gan_runner.training.asked.drawn_images`.

        Raises:
            UserError: the folder has D, or a generator that translates images, its game draws beside real images, which
                it has none of, or there is no such class.
        """
        if self._drawing is None:
            raise UserError("This exported folder has a discriminator, which draws nothing.", "Use judge(images).")
        if self.description.source_shape is not None:
            raise UserError(
                "This exported folder has a generator that translates images, and draws nothing without them.",
                "Use translate(images).",
            )
        counts, names = self.description.class_counts, self.description.classes
        sampler = Sampler(self._drawing, self.net, _no_examples, seed, self._device, class_counts=counts)
        with too_little_memory_explained("Try fewer images at a time, each with another seed."):
            return drawn_images(sampler, num, classes, names, "This exported folder")

    def translate(self, images: Pixels, direction: Direction | None = None) -> GeneratedImages:
        """Translate images as `gan-translate` does with the run's own folder.

        Args:
            images: uint8 [N, H, W, C] of any size, C being 1, 3 or 4; scaled and cropped as the run's data were.
            direction: AtoB or BtoA, with a generator that draws both ways; None is that of the run's data.

        Returns:
            uint8 [N, H, W, C] at the size of `description.image_shape`. A result depends on its own input only, bit for
            bit.

        Raises:
            UserError: the folder has no generator that translates images, it does not draw in that direction, or the
                images have another type or shape.
        """
        with too_little_memory_explained("Try fewer images at a time."):
            return translated(self._translator(direction), images)

    def translate_folder(
        self, input: str | PathLike[str], output: str | PathLike[str], direction: Direction | None = None
    ) -> int:
        """Translate every image of a folder as `gan-translate` does with the run's own folder.

        Args:
            input: a folder, subfolders included, or one image; of any sizes and formats.
            output: a new or empty folder; the results have the names of their inputs, as PNG.
            direction: see `translate`.

        Returns:
            How many images were written. Those that cannot be read are left out and named in the log.

        Raises:
            UserError: the folder has no generator that translates images, there are no images, or `output` is not
                empty.
        """
        path, found = check_folder(str(output)), found_at(str(input))
        with too_little_memory_explained("Translate on a machine with more memory."):
            return translate_folder(self._translator(direction), found, path)

    def _translator(self, direction: Direction | None) -> Translator:
        source, own = self.description.source_shape, self.description.direction
        if source is None or own is None:
            raise UserError(
                f"This exported folder has a {self.description.what}, which translates no images.",
                "Use judge(images)." if self._drawing is None else "Use sample(num).",
            )
        drawing = self._drawing
        assert drawing is not None, "who translates is a generator"
        both_ways = isinstance(drawing, DrawsBackwards)
        if is_backwards(direction, own, both_ways, "this exported folder has a generator"):
            assert isinstance(drawing, DrawsBackwards)
            drawing, source = drawing.backwards(), self.description.image_shape
        return Translator(Sampler(drawing, self.net, _no_examples, 0, self._device), source)

    def judge(self, images: Pixels, label: Label | None = None) -> NDArray[np.float32]:
        """Give D's logits for images, uint8 [N, H, W, C], above 0 where they look real: [N], or one for each pack.

        Args:
            images: what is judged.
            label: the class of each, [N] in [0, len(description.classes)), for a D that is given it.

        Raises:
            UserError: the folder has G, the images have another shape than D's, or it is given no classes, or too many.
        """
        if self._drawing is not None:
            instead = "sample(num)" if self.description.source_shape is None else "translate(images)"
            raise UserError("This exported folder has a generator, which judges nothing.", f"Use {instead}.")
        channels, height, width = self.description.image_shape
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != (height, width, channels):
            raise UserError(
                f"images are {images.dtype} {list(images.shape)}, but this discriminator judges uint8 "
                f"[N, {height}, {width}, {channels}].",
                "Bring them to that shape, 0 being black and 255 white.",
            )
        given = as_float(torch.tensor(images).permute(0, 3, 1, 2)).to(self._device)
        with torch.no_grad():
            logits: Tensor = self.net(given, *self._classes_given(label, len(images)))
        return logits.float().cpu().numpy()

    def _classes_given(self, label: Label | None, count: int) -> tuple[Tensor, ...]:
        takes, classes = self.description.takes_class, len(self.description.classes)
        if not takes and label is None:
            return ()
        given = np.asarray([] if label is None else label)
        if not takes or given.shape != (count,) or not all(0 <= each < classes for each in given):
            asked = f"the class of each as label: {count} numbers from 0 to {classes - 1}" if takes else "images alone"
            raise UserError(f"This discriminator judges {count} images, and is given {asked}.", "Call it so.")
        return (torch.tensor(given).long().to(self._device),)


def load_exported(path: str | PathLike[str], trust: Sequence[str] | str = (), device: str = "cpu") -> Exported:
    """Load an exported folder, which may come from others: it is data, and never a program.

    Args:
        path: the folder that `gan-export` wrote.
        trust: modules of your own that the folder may name, such as "my_models".
        device: auto, cpu, mps, cuda or cuda:N.

    Raises:
        UserError: it is no such folder, damaged, or asks for what may not be built.
    """
    folder, parts, where = Path(path), trusting(trust), choose_device(device, "device")
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder.", "Export a run into one: gan-export run=DIR output=FOLDER.")
    with only(parts), too_little_memory_explained("Load it where there is more."):
        description = read_description(folder, parts)
        weights_file = folder / description.weights_file
        if not files.is_file(weights_file):
            raise UserError(
                f"{folder} has no file {description.weights_file}, which its {NAME} belongs to.",
                "Restore it, or export the run again.",
            )
        weights = read_weights(weights_file, folder, where)
        try:
            net, drawing = _network(description, weights), _drawing(description, where)
            if description.source_shape is not None and is_ours(description.network):
                check_room_to_draw(net, description.source_shape, where, f"{NAME} in {folder}")
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            if is_want_of_memory(error) or not is_ours(description.network):
                raise
            raise UserError(
                f"{folder} is damaged: its {NAME} and its weights do not go together: {str(error)[:500]}",
                "Restore it, or export the run again.",
            ) from error
    return Exported(description, net.to(where).eval().requires_grad_(False), drawing, where)


def _network(description: Description, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network with its weights, tried out without memory if it is this package's."""
    network, of_game = description.network, description.drawing.get("game", {})
    game = {**of_game, "packing": description.packing, **description.conditioning}
    from_images = description.source_shape is not None
    if description.what == "generator" and from_images != bool(of_game and gives_source(of_game)):
        raise ValueError(f"its game draws {'no ' if from_images else ''}images from images")
    make_it = partial(make_player, description.what, network, "network", game, description.kind)
    if not is_ours(network):
        with torch.random.fork_rng(devices=[]):  # first weights, which are none of the caller's random numbers
            net = make_it()
        net.load_state_dict(dict(weights))
        return net
    with torch.device("meta"):
        untrained = with_weights(make_it, {name: tensor.to("meta") for name, tensor in weights.items()}).eval()
    for name, tensor in untrained.state_dict().items():
        if tensor.dtype != weights[name].dtype:
            raise ValueError(f"{name} is of {weights[name].dtype}")
    given: tuple[int, ...] | None = description.source_shape
    if description.from_latents_alone:
        given = (make_latent(description.drawing["latent"]).dim,)
    if given is not None:
        drawn = untrained(torch.empty(2, *given, device="meta"))
        if drawn.shape != (2, *description.image_shape):
            raise ValueError(f"it draws images of {list(drawn.shape[1:])}")
    return with_weights(make_it, weights)


def _drawing(description: Description, device: torch.device) -> Drawing | None:
    if description.what == "discriminator":
        return None
    return make_drawing(description.drawing, description.kind, device)


def _no_examples(count: int) -> Batch:
    raise UserError(
        "This generator's game draws beside real images, which an exported folder has none of.",
        "Draw with gan-sample run=DIR where the run and its data are.",
    )
