"""Tables line up, and a text that holds a line feed stays on its line."""

from poolguard.cli.tables import shortened, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([["ID", "NAME"], ["12345", "a"]]) == "ID     NAME\n12345  a"


def test_a_text_is_cut_to_what_there_is_room_for_and_has_one_line() -> None:
    assert shortened("select\n1\x1b[2J from  t", 40) == "select 1 [2J from t"
    assert shortened("a" * 30, 20) == "a" * 17 + "..."
