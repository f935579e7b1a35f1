"""The table of all settings, as docs/settings.md shows it. A test holds the two together."""

from dataclasses import MISSING
from typing import Final

from poolguard.settings.diff import effect_of
from poolguard.settings.shape import Leaf, kind_words, leaves
from poolguard.settings.words import WORDS
from poolguard.settings.written import written

_HEAD: Final = ("| setting | write | default | on reload | meaning |", "|---|---|---|---|---|")


def markdown() -> str:
    """One table row per setting, a heading per section."""
    lines: list[str] = []
    section = ""
    for leaf in leaves():
        top = leaf.path.partition(".")[0]
        if top != section:
            section = top
            lines += ["", f"### {top}", "", *_HEAD]
        cells = (f"`{leaf.path}`", _write(leaf), _default(leaf), effect_of(leaf.path).value, WORDS[leaf.path])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines[1:]) + "\n"


def _write(leaf: Leaf) -> str:
    return kind_words(leaf.kind) + (" or null" if leaf.nullable else "")


def _default(leaf: Leaf) -> str:
    return "must be given" if leaf.default is MISSING else f"`{written(leaf.kind, leaf.default)}`"
