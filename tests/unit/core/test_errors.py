import inspect
import re

import pytest

from poolguard.core import errors
from poolguard.core.errors import PoolguardError

CLASSES = sorted(
    (kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PoolguardError)),
    key=lambda kind: kind.__name__,
)
CLASS_OF_SQLSTATE = {"00", "01", "02", "08", "0A", "22", "25", "28", "3D", "42", "53", "55", "57", "58", "F0", "XX"}
"""Classes of PostgreSQL docs, Appendix A (PostgreSQL Error Codes), that poolguard answers with."""


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_sqlstate_that_clients_can_know(kind: type[PoolguardError]) -> None:
    assert re.fullmatch(r"[0-9A-Z]{5}", kind.sqlstate)
    assert kind.sqlstate[:2] in CLASS_OF_SQLSTATE - {"00", "01"}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_an_http_status_and_a_code(kind: type[PoolguardError]) -> None:
    assert 400 <= kind.http_status <= 599
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)


def test_no_two_errors_share_a_code_unless_one_is_the_other() -> None:
    for first in CLASSES:
        for second in CLASSES:
            related = issubclass(first, second) or issubclass(second, first)
            assert related or first.code != second.code, (first, second)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_says_what_it_means(kind: type[PoolguardError]) -> None:
    assert kind.__doc__
    assert kind.__doc__ != PoolguardError.__doc__ or kind is PoolguardError


def test_message_detail_and_hint_are_kept_apart() -> None:
    error = errors.PoolExhausted("no server", detail="held by", hint="raise size")
    assert (str(error), error.message, error.detail, error.hint) == ("no server", "no server", "held by", "raise size")
