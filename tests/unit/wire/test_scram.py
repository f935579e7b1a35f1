"""The server's side of SCRAM-SHA-256: RFC 7677's vector, and every way to be refused."""

from base64 import b64decode, b64encode

import pytest

from poolguard.core.errors import AuthenticationFailed, ClientViolation, NotSupported, PoolguardError
from poolguard.wire.scram import (
    SCRAM,
    SCRAM_PLUS,
    SaslContinue,
    SaslFinal,
    ScramSecret,
    ScramServer,
    decode_base64,
    is_scram_secret,
    salted_password,
)
from poolguard.wire.scram_client import ChannelBinding, ScramClient, choose_mechanism

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SECRET = ScramSecret.from_password("pencil", salt=SALT)
RFC_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
RFC_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)


def initial(data: bytes, mechanism: str = SCRAM) -> bytes:
    return mechanism.encode() + b"\0" + len(data).to_bytes(4, "big") + data


def server(secret: ScramSecret = SECRET, certificate_hash: bytes | None = None) -> ScramServer:
    return ScramServer(secret, user="user", nonce=RFC_SERVER_NONCE, certificate_hash=certificate_hash)


def test_rfc_7677_vector() -> None:
    login = server()
    assert login.receive(initial(RFC_FIRST)) == SaslContinue(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert login.receive(RFC_FINAL) == SaslFinal(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_a_client_may_send_its_first_message_on_request() -> None:
    login = server()
    assert login.receive(SCRAM.encode() + b"\0\xff\xff\xff\xff") == SaslContinue(b"")
    assert isinstance(login.receive(RFC_FIRST), SaslContinue)
    assert isinstance(login.receive(RFC_FINAL), SaslFinal)


def exchange(
    secret: ScramSecret,
    password: str,
    *,
    server_hash: bytes | None = None,
    client_hash: bytes | None = None,
    offered: tuple[str, ...] | None = None,
) -> None:
    """Both sides of this project against each other."""
    login = server(secret, server_hash)
    mechanisms = login.mechanisms if offered is None else offered
    choice = choose_mechanism(
        mechanisms, tls=client_hash is not None, certificate_hash=client_hash, wish=ChannelBinding.PREFER
    )
    client = ScramClient(choice, nonce="c" * 24)
    reply = login.receive(initial(client.first(), choice.mechanism))
    challenge = client.challenged(reply.payload)
    final = login.receive(client.answer(salted_password(password, challenge.salt, challenge.iterations)))
    assert isinstance(final, SaslFinal)
    client.verify(final.payload)


def test_libpqs_empty_user_name_is_accepted() -> None:
    exchange(SECRET, "pencil")


def test_a_wrong_password_is_refused_by_name() -> None:
    with pytest.raises(AuthenticationFailed, match='password authentication failed for user "user"'):
        exchange(SECRET, "pencils")


def test_an_unknown_user_fails_like_a_wrong_password_with_a_salt_that_stays() -> None:
    mock = ScramSecret.for_unknown_user("nobody", seed=b"s" * 32)
    assert mock == ScramSecret.for_unknown_user("nobody", seed=b"s" * 32)
    assert mock.salt != ScramSecret.for_unknown_user("somebody", seed=b"s" * 32).salt
    assert (len(mock.salt), mock.iterations) == (16, 4096)
    with pytest.raises(AuthenticationFailed, match='password authentication failed for user "user"'):
        exchange(mock, "anything")


def test_a_mock_secret_refuses_even_a_right_proof() -> None:
    real = ScramSecret.from_password("pencil", salt=SALT)
    mock = ScramSecret(real.stored_key, real.server_key, real.salt, real.iterations, mock=True)
    with pytest.raises(AuthenticationFailed):
        exchange(mock, "pencil")


def test_channel_binding_joins_both_ends_of_one_connection() -> None:
    exchange(SECRET, "pencil", server_hash=b"h" * 32, client_hash=b"h" * 32)
    with pytest.raises(AuthenticationFailed, match="channel binding check failed"):
        exchange(SECRET, "pencil", server_hash=b"h" * 32, client_hash=b"x" * 32)


def test_taking_away_the_offer_of_channel_binding_is_noticed() -> None:
    with pytest.raises(AuthenticationFailed, match="negotiation"):
        exchange(SECRET, "pencil", server_hash=b"h" * 32, client_hash=b"h" * 32, offered=(SCRAM,))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", ClientViolation),
        (b"SCRAM-SHA-256", ClientViolation),
        (b"SCRAM-SHA-256\0", ClientViolation),
        (b"SCRAM-SHA-256\0\0\0\0\x63n,,n=,r=x", ClientViolation),
        (initial(RFC_FIRST, "SCRAM-SHA-1"), ClientViolation),
        (initial(RFC_FIRST, SCRAM_PLUS), ClientViolation),
        (initial(b"n"), ClientViolation),
        (initial(b"n,,"), ClientViolation),
        (initial(b"n,,r=x"), ClientViolation),
        (initial(b"n,,n=,r="), ClientViolation),
        (initial(b"x,,n=,r=abc"), ClientViolation),
        (initial(b"p=tls-server-end-point,,n=,r=abc"), ClientViolation),
        (initial(b"n,,n=\xff,r=abc"), ClientViolation),
        (initial(b"n,,n=\0,r=abc"), ClientViolation),
        (initial(b"n,,n=,r=" + b"a" * 1100), ClientViolation),
        (initial(b"n,a=other,n=,r=abc"), NotSupported),
        (initial(b"n,,m=ext,n=,r=abc"), NotSupported),
    ],
)
def test_a_malformed_first_message_is_refused(body: bytes, error: type[PoolguardError]) -> None:
    with pytest.raises(error):
        server().receive(body)


