"""The login exchange, message by message."""

import contextlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.errors import PoolguardError, ServerViolation, UpstreamRefused, UpstreamUnavailable
from poolguard.upstream.login import Credentials, DeriveKey, Effect, LoggedIn, Login, Send
from poolguard.wire.messages import (
    AUTHENTICATION_OK,
    READY,
    authentication_sasl,
    authentication_sasl_continue,
    authentication_sasl_final,
    backend_key_data,
    error_response,
    message,
    negotiate_protocol_version,
    notice_response,
    parameter_status,
)
from poolguard.wire.scram import SCRAM, SCRAM_PLUS, SaslFinal, ScramSecret, ScramServer, salted_password
from poolguard.wire.scram_client import ChannelBinding
from poolguard.wire.startup import Startup, parse_packet

IDLE = READY[ord("I")]
REST = parameter_status("TimeZone", "UTC") + backend_key_data(7, b"1234") + IDLE
HASH = b"h" * 32


def credentials(
    password: str | None = "secret",
    wish: ChannelBinding = ChannelBinding.PREFER,
    certificate_hash: bytes | None = None,
) -> Credentials:
    return Credentials(
        user="app",
        database="shop",
        password=password,
        channel_binding=wish,
        tls=certificate_hash is not None,
        certificate_hash=certificate_hash,
        nonce="n" * 24,
    )


def login(
    password: str | None = "secret",
    wish: ChannelBinding = ChannelBinding.PREFER,
    certificate_hash: bytes | None = None,
    minor: int = 0,
) -> Login:
    return Login(credentials(password, wish, certificate_hash), {}, minor=minor)


def authentication(code: int, payload: bytes = b"") -> bytes:
    return message(b"R", code.to_bytes(4, "big") + payload)


DONE = LoggedIn(parameters={"TimeZone": "UTC"}, backend_pid=7, cancel_key=b"1234", protocol_minor=0, reported_notices=0)


def test_the_startup_packet_names_user_database_and_the_callers_parameters() -> None:
    packet = parse_packet(Login(credentials(), {"application_name": "x"}, minor=2).start())
    assert packet == Startup(major=3, minor=2, user="app", database="shop", parameters=(("application_name", "x"),))


def test_trust_needs_nothing() -> None:
    assert login(None).receive(AUTHENTICATION_OK + REST) == [DONE]


@given(st.lists(st.integers(0, len(AUTHENTICATION_OK + REST))))
def test_packet_boundaries_do_not_matter(cuts: list[int]) -> None:
    stream, exchange, last = AUTHENTICATION_OK + REST, login(), 0
    effects: list[Effect] = []
    for cut in [*sorted(cuts), len(stream)]:
        effects += exchange.receive(stream[last:cut])
        last = cut
    assert effects == [DONE]


def test_a_password_in_the_clear() -> None:
    exchange = login()
    assert exchange.receive(authentication(3)) == [Send(message(b"p", b"secret\0"))]
    assert exchange.receive(AUTHENTICATION_OK + REST) == [DONE]


def test_md5() -> None:
    # select 'md5' || md5(md5('secretapp') || 'salt')
    assert login().receive(authentication(5, b"salt")) == [
        Send(message(b"p", b"md57f097e06031b34893c20e25a0e68242c\0"))
    ]


def scram(exchange: Login, secret: str = "secret", server_hash: bytes | None = None) -> tuple[Login, bytes]:
    """Go through SCRAM up to the server's proof, which is returned and not fed."""
    server = ScramServer(
        ScramSecret.from_password(secret, salt=b"0123456789abcdef"),
        user="app",
        nonce="s" * 24,
        certificate_hash=server_hash,
    )
    (first,) = exchange.receive(authentication_sasl(server.mechanisms))
    assert isinstance(first, Send)
    (derive,) = exchange.receive(authentication_sasl_continue(server.receive(first.data[5:]).payload))
    assert isinstance(derive, DeriveKey)
    challenge = derive.challenge
    (answer,) = exchange.derived(salted_password("secret", challenge.salt, challenge.iterations))
    assert isinstance(answer, Send)
    final = server.receive(answer.data[5:])
    assert isinstance(final, SaslFinal)
    return exchange, authentication_sasl_final(final.payload)


