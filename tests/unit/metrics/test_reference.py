"""docs/metrics.md is what the catalogue says."""

from pathlib import Path

from poolguard.metrics.catalogue import CATALOGUE
from poolguard.metrics.reference import page

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_in_docs_is_the_catalogue() -> None:
    """Mend it by `python -m poolguard.metrics.reference > docs/metrics.md`."""
    assert DOCS.read_text(encoding="utf-8") == page()


def test_every_metric_has_its_row() -> None:
    for metric in CATALOGUE:
        assert f"\n| `{metric.name}` | {metric.kind.value} |" in page()


def test_queries_on_the_page_name_metrics_that_there_are() -> None:
    import re

    names = {metric.name for metric in CATALOGUE}
    used = set(re.findall(r"poolguard_[a-z_]+", page().partition("## Questions")[2]))

    assert {name.removesuffix("_bucket") for name in used} <= names
