from poolguard.cli.exits import Exit


def test_codes_are_the_documented_ones() -> None:
    assert {code.name: code.value for code in Exit} == {
        "OK": 0,
        "PROBLEM": 1,
        "USAGE": 2,
        "NOT_HELD": 3,
        "CANNOT_RUN": 126,
        "NO_COMMAND": 127,
        "INTERRUPTED": 130,
    }
