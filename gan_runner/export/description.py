"""`config.json` of an exported folder: all that rebuilds the network and says how it draws, in plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gan_runner import files
from gan_runner.building.games import PARTS_OF_A_GAME
from gan_runner.building.parts import Parts
from gan_runner.building.signatures import check_settings
from gan_runner.data.decoding import Channels
from gan_runner.data.image_set import Kind
from gan_runner.data.pairs import Direction
from gan_runner.errors import UserError, is_one_line, shown_key
from gan_runner.games.conditional import Conditioning

NAME = "config.json"
FORMAT = "gan-runner network"
VERSION, VERSION_BY_CLASS, VERSION_FROM_IMAGES = 1, 2, 3
"""Of a folder, of one whose network is given a class, and of one whose network is given an image, which older programs
could not read. A version counts up whenever an older program could not read what is written; a folder of another
version is refused."""

_LARGEST = files.MEGABYTE
_DEEPEST = 40  # levels
_LONGEST = 10_000  # characters of a text
_MOST_PIXELS = 2**14  # in a row or column
_MOST_PACKED = 1000
_MOST_CLASSES = 100_000
_LARGEST_EMBEDDING = 100_000
_MOST_IMAGES = 2**40


@dataclass(frozen=True)
class Description:
    """What an exported folder holds, and how its network is made.

    Attributes:
        what: the player.
        image_shape: channels, height and width.
        classes: names of the data's classes; empty where they had none.
        network: the node that makes the network.
        packing: images that D judges at a time; 1 for G.
        drawing: the nodes that drawing needs, by `PARTS_OF_A_GAME`: of a game that draws from latents alone `latent`,
            else all of them; empty for D.
        facts: what else is told of it, which nothing is made of.
        conditioning: how the network is given the class, as the game's settings of that name and of `embedding_dim`
            have it; {"source_shape": [C, H, W]} where it draws from images; {} for a network that is given neither.
        class_counts: images of each class in the data; None where they had none, or an older program exported it.
        partners: see `Kind`.
        direction: which images G draws from which, by the run's data; None where it draws from latents.
    """

    what: Literal["generator", "discriminator"]
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    network: Mapping[str, Any]
    packing: int
    drawing: Mapping[str, Any]
    facts: Mapping[str, Any]
    conditioning: Mapping[str, Any] = field(default_factory=dict)
    class_counts: tuple[int, ...] | None = None
    partners: bool = True
    direction: Direction | None = None

    def as_json(self) -> str:
        """The text of `config.json`."""
        given = VERSION_BY_CLASS if self.conditioning else VERSION
        version = given if self.source_shape is None else VERSION_FROM_IMAGES
        return json.dumps({"format": FORMAT, "format_version": version, **asdict(self)}, indent=2) + "\n"

    @property
    def kind(self) -> Kind:
        """The kind of images that the network is for."""
        return Kind(self.image_shape, self.classes, self.source_shape, self.partners)

    @property
    def weights_file(self) -> str:
        """The file of the weights."""
        return f"{self.what}.safetensors"

    @property
    def takes_class(self) -> bool:
        """Whether the network is given a class besides."""
        return "conditioning" in self.conditioning

    @property
    def source_shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of the images that G draws from; None where it draws from latents."""
        shape = self.conditioning.get("source_shape")
        return None if shape is None else (shape[0], shape[1], shape[2])

    @property
    def from_latents_alone(self) -> bool:
        """Whether G draws from latents and nothing else."""
        return self.what == "generator" and "game" not in self.drawing


def read_description(folder: Path, parts: Parts) -> Description:
    """Read the description of a folder that may come from others; nothing is made of it yet.

    Args:
        folder: the exported one.
        parts: what it may ask to build.

    Raises:
        UserError: it is no such folder, damaged, of another version, or asks for what may not be built.
    """
    path = folder / NAME
    try:
        tree = json.loads(files.read(path, _LARGEST, below=folder).decode(), object_pairs_hook=_without_doubles)
        _check_tree(tree, ())
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            raise ValueError(f"it does not say that its format is {FORMAT}")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{folder} is no exported folder: {path} cannot be read: {' '.join(str(error).split())[:300]}",
            "Export a run into one: gan-export run=DIR output=FOLDER.",
        ) from error
    if tree.get("format_version") not in (VERSION, VERSION_BY_CLASS, VERSION_FROM_IMAGES):
        raise UserError(
            f"{folder} was exported with format version {tree.get('format_version')!r:.40}, where this version of "
            f"gan-runner reads {VERSION} to {VERSION_FROM_IMAGES}.",
            "Load it with the version of gan-runner that exported it, or export the run again.",
        )
    description = _checked(folder, tree)
    asking = f"{folder} is an exported folder, but its {NAME}"
    parts.hold(dict(description.network), "model", ("network",), asking)
    check_settings(description.network, "network", asking)
    for group, node in description.drawing.items():
        parts.hold(node, group, ("drawing", group), asking)
        check_settings(node, f"drawing.{group}", asking)
    return description


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("it has the same key twice")
    return made


