"""A logged-in connection to PostgreSQL, from the search for a server to the hand-over; and cancelling on it."""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from poolguard.core.errors import ServerViolation, UpstreamRefused, UpstreamUnavailable
from poolguard.upstream.dial import Address, Dialed, TlsFailed, addresses_of, dial
from poolguard.upstream.login import Credentials, DeriveKey, LoggedIn, Login, Send
from poolguard.upstream.target import Target
from poolguard.upstream.tls import Encryption, encryptions
from poolguard.wire.messages import TERMINATE
from poolguard.wire.scram import DEFAULT_ITERATIONS, salted_password
from poolguard.wire.startup import cancel_request

CANNOT_CONNECT_NOW: Final = "57P03"
"""The server is starting or stopping: another one may do."""
_INVALID_AUTHORIZATION: Final = "28000"
"""What pg_hba.conf says no to: perhaps not with TLS, or not without."""
_RESERVED: Final = {"user", "database", "replication"}


@dataclass(slots=True, kw_only=True, eq=False)
class Link:
    """A server that waits for its first statement. Whoever got it ends its transport.

    Reading is paused right behind ReadyForQuery: call `transport.set_protocol`, then `resume_reading`.
    """

    target: Target
    address: Address
    transport: asyncio.Transport
    tls: bool
    parameters: dict[str, str]
    """What PostgreSQL reported (ParameterStatus); bytes that are no UTF-8 stand as surrogate escapes."""
    backend_pid: int
    """0 if the server told none."""
    cancel_key: bytes = field(repr=False)
    """Empty if the server told none: then nothing on it can be cancelled."""
    protocol_minor: int


async def open_link(target: Target, *, parameters: Mapping[str, str], replication: str = "") -> Link:
    """Open a link to the first server of *target* that will have us, in at most `target.connect_timeout` seconds.

    *parameters* go into the startup packet and win over the target's own. *replication*: `true`, `database`, for a
    walsender in place of an ordinary backend. Raises UpstreamRefused (PostgreSQL's own
    SQLSTATE), UpstreamUnavailable or ServerViolation. After any failure or cancellation no socket is left.
    """
    if reserved := _RESERVED & parameters.keys():
        raise ValueError(f"{', '.join(sorted(reserved))} can't be a startup parameter: the target says it")
    wanted = dict(target.parameters) | dict(parameters)
    if replication:
        wanted["replication"] = replication
    loop = asyncio.get_running_loop()
    deadline = loop.time() + target.connect_timeout
    failures: list[UpstreamUnavailable] = []
    for place, endpoint in enumerate(target.endpoints):
        # Each place gets its share of what is left: one that swallows packets must not use up the time of the rest.
        endpoint_deadline = _share(loop.time(), deadline, len(target.endpoints) - place)
        try:
            async with asyncio.timeout_at(endpoint_deadline):
                addresses = await addresses_of(endpoint)
        except TimeoutError:
            failures.append(UpstreamUnavailable(f"the address of {endpoint} could not be looked up in time"))
            continue
        except UpstreamUnavailable as error:
            failures.append(error)
            continue
        for position, address in enumerate(addresses):
            began = loop.time()
            try:
                async with asyncio.timeout_at(_share(began, endpoint_deadline, len(addresses) - position)):
                    return await _open_at(target, address, wanted)
            except TimeoutError:
                waited = f"{loop.time() - began:.1f} s"
                failures.append(UpstreamUnavailable(f"PostgreSQL at {address} did not answer within {waited}"))
            except UpstreamRefused as error:
                if error.sqlstate != CANNOT_CONNECT_NOW:
                    raise
                failures.append(error)
            except UpstreamUnavailable as error:
                failures.append(error)
    raise _summary(failures)


def _share(now: float, deadline: float, places_left: int) -> float:
    return now + (deadline - now) / places_left


def _summary(failures: list[UpstreamUnavailable]) -> UpstreamUnavailable:
    if len(failures) == 1:
        return failures[0]
    hint = next((failure.hint for failure in failures if failure.hint), "")
    return UpstreamUnavailable("; ".join(failure.message for failure in failures), hint=hint)