@pytest.mark.parametrize(
    "final",
    [
        b"",
        b"p=",
        RFC_FINAL[:-4] + b"QVQ=",
        RFC_FINAL.replace(b"VQ=", b"VR="),  # decodes to the same bytes, but is another text
        RFC_FINAL.replace(b"p=dHzb", b"p=****"),
        RFC_FINAL.replace(b",p=dHzb", b",p="),
        RFC_FINAL.replace(b"c=biws", b"c=eSws"),
        RFC_FINAL.replace(b"c=biws,", b""),
        RFC_FINAL.replace(b"NlF$k0", b"NlF$k1"),
    ],
)
def test_a_malformed_or_changed_proof_is_refused(final: bytes) -> None:
    login = server()
    login.receive(initial(RFC_FIRST))
    with pytest.raises((AuthenticationFailed, ClientViolation)):
        login.receive(final)


def test_an_exchange_that_has_failed_can_not_be_continued() -> None:
    login = server()
    login.receive(initial(RFC_FIRST))
    with pytest.raises(AuthenticationFailed):
        login.receive(RFC_FINAL.replace(b"p=dHzb", b"p=eHzb"))
    with pytest.raises(ClientViolation):
        login.receive(RFC_FINAL)


def test_secrets_are_read_as_postgresql_writes_them() -> None:
    text = "SCRAM-SHA-256$4096:{}${}:{}".format(
        *(b64encode(part).decode() for part in (SALT, SECRET.stored_key, SECRET.server_key))
    )
    assert is_scram_secret(text)
    assert ScramSecret.parse(text + "\n") == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pencil",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:AAAA",
        "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$many:W22ZaJ0SNY7soEsUEjb6gQ==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4096:$" + "A" * 43 + "=:" + "A" * 43 + "=",
    ],
)
def test_a_bad_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="SCRAM secret") as refused:
        ScramSecret.parse(text)
    assert "W22Z" not in str(refused.value)
    assert "AAAA" not in str(refused.value)


def test_no_secret_shows_in_a_repr() -> None:
    assert repr(SECRET) == "ScramSecret(iterations=4096, mock=False)"


@pytest.mark.parametrize("text", ["A", "AB==", "A===", "A A=", "\u00e9aaa", "QQ==QQ=="])
def test_base64_has_one_form(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_base64(text)