def _check_tree(tree: Any, path: tuple[Any, ...]) -> None:
    """Refuse what nests too deep, and texts that are too long or would print lines of their own."""
    if len(path) > _DEEPEST:
        raise ValueError(f"it nests deeper than {_DEEPEST} levels")
    texts = [*(tree if isinstance(tree, dict) else ()), *([tree] if isinstance(tree, str) else ())]
    if not all(is_one_line(text) and len(text) <= _LONGEST for text in texts):
        raise ValueError(f"{shown_key(path)} is more than one line of text, or a very long one")
    for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        _check_tree(inner, (*path, key))


def _checked(folder: Path, tree: Mapping[str, Any]) -> Description:
    """The description, each key of which is of its kind."""
    shape, classes, drawing = tree.get("image_shape"), tree.get("classes"), tree.get("drawing")
    right = {
        "what": tree.get("what") in ("generator", "discriminator"),
        "image_shape": isinstance(shape, list) and len(shape) == 3 and all(_is_count(n, _MOST_PIXELS) for n in shape),
        "classes": isinstance(classes, list)
        and len(classes) <= _MOST_CLASSES
        and all(isinstance(name, str) for name in classes),
        "network": _is_node(tree.get("network")),
        "packing": _is_count(tree.get("packing"), _MOST_PACKED),
        "drawing": isinstance(drawing, dict) and _are_parts(drawing, tree.get("what")),
        "facts": isinstance(tree.get("facts"), dict),
        "conditioning": _is_conditioning(tree.get("conditioning", {}), tree),
        "class_counts": _are_counts(tree.get("class_counts"), classes),
        "partners": isinstance(tree.get("partners", True), bool),
        "direction": tree.get("direction") in (None, *get_args(Direction)),
    }
    for key, holds in right.items():
        if not holds:
            raise UserError(
                f"{folder} is no exported folder that can be loaded: {key} in its {NAME} is missing, or not as "
                "gan-export writes it.",
                "Export the run again, or restore that file.",
            )
    assert isinstance(shape, list)
    assert isinstance(classes, list)
    return Description(
        what=tree["what"],
        image_shape=(shape[0], shape[1], shape[2]),
        classes=tuple(classes),
        network=tree["network"],
        packing=tree["packing"],
        drawing=tree["drawing"],
        facts=tree["facts"],
        conditioning=tree.get("conditioning", {}),
        class_counts=None if tree.get("class_counts") is None else tuple(tree["class_counts"]),
        partners=tree.get("partners", True),
        direction=tree.get("direction"),
    )


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _is_node(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("_target_"), str)


def _is_conditioning(value: object, tree: Mapping[str, Any]) -> bool:
    """Whether this says how a network is given nothing besides, the class, or an image as large as those it draws."""
    if not isinstance(value, dict) or not value:
        return value == {}
    if value.keys() == {"source_shape"}:
        shape = tree.get("image_shape")
        sides = shape[1:] if isinstance(shape, list) else []
        translates = tree.get("what") == "generator" and tree.get("direction") is not None
        return translates and value["source_shape"] in ([channels, *sides] for channels in get_args(Channels))
    return (
        bool(tree.get("classes"))
        and value.keys() == {"conditioning", "embedding_dim"}
        and value["conditioning"] in get_args(Conditioning)
        and _is_count(value["embedding_dim"], _LARGEST_EMBEDDING)
    )


def _are_counts(value: object, classes: object) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, list)
        and isinstance(classes, list)
        and len(value) == len(classes)
        and all(count == 0 or _is_count(count, _MOST_IMAGES) for count in value)
        and any(value)
    )


def _are_parts(drawing: Mapping[str, Any], what: object) -> bool:
    """Whether these are the nodes that a player's drawing needs; those of penalty and augment may be empty."""
    if what == "discriminator":
        return not drawing
    needed = PARTS_OF_A_GAME if "game" in drawing else ("latent",)
    return set(drawing) == set(needed) and all(
        _is_node(node) or (name in ("penalty", "augment", "labels") and node == {}) for name, node in drawing.items()
    )
