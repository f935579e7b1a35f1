"""Tables for people, and ages that fit into them."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """*rows* in columns, the first of them as a heading; the last column takes what it needs."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def shortened(text: str, most: int) -> str:
    """*text* on one line with at most *most* characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else line[: most - 3] + "..."