def test_scram() -> None:
    exchange, final = scram(login())
    assert exchange.receive(final + AUTHENTICATION_OK + REST) == [DONE]


def test_scram_with_channel_binding() -> None:
    exchange, final = scram(login(wish=ChannelBinding.REQUIRE, certificate_hash=HASH), server_hash=HASH)
    assert exchange.receive(final + AUTHENTICATION_OK + REST) == [DONE]


def test_scram_without_the_servers_proof_is_refused() -> None:
    exchange, _ = scram(login())
    with pytest.raises(ServerViolation, match="without proving"):
        exchange.receive(AUTHENTICATION_OK)


def test_scram_cut_short_after_the_first_message_is_refused() -> None:
    exchange = login()
    exchange.receive(authentication_sasl((SCRAM,)))
    with pytest.raises(ServerViolation, match="without proving"):
        exchange.receive(AUTHENTICATION_OK)


def test_a_wrong_proof_of_the_server_is_refused() -> None:
    exchange, _ = scram(login())
    with pytest.raises(ServerViolation, match="could not prove"):
        exchange.receive(authentication_sasl_final(b"v=" + b64encode(b"x" * 32)))


@pytest.mark.parametrize(
    "request_",
    [AUTHENTICATION_OK, authentication(3), authentication(5, b"salt"), authentication_sasl((SCRAM,))],
)
def test_required_channel_binding_refuses_every_other_way(request_: bytes) -> None:
    with pytest.raises(UpstreamUnavailable, match="channel_binding=require"):
        login(wish=ChannelBinding.REQUIRE, certificate_hash=HASH).receive(request_)


@pytest.mark.parametrize(
    "request_", [authentication(3), authentication(5, b"salt"), authentication_sasl((SCRAM, SCRAM_PLUS))]
)
def test_a_missing_password_is_told_with_what_to_do(request_: bytes) -> None:
    with pytest.raises(UpstreamUnavailable, match="none is known") as failed:
        login(None, certificate_hash=HASH).receive(request_)
    assert "password_file" in failed.value.hint


@pytest.mark.parametrize(("code", "name"), [(2, "Kerberos"), (7, "GSSAPI"), (9, "SSPI")])
def test_other_ways_are_named(code: int, name: str) -> None:
    with pytest.raises(UpstreamUnavailable, match=f"asks for {name}"):
        login().receive(authentication(code))


def test_an_error_is_passed_on_with_its_own_sqlstate() -> None:
    with pytest.raises(UpstreamRefused) as refused:
        login().receive(
            error_response("3D000", 'database "shop" does not exist', severity="FATAL", detail="d", hint="h")
        )
    error = refused.value
    assert (error.sqlstate, error.message, error.detail, error.hint) == (
        "3D000",
        'database "shop" does not exist',
        "d",
        "h",
    )


@pytest.mark.parametrize("body", [b"SFATAL\0\0", b"Mtext\0\0", b"Cxx\0Mtext\0\0", b"C12-45\0Mtext\0\0"])
def test_an_error_without_a_sane_sqlstate_gets_08001(body: bytes) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        login().receive(message(b"E", body))
    assert refused.value.sqlstate == "08001"


def test_an_endless_error_of_that_kind_is_cut_off() -> None:
    with pytest.raises(UpstreamUnavailable, match=r"^PostgreSQL could not start a session: x{499}$"):
        login().receive(b"E" + b"x" * 5000)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_postmaster_that_can_not_fork_is_understood(cut: int) -> None:
    old = b"Ecould not fork new process for connection: Cannot allocate memory\n\0"
    exchange = login()
    assert exchange.receive(old[:cut]) == []
    with pytest.raises(UpstreamUnavailable, match=r"fork new process for connection: Cannot allocate memory$"):
        exchange.receive(old[cut:])


