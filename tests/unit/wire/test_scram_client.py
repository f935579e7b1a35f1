"""The client's side of SCRAM-SHA-256: the choice of a mechanism, RFC 7677's vector, and what a server may not do."""

import pytest

from poolguard.core.errors import ServerViolation, UpstreamUnavailable
from poolguard.wire.scram import SCRAM, SCRAM_PLUS, salted_password
from poolguard.wire.scram_client import ChannelBinding, Choice, ScramClient, choose_mechanism

HASH = b"h" * 32
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def client() -> ScramClient:
    return ScramClient(Choice(SCRAM, "n"), nonce="rOprNGfwEbeRWgbNEkqO", user="user")


def test_rfc_7677_vector() -> None:
    login = client()
    assert login.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    challenge = login.challenged(SERVER_FIRST)
    assert login.answer(salted_password("pencil", challenge.salt, challenge.iterations)) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    login.verify(SERVER_FINAL)


def test_a_user_name_is_escaped() -> None:
    assert ScramClient(Choice(SCRAM, "n"), nonce="x", user="a=b,c").first() == b"n,,n=a=3Db=2Cc,r=x"


BOTH, PLAIN = (SCRAM_PLUS, SCRAM), (SCRAM,)
PREFER, DISABLE, REQUIRE = ChannelBinding.PREFER, ChannelBinding.DISABLE, ChannelBinding.REQUIRE


@pytest.mark.parametrize(
    ("offered", "tls", "certificate_hash", "wish", "choice"),
    [
        (BOTH, True, HASH, PREFER, Choice(SCRAM_PLUS, "p=tls-server-end-point", HASH)),
        (BOTH, True, HASH, REQUIRE, Choice(SCRAM_PLUS, "p=tls-server-end-point", HASH)),
        (BOTH, True, HASH, DISABLE, Choice(SCRAM, "n")),
        (BOTH, True, None, PREFER, Choice(SCRAM, "n")),
        (PLAIN, True, HASH, PREFER, Choice(SCRAM, "y")),
        (PLAIN, True, HASH, DISABLE, Choice(SCRAM, "n")),
        (PLAIN, False, None, PREFER, Choice(SCRAM, "n")),
    ],
)
def test_mechanism_and_flag_follow_rfc_5802_section_6(
    offered: tuple[str, ...], tls: bool, certificate_hash: bytes | None, wish: ChannelBinding, choice: Choice
) -> None:
    assert choose_mechanism(offered, tls=tls, certificate_hash=certificate_hash, wish=wish) == choice


@pytest.mark.parametrize(
    ("offered", "tls", "certificate_hash"), [(PLAIN, True, HASH), (PLAIN, False, None), (BOTH, True, None)]
)
def test_required_channel_binding_is_never_given_up(
    offered: tuple[str, ...], tls: bool, certificate_hash: bytes | None
) -> None:
    with pytest.raises(UpstreamUnavailable, match="channel_binding=require"):
        choose_mechanism(offered, tls=tls, certificate_hash=certificate_hash, wish=REQUIRE)


def test_plus_without_tls_is_a_violation() -> None:
    with pytest.raises(ServerViolation, match="without TLS"):
        choose_mechanism(BOTH, tls=False, certificate_hash=None, wish=PREFER)


def test_unknown_mechanisms_are_named() -> None:
    with pytest.raises(UpstreamUnavailable) as refused:
        choose_mechanism(("OAUTHBEARER",), tls=False, certificate_hash=None, wish=PREFER)
    assert "OAUTHBEARER" in refused.value.detail


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"e=other-error",
        SERVER_FIRST.replace(b"r=r", b"r=s"),  # does not begin with our nonce
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",  # adds nothing to it
        SERVER_FIRST.replace(b"gQ==", b"gQ="),
        SERVER_FIRST.replace(b"4096", b"0"),
        SERVER_FIRST.replace(b"4096", b"-1"),
        SERVER_FIRST.replace(b"4096", b"2147483647"),
        SERVER_FIRST.replace(b"4096", b"9" * 5000),
        SERVER_FIRST.replace(b"r=", b"m=x,r="),
        b"\xff",
    ],
)
def test_a_malformed_challenge_is_the_servers_fault(message: bytes) -> None:
    with pytest.raises(ServerViolation):
        client().challenged(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"v=",
        b"e=invalid-proof",
        b"\xff",
        SERVER_FINAL + b",x=y",
        SERVER_FINAL.replace(b"6", b"7", 1),
        SERVER_FINAL.replace(b"5G4=", b"5G5="),  # decodes to the same bytes
    ],
)
def test_a_server_that_does_not_know_the_password_is_refused(message: bytes) -> None:
    login = client()
    challenge = login.challenged(SERVER_FIRST)
    login.answer(salted_password("pencil", challenge.salt, challenge.iterations))
    with pytest.raises(ServerViolation):
        login.verify(message)


def test_the_data_that_is_bound_to_does_not_show_in_a_repr() -> None:
    assert "hhh" not in repr(Choice(SCRAM_PLUS, "p", HASH))
