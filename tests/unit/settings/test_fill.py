import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.settings.fill import fill

ENVIRON = {"HOST": "db", "EMPTY": "", "ODD": "a${HOST}b$"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${HOST}", "db"),
        ("postgresql://${HOST}:${PORT:-5432}/app", "postgresql://db:5432/app"),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("${MISSING:-}", ""),
        ("$${HOST}", "${HOST}"),
        ("$HOST costs 5$", "$HOST costs 5$"),
        ("${ODD}", "a${HOST}b$"),
    ],
)
def test_variables_are_filled_as_a_shell_would(text: str, value: str) -> None:
    filled = fill(text, ENVIRON)
    assert (filled.value, filled.problems) == (value, ())


def test_an_unset_variable_without_default_is_named() -> None:
    (problem,) = fill("${MISSING}", ENVIRON).problems
    assert problem == "variable MISSING is not set: set it, or write a default as ${MISSING:-default}"


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${HOST", "${HO ST}", "${HOST-x}"])
def test_a_variable_that_is_written_wrongly_is_a_problem(text: str) -> None:
    (problem,) = fill(text, ENVIRON).problems
    assert "write ${NAME}" in problem


@given(st.text(), st.text())
def test_what_a_variable_holds_is_never_looked_at_again(before: str, secret: str) -> None:
    plain = before.replace("$", "")
    assert fill(plain + "${SECRET}", {"SECRET": secret}).value == plain + secret
