"""The model card of an exported folder: a `README.md` in the form that model hubs read."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_runner.errors import printable
from gan_runner.export.description import Description

GRID = "grid.png"
_MOST = 100  # numbers
_LONGEST = 200  # characters of a text that a run's folder tells


@dataclass(frozen=True)
class Measured:
    """What was measured of the exported weights.

    Attributes:
        rows: name, value, and beside it that of real images and of noise, and which end is good; None where unknown.
        said: what it was measured of, in words.
    """

    rows: list[tuple[str, float, float | None, float | None, str | None]]
    said: str


def measured(evaluation: Mapping[str, Any], summary: Mapping[str, Any], description: Description) -> Measured:
    """The numbers of a checkpoint, from what its run's folder tells, which is data and may be anything.

    Args:
        evaluation: what `gan-eval` wrote of the checkpoint; {} where there is nothing.
        summary: the run's `summary.json`.
        description: of what is exported.
    """
    iteration = description.facts["iteration"]
    real, noise = _mapping(_mapping(summary, "real"), "metrics"), _mapping(summary, "noise")
    name = str(summary.get("objective_name"))
    better: Mapping[str, Any] = {name: summary.get("goal")}
    best = _mapping(summary, "best")
    numbers: Mapping[str, Any] = {name: best.get("value")} if best.get("iteration") == iteration else {}
    said = "As the run measured it; `gan-eval` measures more, and noise beside it."
    if evaluation.get("iteration") == iteration:
        numbers, real, noise, better = (_mapping(evaluation, key) for key in ("metrics", "real", "noise", "better"))
        said = f"By `gan-eval`, of {_count(evaluation.get('count'))} generated images."
    elif summary.get("iterations") == iteration:
        numbers = _mapping(summary, "metrics")
    rows = [
        (name, value, _number(real.get(name)), _number(noise.get(name)), better.get(name))
        for name, number in list(numbers.items())[:_MOST]
        if (value := _number(number)) is not None
    ]
    return Measured(rows, said if rows else "Nothing was measured of these weights.")


def card(description: Description, numbers: Measured, folder: str, cells: Sequence[str] | None) -> str:
    """The card's text, in Markdown.

    Args:
        description: of what is exported.
        numbers: what was measured of it.
        folder: the exported folder's name, for the lines to copy.
        cells: what the cells of its grid show that belong to one image; None where there is no grid.
    """
    task, makes, maps = _use(description)
    return "\n".join(
        [
            "---",
            "# What others may do with these weights is yours to say: name a licence, and put its text into LICENSE.",
            "license: unknown",
            "library_name: gan-runner",
            *([f"pipeline_tag: {task}"] if task else []),
            "tags:",
            "- gan",
            "- gan-runner",
            "- pytorch",
            *(["- image-generation"] if task else []),
            "---",
            "",
            f"# {_title(description)}",
            "",
            *([] if cells is None else [f"![{_caption(cells)}]({GRID})", ""]),
            *_facts(description),
            "",
            "## Numbers",
            "",
            *_table(numbers),
            numbers.said,
            "",
            "## Use",
            "",
            "`pip install` gan-runner; then, in Python:",
            "",
            "```python",
            "from gan_runner.export import load_exported",
            "",
            f"network = load_exported({folder!r}{_trust(description)})",
            makes,
            f"network.net  # the torch.nn.Module: {maps}",
            "```",
            "",
            f"`config.json` says how the network is made, `{description.weights_file}` has its weights: no program.",
            "",
            "## Licence",
            "",
            "gan-runner does not license these weights: whoever trained them says what others may do with them, as far "
            "as the images allow that they were trained on.",
            "",
            "## To a hub",
            "",
            "```text",
            f"hf upload NAME/{_word(folder)} {_word(folder)}",
            "```",
            "",
        ]
    )


def _use(description: Description) -> tuple[str | None, str, str]:
    """A hub's name of the task, a line of Python that calls the network, and what the module maps to what."""
    if description.what == "discriminator":
        judges = "logits = network.judge(images)  # uint8 [N, H, W, C] to float32 [N]: above 0 looks real"
        return None, judges, "images in [-1, 1] to logits"
    if description.source_shape is None:
        draws = "images = network.sample(64, seed=0)  # uint8 [N, H, W, C]"
        return "unconditional-image-generation", draws, "latents [N, latent_dim] to images in [-1, 1]"
    translates = "images = network.translate(sources)  # uint8 [N, H, W, C], sources of any size"
    return "image-to-image", translates, "sources [N, C, H, W] in [-1, 1] to images likewise"


