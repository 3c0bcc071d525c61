"""Which overrides usually help, given a run's settings.

A setting that lies outside of its usual range is named before anything else, with a value from within it; and no advice
leads out of that range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gan_runner.errors import UserError
from gan_runner.machine.shell import quoted
from gan_runner.trees import values

# The running config by dotted key, as `flatten` gives it.
Settings = Mapping[str, Any]

# A key that both of two others follow, unless they are set.
_SHARED = {"optimizer.lr": ("optimizer.d.lr", "optimizer.g.lr")}


class Usual:
    """In which range settings usually lie.

    Args:
        ranges: nested as the config is; each leaf is [lowest, highest, a value to try], or null where none is known.

    Raises:
        UserError: a leaf is something else.
    """

    def __init__(self, ranges: Mapping[str, Any]) -> None:
        self._ranges = {key: value for key, value in values(ranges).items() if value is not None}
        for key, value in self._ranges.items():
            if not (isinstance(value, Sequence) and len(value) == 3 and all(map(_is_number, value))):
                raise UserError(
                    f"health.usual.{key} is {value}, but must be a list of three numbers: the lowest and the highest "
                    "usual value, and one to try.",
                    f"Try {quoted(f'health.usual.{key}=[0,1,0.5]')}, or null where no range is known.",
                )

    def allows(self, key: str, value: float) -> bool:
        """Whether a value is usual; what no range is known of always is."""
        lowest, highest, _ = self._ranges.get(key, (value, value, value))
        return bool(lowest <= value <= highest)

    def departures(self, settings: Settings) -> dict[str, float]:
        """The settings that are unusual, with a value to try; a shared one where both that follow it are."""
        found = {
            key: value
            for key, (lowest, highest, value) in self._ranges.items()
            if _is_number(settings.get(key)) and not lowest <= settings[key] <= highest
        }
        for shared, followers in _SHARED.items():
            if all(key in found and settings[key] == settings.get(shared) for key in followers):
                tried = [found.pop(key) for key in followers]
                found[shared] = tried[0]
        return found


# Makes an override of what is set; "" where it would change nothing, or nothing for the better.
Help = Callable[[Settings, Usual], str]


def advise(helps: Sequence[Help], settings: Settings, usual: Usual) -> str:
    """Put into words what to change: first what is unusual, then what usually helps against a symptom.

    Returns:
        A few sentences; "" where there is nothing to say.
    """
    said = [sentence] if (sentence := unusual(settings, usual)) else []
    others = [override for help_ in helps if (override := help_(settings, usual))]
    if others:
        said.append(f"Try one of these: {'  '.join(others)}")
    return " ".join(said)


def unusual(settings: Settings, usual: Usual) -> str:
    """Name the settings with unusual values, with one to try; "" if there are none."""
    departures = usual.departures(settings)
    if not departures:
        return ""
    now = ", ".join(f"{key} is {_as_typed(settings[key])}" for key in departures)
    return f"Unusual: {now}. Try: {'  '.join(_override(key, value) for key, value in departures.items())}."


def _override(key: str, value: float) -> str:
    return f"{key}={_as_typed(value)}"


def _as_typed(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---- one override each ----------------------------------------------------------------------------------


def _changed(key: str, better: Callable[[float], float]) -> Help:
    """Set a number to a better one, where there is such a key, it is usual, and the better one is usual too."""

    def override(settings: Settings, usual: Usual) -> str:
        now = settings.get(key)
        if not isinstance(now, int | float) or not usual.allows(key, now):
            return ""
        value = better(now)
        return _override(key, value) if value != now and usual.allows(key, value) else ""

    return override


def _times(key: str, factor: float) -> Help:
    return _changed(key, lambda now: now * factor)


slower_d = _times("optimizer.d.lr", 0.5)
slower_g = _times("optimizer.g.lr", 0.5)
faster_d = _times("optimizer.d.lr", 2)
faster_g = _times("optimizer.g.lr", 2)
more_d_steps = _times("schedule.d_steps", 2)
larger_batch = _times("trainer.batch_size", 2)
less_dropout = _changed("model.dropout", lambda now: min(now, 0.1))
less_cycle = _times("game.cycle_weight", 0.5)
more_cycle = _times("game.cycle_weight", 2)
less_identity = _changed("game.identity_weight", lambda now: 0.0)
another_seed = _changed("seed", lambda now: now + 1)


def more_dropout(settings: Settings, usual: Usual) -> str:
    """More dropout, unless a finite-difference penalty would take its randomness for a gradient."""
    if "FiniteDifference" in settings.values():
        return ""
    return _changed("model.dropout", lambda now: max(now, 0.5))(settings, usual)


def full_precision(settings: Settings, usual: Usual) -> str:
    """Float32 throughout."""
    return "" if settings["trainer.precision"] == "fp32" else "trainer.precision=fp32"


def nonsaturating(settings: Settings, usual: Usual) -> str:
    """The loss whose gradient does not vanish, instead of the one whose gradient does."""
    return "loss=nonsaturating" if settings["loss"] == "Minimax" else ""


def smooth_labels(settings: Settings, usual: Usual) -> str:
    """One-sided smoothing, where labels are hard."""
    return "labels=smooth" if settings.get("labels.real.value") == 1 else ""


def hard_labels(settings: Settings, usual: Usual) -> str:
    """Labels of 1 and 0, where they are drawn."""
    return "labels=hard" if settings.get("labels.real", "Exactly") != "Exactly" else ""


def penalty(settings: Settings, usual: Usual) -> str:
    """A penalty on D's gradient norm, where there is none."""
    return "" if "penalty" in settings else "penalty=r1"


def projection(settings: Settings, usual: Usual) -> str:
    """Give D the class by projection, where it is given it in another way."""
    return "" if settings.get("game.conditioning", "projection") == "projection" else "game.conditioning=projection"


def average(settings: Settings, usual: Usual) -> str:
    """Images from a moving average of G, where there is none."""
    kept = (settings.get(key, "null") for key in ("trainer.ema", "trainer.ema_half_life"))
    return "trainer.ema=0.999" if all(each == "null" for each in kept) else ""


def decay(settings: Settings, usual: Usual) -> str:
    """A learning rate that falls to 0, if it is constant."""
    return "learning_rate=linear" if settings.get("learning_rate.d") == "Constant" else ""
