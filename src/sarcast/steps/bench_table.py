"""Tables of a bench: plain values in, text for people, Markdown or JSON out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np

from sarcast.values import Estimate

Cell = str | int | float | Estimate | None
"""None shows as a dash: it cannot be had, or means nothing here."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: a title, names of columns, and rows of as many cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """What a reader must know, under the title."""
    signed: frozenset[str] = frozenset()
    """Columns of differences: shown with their sign."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a bench found."""

    title: str
    about: tuple[str, ...]
    """How it was found: settings, seeds, what was left out; one paragraph each."""
    tables: tuple[Table, ...]


def as_markdown(report: Report) -> str:
    """The report as Markdown."""
    parts = [f"# {report.title}", *report.about]
    for table in report.tables:
        parts += [f"## {table.title}", *([table.note] if table.note else [])]
        lines = [table.columns, ("---",) * len(table.columns), *_shown(table)]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def as_plain(report: Report) -> str:
    """The report for a terminal: columns aligned."""
    parts = [report.title, *report.about]
    for table in report.tables:
        lines = [table.columns, *_shown(table)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(table.columns))]
        shown = "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
        parts.append("\n".join([table.title, *([table.note] if table.note else []), shown]))
    return "\n\n".join(parts)


def as_values(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; what is not a number is null."""
    return {
        "title": report.title,
        "about": list(report.about),
        "tables": [
            {
                "title": table.title,
                "note": table.note,
                "rows": [
                    dict(zip(table.columns, (_plain(cell) for cell in row), strict=True))
                    for row in table.rows
                ],
            }
            for table in report.tables
        ],
    }


def _shown(table: Table) -> list[tuple[str, ...]]:
    return [
        tuple(_show(cell, column in table.signed) for column, cell in zip(table.columns, row, strict=True))
        for row in table.rows
    ]


def _show(cell: Cell, signed: bool) -> str:
    if cell is None or (isinstance(cell, float) and not np.isfinite(cell)):
        return "–"
    if isinstance(cell, Estimate):
        values: Sequence[float] = (cell.value, cell.low, cell.high)
        value, low, high = (_number(v, signed) for v in values)
        return f"{value} [{low}, {high}]" if np.isfinite(cell.low) else f"{value} [too few]"
    return _number(cell, signed) if isinstance(cell, float) else str(cell)


def _number(value: float, signed: bool) -> str:
    if value and abs(value) < 0.01 and not signed:
        return f"{value:.2g}" if abs(value) >= 1e-4 else f"{value:.0e}"
    if signed:
        return f"{value:+.3f}"
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def _plain(cell: Any) -> Any:
    if is_dataclass(cell) and not isinstance(cell, type):
        return {name: _plain(value) for name, value in asdict(cell).items()}
    if isinstance(cell, float):
        return float(cell) if np.isfinite(cell) else None
    return cell
