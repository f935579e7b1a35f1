"""What a run found: figures, each with the bound that it must keep."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

NO_BOUND: Final = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. *most* and *least*: bounds that it must keep; neither: only told."""

    name: str
    value: float
    unit: str = ""
    most: float | None = NO_BOUND
    least: float | None = NO_BOUND

    @property
    def kept(self) -> bool:
        """Whether it is within its bounds."""
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    def line(self) -> str:
        """In words."""
        bounds = [f"at most {self.most:g}"] if self.most is not None else []
        bounds += [f"at least {self.least:g}"] if self.least is not None else []
        mark = ("  ok " if self.kept else "FAIL ") if bounds else "     "
        value = f"{self.value:,.3f}".rstrip("0").rstrip(".")
        return f"{mark} {self.name}: {value} {self.unit}".rstrip() + (f" ({', '.join(bounds)})" if bounds else "")


@dataclass(slots=True)
class Part:
    """One part of the run."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What went wrong, in words; anything here fails the part."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know to make sense of the figures."""

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.broken and all(figure.kept for figure in self.figures)

    def text(self) -> str:
        """For people."""
        lines = [f"{self.name}: {'passed' if self.passed else 'FAILED'}"]
        lines += [figure.line() for figure in self.figures]
        lines += [f"note  {words}" for words in self.notes]
        lines += [f"FAIL  {words}" for words in self.broken[:_MOST_SHOWN]]
        if len(self.broken) > _MOST_SHOWN:
            lines.append(f"      and {len(self.broken) - _MOST_SHOWN} more")
        return "\n".join(lines)


_MOST_SHOWN: Final = 20


def as_json(parts: Sequence[Part], **about: object) -> str:
    """For programs."""
    found: Mapping[str, object] = {
        **about,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "passed": all(part.passed for part in parts),
        "parts": {
            part.name: {
                "passed": part.passed,
                "broken": part.broken,
                "notes": part.notes,
                "figures": [
                    {
                        "name": figure.name,
                        "value": figure.value,
                        "unit": figure.unit,
                        "most": figure.most,
                        "least": figure.least,
                        "kept": figure.kept,
                    }
                    for figure in part.figures
                ],
            }
            for part in parts
        },
    }
    return json.dumps(found, indent=2)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of *values* lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