def _caption(cells: Sequence[str]) -> str:
    return f"From the left: {', '.join(cells)}" if cells else "Images that it draws"


def _title(description: Description) -> str:
    player = {"generator": "Generator", "discriminator": "Discriminator"}[description.what]
    return f"{player} of a GAN, trained on {_text(_mapping(description.facts, 'data').get('name'))}"


def _facts(description: Description) -> list[str]:
    facts = description.facts
    data = _mapping(facts, "data")
    channels, height, width = description.image_shape
    weights = (
        "the moving average of the generator's weights" if facts.get("averaged") else "the weights of the last update"
    )
    if facts.get("statistics_of"):
        weights += f", with batch norm's statistics taken of {facts['statistics_of']:,} of its own images"
    source = description.source_shape
    latent = description.drawing.get("latent") if source is None else None
    rows = [
        ("Network", _code(description.network["_target_"])),
        ("Images", f"{height}x{width}, {_channels(channels)}"),
        *([("Drawn from", f"images of that size, {_channels(source[0])}")] if source is not None else []),
        *([("Latent", _described(latent))] if latent else []),
        ("Weights", f"{weights}; {_count(facts.get('parameters'))} parameters"),
        (
            "Trained on",
            f"{_text(data.get('name'))}, {_count(data.get('count'))} images, fingerprint "
            f"{_code(data.get('fingerprint'))}",
        ),
        *([("Classes", f"{len(description.classes)}")] if description.classes else []),
        ("Trained for", f"{_count(facts.get('iteration'))} iterations, {_count(facts.get('images'))} images shown"),
        ("Checkpoint", f"{_text(facts.get('checkpoint'))}, seed {_text(facts.get('seed'))}"),
        ("Made with", f"gan-runner {_text(facts.get('gan_runner'))}, PyTorch {_text(facts.get('torch'))}"),
    ]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _channels(count: int) -> str:
    return "grey" if count == 1 else f"{count} channels"


def _table(numbers: Measured) -> list[str]:
    if not numbers.rows:
        return []
    head = ["| number | these images | real images | noise | better |", "|---|---|---|---|---|"]
    rows = [
        f"| {_text(name)} | {_short(value)} | {_short(real)} | {_short(noise)} | {_text(better or '')} |"
        for name, value, real, noise, better in numbers.rows
    ]
    return [*head, *rows, ""]


def _described(node: Mapping[str, Any]) -> str:
    """A node as a call, such as gan_runner.objectives.latents.Normal(dim=100, std=1.0)."""
    settings = ", ".join(f"{key}={value}" for key, value in node.items() if key != "_target_")
    return _code(f"{node['_target_']}({settings})")


def _trust(description: Description) -> str:
    own = sorted({name.partition(".")[0] for name in _targets([description.network, *description.drawing.values()])})
    theirs = [name for name in own if name not in ("gan_runner", "torch")]
    return f", trust={theirs!r}" if theirs else ""


def _targets(tree: object) -> list[str]:
    if isinstance(tree, Mapping):
        own = [str(tree["_target_"])] if "_target_" in tree else []
        return own + [name for inner in tree.values() for name in _targets(inner)]
    return [name for inner in tree for name in _targets(inner)] if isinstance(tree, list) else []


def _mapping(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = tree.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100:
        return float(value)
    return None


def _count(value: object) -> str:
    return f"{value:,}" if type(value) is int and abs(value) < 10**15 else "an unknown number of"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _text(value: object) -> str:
    """A text that a run's folder tells, in Markdown as the characters that it has."""
    shown = html.escape(printable(value)[:_LONGEST], quote=False)
    return "".join(f"\\{character}" if character in "|`*[]\\~#" else character for character in shown)


def _code(value: object) -> str:
    """The same as code."""
    return "`" + printable(value)[:_LONGEST].replace("`", "'").replace("|", "\\|") + "`"


def _word(text: str) -> str:
    return "".join(character if character.isalnum() or character in "-_." else "-" for character in text)
