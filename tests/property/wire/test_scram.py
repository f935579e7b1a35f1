"""SCRAM as a whole: what fits always passes, and one changed byte anywhere never does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from poolguard.core.errors import PoolguardError
from poolguard.wire.scram import SCRAM, SCRAM_PLUS, SaslFinal, ScramSecret, ScramServer, salted_password
from poolguard.wire.scram_client import Choice, ScramClient

NONCES = st.text("abcdefghijklmnopqrstuvwxyz0123456789+/", min_size=18, max_size=24)
BINDINGS = st.none() | st.binary(min_size=32, max_size=64)


def run(
    known: str, given_password: str, nonces: tuple[str, str], binding: bytes | None, flip: tuple[int, int, int] | None
) -> bool:
    """Log in; *flip* changes byte `[1]` of message `[0]` by the bits `[2]`. True if both sides are content."""
    secret = ScramSecret.from_password(known, salt=b"0123456789abcdef", iterations=2)
    server = ScramServer(secret, user="u", nonce=nonces[0], certificate_hash=binding)
    mechanism = SCRAM if binding is None else SCRAM_PLUS
    choice = Choice(mechanism, "n") if binding is None else Choice(mechanism, "p=tls-server-end-point", binding)
    client = ScramClient(choice, nonce=nonces[1])

    def carry(number: int, message: bytes) -> bytes:
        if flip is None or flip[0] != number:
            return message
        at = flip[1] % len(message)
        return message[:at] + bytes([message[at] ^ flip[2]]) + message[at + 1 :]

    try:
        first = client.first()
        initial = mechanism.encode() + b"\0" + len(first).to_bytes(4, "big") + carry(0, first)
        challenge = client.challenged(carry(1, server.receive(initial).payload))
        salted = salted_password(given_password, challenge.salt, challenge.iterations)
        final = server.receive(carry(2, client.answer(salted)))
        assert isinstance(final, SaslFinal)
        client.verify(carry(3, final.payload))
    except PoolguardError:
        return False
    return True


@given(st.text(min_size=1), st.tuples(NONCES, NONCES), BINDINGS)
def test_the_right_password_passes(password: str, nonces: tuple[str, str], binding: bytes | None) -> None:
    assert run(password, password, nonces, binding, None)


@given(
    st.tuples(NONCES, NONCES),
    BINDINGS,
    st.tuples(st.integers(0, 3), st.integers(0, 1000), st.integers(0, 7).map(lambda bit: 1 << bit)),
)
@settings(max_examples=300)
def test_one_flipped_bit_in_any_message_fails(
    nonces: tuple[str, str], binding: bytes | None, flip: tuple[int, int, int]
) -> None:
    assert not run("pencil", "pencil", nonces, binding, flip)
