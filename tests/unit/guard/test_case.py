"""A case reads statements only when it is asked about them."""

from poolguard.guard.case import Case
from poolguard.guard.traits import Traits
from tests.unit.guard.builders import idle


def test_statements_are_read_once_and_only_when_asked_for() -> None:
    case = Case(idle(1.0, recent=(b"update t set a = 1",), statement=b"update t set a = 1", statements=1))
    assert case.traits.wrote is True
    assert case.traits is case.traits


def test_recorded_traits_stand_instead_of_statements() -> None:
    assert Case(idle(1.0), traits=Traits(wrote=False)).traits == Traits(wrote=False)
