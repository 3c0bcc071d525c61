"""Make the emoji that ship with the package from the npm package emoji-datasource, version 16.0.0.

npm pack emoji-datasource@16.0.0 && tar -xf emoji-datasource-16.0.0.tgz
python -m benchmarks.ship_emoji package

It has the images of Noto Emoji 2.048 (Google, Apache-2.0) on one sheet, and their names in `emoji.json`. Afterwards
`python -m benchmarks.ship_extractor emoji` trains their extractor again.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from gan_runner.data import emoji

_CATEGORIES = {
    "Smileys & Emotion": "smileys",
    "Animals & Nature": "animals",
    "Food & Drink": "food",
    "Travel & Places": "travel",
    "Activities": "activities",
    "Objects": "objects",
    "Symbols": "symbols",
    "Flags": "flags",
}
"""The class of each category; those that are not here, people and what emoji are composed of, are left out."""

_BORDER = 1  # pixel around each picture of the sheet


def ship(package: Path) -> None:
    """Write `emoji.webp`: the images of all classes in Unicode's order, row by row, with transparency."""
    entries = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    kept = [entry for entry in entries if entry["has_img_google"] and entry["category"] in _CATEGORIES]
    kept.sort(key=lambda entry: entry["sort_order"])
    with Image.open(package / f"img/google/sheets/{emoji.SIZE}.png") as picture:
        sheet = np.asarray(picture.convert("RGBA"))
    pitch = emoji.SIZE + 2 * _BORDER
    out = np.zeros((-(-len(kept) // emoji.COLUMNS) * emoji.SIZE, emoji.COLUMNS * emoji.SIZE, 4), np.uint8)
    counts: dict[str, int] = {}
    for place, entry in enumerate(kept):
        top, left = (pitch * entry[axis] + _BORDER for axis in ("sheet_y", "sheet_x"))
        row, column = divmod(place, emoji.COLUMNS)
        cell = out[row * emoji.SIZE :, column * emoji.SIZE :][: emoji.SIZE, : emoji.SIZE]
        cell[:] = sheet[top : top + emoji.SIZE, left : left + emoji.SIZE]
        name = _CATEGORIES[entry["category"]]
        counts[name] = counts.get(name, 0) + 1
    assert counts == emoji.CLASSES, counts  # and in this order
    out[out[..., 3] == 0] = 0  # whatever colour nobody sees
    path = Path(str(resources.files("gan_runner.data").joinpath(emoji.FILE)))
    Image.fromarray(out).save(path, lossless=True, exact=True, quality=100, method=6)
    print(f"{path}: {len(kept):,} pictures, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
