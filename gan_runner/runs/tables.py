"""Tables: pandas DataFrames if pandas is installed."""

from __future__ import annotations

from typing import Any


def as_table(rows: list[dict[str, Any]]) -> Any:
    """Rows as a pandas DataFrame if pandas is installed, otherwise unchanged."""
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows)
