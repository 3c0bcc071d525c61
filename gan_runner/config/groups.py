"""The config's groups. Building, checking and the comparison on a resume derive from this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A group of the config.

    Attributes:
        name: its key, and its folder in conf/.
        parts: where in it a `_target_` says what to make; "" is the group itself.
        trained: the keys in it that a checkpoint's weights depend on, which a resume may not change; "" is all of it
            that is not incidental.
        optional: whether a choice of it may be empty, and makes nothing.
    """

    name: str
    parts: tuple[str, ...] = ("",)
    trained: tuple[str, ...] = ()
    optional: bool = False

    def keys(self, names: tuple[str, ...]) -> list[str]:
        """Names in the group as dotted keys of the config."""
        return [f"{self.name}.{name}".rstrip(".") for name in names]


GROUPS = (
    Group("data", trained=("",)),  # their fingerprint is looked at besides
    Group("model", parts=("discriminator", "generator"), trained=("",)),
    Group("game", trained=("",)),
    Group("optimizer", parts=("d", "g"), trained=("d._target_", "g._target_")),
    Group("learning_rate", parts=("d", "g")),
    Group("labels", trained=("",)),
    Group("latent", trained=("",)),
    Group("loss", trained=("",)),
    Group("penalty", trained=("",), optional=True),
    Group("augment", trained=("",), optional=True),
    Group("schedule", trained=("_target_", "fixed_set")),
    Group("trainer"),
    Group("health"),
    Group("evaluation", optional=True),
    Group("pruning", optional=True),
    Group("logger"),
)