async def _open_at(target: Target, address: Address, parameters: Mapping[str, str]) -> Link:
    tries = encryptions(target.tls.mode, is_unix=address.endpoint.is_unix)
    refused: UpstreamRefused | None = None
    for position, encryption in enumerate(tries):
        following = tries[position + 1] if position + 1 < len(tries) else None
        try:
            dialed = await dial(address, encryption, target.tls, target.keepalive)
        except TlsFailed:
            if following is None:
                raise
            continue
        except UpstreamUnavailable:
            # What PostgreSQL said first tells more than that it has no TLS either.
            if refused is not None:
                raise refused from None
            raise
        try:
            return await _log_in(target, address, dialed, parameters)
        except UpstreamRefused as error:
            dialed.conversation.abort()
            same_again = following is None or dialed.tls is (following is not Encryption.PLAIN)
            if error.sqlstate != _INVALID_AUTHORIZATION or same_again:
                raise
            refused = error
        except BaseException:
            dialed.conversation.abort()
            raise
    raise AssertionError("the last try returns or raises")


async def _log_in(target: Target, address: Address, dialed: Dialed, parameters: Mapping[str, str]) -> Link:
    conversation = dialed.conversation
    credentials = Credentials(
        user=target.user,
        database=target.database,
        password=address.endpoint.password,
        channel_binding=target.channel_binding,
        tls=dialed.tls,
        certificate_hash=dialed.certificate_hash,
        nonce=b64encode(secrets.token_bytes(18)).decode(),
    )
    login = Login(credentials, parameters, minor=target.protocol_minor)
    conversation.transport.write(login.start())
    logged_in: LoggedIn | None = None
    while logged_in is None:
        effects = login.receive(await conversation.receive())
        while effects:
            match effects.pop(0):
                case Send(data):
                    conversation.transport.write(data)
                case DeriveKey(challenge):
                    salted = await _salt(credentials.password or "", challenge.salt, challenge.iterations)
                    effects = login.derived(salted) + effects
                case LoggedIn() as logged_in:
                    pass
    if conversation.unread:
        raise ServerViolation("PostgreSQL sent something behind ReadyForQuery that nobody asked for")
    if not target.session_attrs.accepts(logged_in.parameters):
        conversation.transport.write(TERMINATE)
        raise UpstreamUnavailable(
            f"PostgreSQL at {address} is not what target_session_attrs={target.session_attrs} asks for"
        )
    return Link(
        target=target,
        address=address,
        transport=conversation.transport,
        tls=dialed.tls,
        parameters=logged_in.parameters,
        backend_pid=logged_in.backend_pid,
        cancel_key=logged_in.cancel_key,
        protocol_minor=logged_in.protocol_minor,
    )


async def _salt(password: str, salt: bytes, iterations: int) -> bytes:
    if iterations <= DEFAULT_ITERATIONS:
        # Some 2 ms the first time, nothing after that; a thread would cost every login its hand-over.
        return salted_password(password, salt, iterations)
    return await asyncio.to_thread(salted_password, password, salt, iterations)


async def send_cancel(link: Link, *, timeout: float | None = None) -> None:
    """Ask PostgreSQL to cancel what runs on *link*; return when it has closed the cancel connection.

    Only then has the signal been sent, and the server may be given to somebody else. It goes to the very address of
    the link, and through TLS if the link does. Within *timeout* seconds (None: the target's connect_timeout), else
    UpstreamUnavailable, which leaves open whether the signal was sent. No socket is left in any case.
    """
    if not link.cancel_key:
        raise UpstreamUnavailable(f"{link.address} told no cancel key: its statements can't be cancelled")
    encryption = Encryption.TLS if link.tls else Encryption.PLAIN
    try:
        async with asyncio.timeout(link.target.connect_timeout if timeout is None else timeout):
            dialed = await dial(link.address, encryption, link.target.tls, link.target.keepalive)
            try:
                dialed.conversation.transport.write(cancel_request(link.backend_pid, link.cancel_key))
                await dialed.conversation.closed()
            finally:
                dialed.conversation.abort()
    except TimeoutError:
        raise UpstreamUnavailable(f"PostgreSQL at {link.address} did not take a cancel request in time") from None
