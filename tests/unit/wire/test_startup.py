"""The first packets (wire cases S1 to S9)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.errors import ClientViolation, InvalidAuthorization, NotSupported, PoolguardError
from poolguard.wire.startup import (
    CancelRequest,
    GssEncRequest,
    SslRequest,
    Startup,
    cancel_request,
    packet_length,
    parse_packet,
    ssl_request,
    startup_packet,
)


def raw_startup(body: bytes, version: int = 3 << 16) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + version.to_bytes(4, "big") + body


def startup_of(body: bytes, version: int = 3 << 16) -> Startup:
    packet = parse_packet(raw_startup(body, version))
    assert isinstance(packet, Startup)
    return packet


def test_encryption_requests() -> None:
    assert parse_packet(ssl_request()) == SslRequest()
    assert parse_packet(bytes.fromhex("0000000804d21630")) == GssEncRequest()


def test_of_two_values_of_one_name_the_one_counts_that_postgresql_goes_by() -> None:
    """It applies `options` before the rest, and names have no case."""
    asked = startup_of(b"user\0u\0DateStyle\0ISO\0options\0-c datestyle=German -c work_mem=1MB\0\0")
    assert asked.given == {"datestyle": "ISO", "work_mem": "1MB"}


@pytest.mark.parametrize("key", [b"1234", b"k" * 32, b"k" * 256])
def test_s6_cancel_keys_of_4_to_256_bytes(key: bytes) -> None:
    assert parse_packet(cancel_request(77, key)) == CancelRequest(77, key)


def test_a_pid_above_the_signed_range_is_read_back_as_it_was_sent() -> None:
    assert parse_packet(cancel_request(-5, b"1234")) == CancelRequest(-5, b"1234")


@pytest.mark.parametrize("key", [b"", b"123", b"k" * 257])
def test_s6_other_cancel_keys_are_refused(key: bytes) -> None:
    with pytest.raises(ClientViolation, match="cancel packet"):
        parse_packet(cancel_request(77, key))


def test_a_startup_holds_its_parameters_in_their_order() -> None:
    packet = startup_of(
        b"user\0app\0database\0shop\0application_name\0web\0DateStyle\0ISO\0options\0-c a=b\0_pq_.x\0y\0\0", 3 << 16 | 2
    )
    assert packet == Startup(
        major=3,
        minor=2,
        user="app",
        database="shop",
        options=(("a", "b"),),
        parameters=(("application_name", "web"), ("DateStyle", "ISO")),
        unknown=("_pq_.x",),
    )


@pytest.mark.parametrize("body", [b"user\0app\0\0", b"user\0app\0database\0\0\0"])
def test_s7_a_missing_database_is_the_users_name(body: bytes) -> None:
    assert startup_of(body).database == "app"


def test_s9_empty_values_are_kept() -> None:
    packet = startup_of(b"user\0app\0application_name\0\0options\0\0\0")
    assert (packet.parameters, packet.options) == ((("application_name", ""),), ())


def test_a_parameter_that_comes_twice_counts_as_it_came_last() -> None:
    assert startup_of(b"user\0a\0x\0001\0user\0b\0x\0002\0\0") == Startup(
        major=3, minor=0, user="b", database="b", parameters=(("x", "2"),)
    )


@pytest.mark.parametrize(("value", "wanted"), [(b"database", "database"), (b"true", "true"), (b"off", ""), (b"", "")])
def test_replication_is_told_apart_from_no_replication(value: bytes, wanted: str) -> None:
    assert startup_of(b"user\0a\0replication\0" + value + b"\0\0").replication == wanted


def test_an_application_name_is_never_refused() -> None:
    assert startup_of(b"user\0a\0application_name\0caf\xe9\0\0").parameters == (("application_name", "caf\\xe9"),)


@pytest.mark.parametrize(
    ("minor", "agreed", "negotiates"), [(0, 0, False), (1, 0, True), (2, 2, False), (3, 2, True), (9999, 2, True)]
)
def test_s5_the_minor_version_is_negotiated(minor: int, agreed: int, negotiates: bool) -> None:
    packet = startup_of(b"user\0a\0\0", 3 << 16 | minor)
    assert (packet.agreed_minor, packet.needs_negotiation) == (agreed, negotiates)
    assert packet.agreed_version == 196608 + agreed


def test_s5_unknown_protocol_options_alone_make_us_negotiate() -> None:
    packet = startup_of(b"user\0a\0_pq_.a\0001\0_pq_.b\0002\0\0")
    assert (packet.needs_negotiation, packet.unknown) == (True, ("_pq_.a", "_pq_.b"))


@pytest.mark.parametrize("length", [0, 4, 7, 10_001, 2**31 - 1, -1, -(2**31)])
def test_s7_lengths_out_of_range_are_refused_before_anything_is_kept(length: int) -> None:
    with pytest.raises(ClientViolation, match=f"invalid length of startup packet: {length} "):
        packet_length(length.to_bytes(4, "big", signed=True))


def test_a_length_is_unknown_until_four_bytes_have_come() -> None:
    assert [packet_length(ssl_request()[:count]) for count in range(6)] == [None, None, None, None, 8, 8]


@pytest.mark.parametrize(("first", "told"), [(b"GET / HTTP/1.1", "listen.control"), (b"\x16\x03\x01\0", "TLS")])
def test_other_protocols_get_a_hint(first: bytes, told: str) -> None:
    with pytest.raises(ClientViolation) as refused:
        packet_length(first)
    assert told in refused.value.hint


@pytest.mark.parametrize(
    ("packet", "error", "text"),
    [
        (raw_startup(b""), ClientViolation, "terminator"),
        (raw_startup(b"user\0app\0"), ClientViolation, "terminator"),
        (raw_startup(b"user\0app"), ClientViolation, "terminator"),
        (raw_startup(b"user\0\0"), ClientViolation, "terminator"),
        (raw_startup(b"user\0app\0\0x\0y\0\0"), ClientViolation, "terminator"),
        (raw_startup(b"user\0app\0\0")[:-1], ClientViolation, "length"),
        (raw_startup(b"user\0app\0\0") + b"\0", ClientViolation, "length"),
        (ssl_request()[:3] + b"\x0a" + ssl_request()[4:] + b"xx", ClientViolation, "encryption request"),
        (raw_startup(b"user\0\xff\0\0"), ClientViolation, "not UTF-8"),
        (raw_startup(b"\xff\0x\0\0"), ClientViolation, "not UTF-8"),
        (raw_startup(b"\0"), InvalidAuthorization, "no PostgreSQL user name specified in startup packet"),
        (raw_startup(b"user\0\0\0"), InvalidAuthorization, "no PostgreSQL user name"),
        (raw_startup(b"user\0a\0\0", 2 << 16), NotSupported, "unsupported frontend protocol 2.0: server supports 3.0"),
        (raw_startup(b"user\0a\0\0", 4 << 16 | 1), NotSupported, "unsupported frontend protocol 4.1"),
        (raw_startup(b"user\0a\0options\0-c a\0\0"), ClientViolation, "invalid options"),
    ],
)
def test_s7_malformed_packets_get_postgresqls_errors(packet: bytes, error: type[PoolguardError], text: str) -> None:
    with pytest.raises(error, match=text):
        parse_packet(packet)


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in {"user", "database", "options", "replication"} and not name.startswith("_pq_.")
)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_what_is_written_is_read_back(parameters: dict[str, str]) -> None:
    packet = parse_packet(startup_packet({"user": "u", **parameters}, minor=2))
    assert isinstance(packet, Startup)
    assert dict(packet.parameters) == parameters


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail_otherwise_than_by_a_clear_error(body: bytes) -> None:
    with contextlib.suppress(PoolguardError):
        assert isinstance(parse_packet(raw_startup(body)), Startup)


@pytest.mark.parametrize("parameters", [{"": "x"}, {"a\0": "x"}, {"a": "x\0y"}, {"a": "x" * 10_000}])
def test_what_can_not_be_sent_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="startup parameter"):
        startup_packet(parameters)