def test_s10_notices_do_not_disturb() -> None:
    notice = notice_response("01000", "hello")
    (done,) = login().receive(notice + AUTHENTICATION_OK + notice + REST)
    assert isinstance(done, LoggedIn)
    assert done.reported_notices == 2


@pytest.mark.parametrize("key", [b"k" * 4, b"k" * 32, b"k" * 256])
def test_s6_long_keys(key: bytes) -> None:
    (done,) = login().receive(AUTHENTICATION_OK + backend_key_data(7, key) + IDLE)
    assert isinstance(done, LoggedIn)
    assert done.cancel_key == key


def test_s6_no_key_at_all() -> None:
    (done,) = login().receive(AUTHENTICATION_OK + IDLE)
    assert isinstance(done, LoggedIn)
    assert (done.backend_pid, done.cancel_key) == (0, b"")


def test_a_server_may_choose_an_older_minor_version() -> None:
    (done,) = login(minor=2).receive(negotiate_protocol_version(196608, ()) + AUTHENTICATION_OK + IDLE)
    assert isinstance(done, LoggedIn)
    assert done.protocol_minor == 0


def test_values_that_are_no_utf8_are_kept() -> None:
    raw = message(b"S", b"application_name\0caf\xe9\0")
    (done,) = login().receive(AUTHENTICATION_OK + raw + IDLE)
    assert isinstance(done, LoggedIn)
    assert done.parameters["application_name"].encode("utf-8", "surrogateescape") == b"caf\xe9"


@pytest.mark.parametrize(
    "stream",
    [
        IDLE,
        backend_key_data(7, b"1234"),
        AUTHENTICATION_OK + AUTHENTICATION_OK,
        AUTHENTICATION_OK + READY[ord("T")],
        AUTHENTICATION_OK + message(b"Z"),
        AUTHENTICATION_OK + backend_key_data(7, b"123"),
        AUTHENTICATION_OK + backend_key_data(7, b"k" * 257),
        AUTHENTICATION_OK + backend_key_data(7, b"1234") * 2,
        AUTHENTICATION_OK + message(b"K"),
        AUTHENTICATION_OK + message(b"D", b"\0\0"),
        AUTHENTICATION_OK + message(b"S", b"x\0"),
        AUTHENTICATION_OK + b"".join(parameter_status(f"p{number}", "") for number in range(1001)),
        AUTHENTICATION_OK + negotiate_protocol_version(196608, ()),
        negotiate_protocol_version(196608, ()) * 2,
        negotiate_protocol_version(196610, ()),
        negotiate_protocol_version(196608, ("_pq_.x",)),
        negotiate_protocol_version(131072, ()),
        message(b"v", b"\0"),
        message(b"R"),
        authentication(5, b"sal"),
        authentication(11, b"r=x"),
        authentication(12, b"v=x"),
        authentication(99),
        authentication(3) + authentication(3),
        authentication_sasl((SCRAM_PLUS, SCRAM)),
        b"R\0\0\0\x03",
        b"R\x7f\xff\xff\xff",
        b"R\xff\xff\xff\xff",
    ],
)
def test_nonsense_is_the_servers_fault(stream: bytes) -> None:
    with pytest.raises(ServerViolation):
        login().receive(stream)


@pytest.mark.parametrize("behind", [b"N", notice_response("01000", "x"), IDLE])
def test_a_byte_behind_ready_for_query_is_an_error(behind: bytes) -> None:
    with pytest.raises(ServerViolation, match="behind ReadyForQuery"):
        login().receive(AUTHENTICATION_OK + REST + behind)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_otherwise_than_by_a_clear_error(garbage: bytes) -> None:
    with contextlib.suppress(PoolguardError):
        for effect in login().receive(garbage):
            assert isinstance(effect, Send)


def test_no_secret_shows() -> None:
    assert "secret" not in repr(credentials())
    assert "secret" not in repr(login().receive(authentication(3)))
    assert "1234" not in repr(DONE)
