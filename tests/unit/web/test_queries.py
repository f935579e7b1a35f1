"""Parameters are read strictly."""

import pytest

from poolguard.web.queries import BadRequest, choice, only, page


def test_a_misspelt_parameter_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BadRequest) as raised:
        only({"pol": "app"}, ("pool", "limit"))
    assert raised.value.message == "unknown parameter 'pol'"
    assert raised.value.hint == "There are: limit, pool."


def test_a_page_is_a_hundred_from_the_start_unless_it_is_said() -> None:
    assert page({}) == (100, 0)
    assert page({"limit": "500", "offset": "7"}) == (500, 7)


@pytest.mark.parametrize(
    "query",
    [{"limit": "501"}, {"limit": "-1"}, {"limit": "x"}, {"limit": ""}, {"limit": "²"}, {"offset": "9" * 30}],
)
def test_a_page_that_is_not_a_number_in_range_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        page(query)


def test_a_choice_is_one_of_its_choices() -> None:
    assert choice({}, "state", ("idle",)) is None
    assert choice({"state": "idle"}, "state", ("idle",)) == "idle"
    with pytest.raises(BadRequest) as raised:
        choice({"state": "idel"}, "state", ("idle", "active"))
    assert "active, idle" in raised.value.hint
