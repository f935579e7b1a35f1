import pytest

from poolguard.console.requests import Bind, read_bind, read_execute, read_named, read_parse, read_query
from poolguard.core.errors import ClientViolation


def test_a_query() -> None:
    assert read_query(b"SHOW POOLS\0") == "SHOW POOLS"
    assert read_query(b"\xff\0") == "\ufffd"


def test_a_parse_with_and_without_types() -> None:
    assert read_parse(b"s1\0SHOW POOLS\0\0\0") == ("s1", "SHOW POOLS")
    assert read_parse(b"\0SHOW POOLS\0\0\1\0\0\0\x19") == ("", "SHOW POOLS")


def test_a_bind_with_formats_of_parameters_that_there_are_not() -> None:
    assert read_bind(b"p\0s\0\0\1\0\1\0\0\0\1\0\1") == Bind("p", "s", (1,))


def test_a_bind_with_parameters_is_08P01() -> None:  # noqa: N802 - a SQLSTATE
    with pytest.raises(ClientViolation, match="supplies 1 parameters") as raised:
        read_bind(b"\0\0\0\0\0\1\0\0\0\1a\0\0")
    assert raised.value.sqlstate == "08P01"


@pytest.mark.parametrize(("formats", "meant"), [((), (0, 0)), ((1,), (1, 1)), ((1, 0), (1, 0))])
def test_formats_are_for_none_for_all_or_for_each(formats: tuple[int, ...], meant: tuple[int, ...]) -> None:
    assert Bind("", "", formats).formats_of(2) == meant


def test_formats_for_another_number_of_columns_are_refused() -> None:
    with pytest.raises(ClientViolation, match="2 result formats"):
        Bind("", "", (0, 1)).formats_of(3)


def test_one_format_for_no_column_is_passed_over() -> None:
    assert Bind("", "", (1,)).formats_of(0) == ()


def test_describe_and_close_name_a_portal_or_a_statement() -> None:
    assert (read_named(b"Pa\0"), read_named(b"S\0")) == ((True, "a"), (False, ""))


def test_an_execute() -> None:
    assert read_execute(b"p\0\0\0\0\7") == ("p", 7)


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (read_query, b"SHOW POOLS"),
        (read_query, b"a\0b"),
        (read_parse, b"s\0"),
        (read_parse, b"s\0a\0\0\1"),
        (read_parse, b"s\0a\0\0\0\0"),
        (read_bind, b""),
        (read_bind, b"\0\0\0\0\0\0\0\1"),
        (read_bind, b"\0\0\0\0\0\0\0\1\0\2"),
        (read_bind, b"\0\0\0\0\0\0\xff\xff"),
        (read_named, b""),
        (read_named, b"X\0"),
        (read_named, b"P"),
        (read_execute, b"\0\0\0"),
        (read_execute, b"\0\0\0\0\0\0"),
    ],
)
def test_a_malformed_body_is_08P01(read: object, body: bytes) -> None:  # noqa: N802 - a SQLSTATE
    assert callable(read)
    with pytest.raises(ClientViolation) as raised:
        read(body)
    assert raised.value.sqlstate == "08P01"
