"""Pages in one file, which open from the disk and use no other file, server or network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Mapping, Sequence


def offline_page(
    part: Callable[[str], str],
    template: str,
    *,
    style: str,
    scripts: Sequence[str],
    data: Mapping[str, object],
    fields: Mapping[str, str],
) -> str:
    """Build a page.

    Args:
        part: gives the text of a file by its name.
        template: the file whose {{STYLE}}, {{SCRIPT}}, {{DATA}}, {{POLICY}} and further fields are filled in.
        style: the file of its style.
        scripts: the files of its script, which see each other's names and nobody else's.
        data: what the script reads, as JSON.
        fields: HTML by the name of its field.
    """
    # Within a script element only "<" could end it; JSON takes it as an escape.
    content = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    look = part(style)
    script = "(() => {\n" + "\n".join(map(part, scripts)) + "})();\n"
    # Only this script and this style are allowed on the page.
    policy = f"default-src 'none'; img-src data:; style-src {_hash(look)}; script-src {_hash(script)}"
    filled = {"POLICY": html.escape(policy), "STYLE": look, "DATA": content, "SCRIPT": script, **fields}
    before, *pieces = part(template).split("{{")
    return before + "".join(filled[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces))


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
