"""SCRAM against those who have their own: drivers log in to our server side, and PostgreSQL's secrets are read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import psycopg
import pytest

from poolguard.core.errors import PoolguardError
from poolguard.wire.messages import (
    AUTHENTICATION_OK,
    READY,
    authentication_sasl,
    authentication_sasl_continue,
    authentication_sasl_final,
    backend_key_data,
    error_of,
    parameter_status,
)
from poolguard.wire.scram import SaslContinue, ScramSecret, ScramServer
from poolguard.wire.startup import SslRequest, Startup, parse_packet
from tests.integration.upstream.conftest import PASSWORD, Servers

GREETING = b"".join(
    parameter_status(name, value)
    for name, value in {"server_version": "15.0", "client_encoding": "UTF8", "server_encoding": "UTF8"}.items()
)


@asynccontextmanager
async def our_server() -> AsyncIterator[int]:
    """Greets whoever proves the password by SCRAM; gives its port."""
    secret = ScramSecret.from_password(PASSWORD, salt=b"0123456789abcdef")

    async def first_packet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Startup:
        while True:
            head = await reader.readexactly(4)
            packet = parse_packet(head + await reader.readexactly(int.from_bytes(head, "big") - 4))
            if isinstance(packet, Startup):
                return packet
            assert isinstance(packet, SslRequest)
            writer.write(b"N")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            startup = await first_packet(reader, writer)
            known = secret if startup.user == "app" else ScramSecret.for_unknown_user(startup.user, seed=b"s" * 32)
            login = ScramServer(known, user=startup.user, nonce="abcdefghijklmnopqrstuvwx")
            writer.write(authentication_sasl(login.mechanisms))
            while True:
                head = await reader.readexactly(5)
                reply = login.receive(await reader.readexactly(int.from_bytes(head[1:], "big") - 4))
                if not isinstance(reply, SaslContinue):
                    break
                writer.write(authentication_sasl_continue(reply.payload))
            writer.write(authentication_sasl_final(reply.payload) + AUTHENTICATION_OK + GREETING)
            writer.write(backend_key_data(1, b"1234") + READY[ord("I")])
            await reader.read()
        except PoolguardError as error:
            writer.write(error_of(error, severity="FATAL"))
        except EOFError:  # a driver that hangs up after a refusal
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_libpq_logs_in_by_scram() -> None:
    async with our_server() as port:
        connection = await psycopg.AsyncConnection.connect(
            host="127.0.0.1", port=port, user="app", password=PASSWORD, dbname="shop"
        )
        assert connection.info.user == "app"
        await connection.close()


async def test_asyncpg_logs_in_by_scram() -> None:
    async with our_server() as port:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=port, user="app", password=PASSWORD, database="shop", ssl="disable"
        )
        assert connection.get_server_version().major == 15
        connection.terminate()


@pytest.mark.parametrize(("user", "password"), [("app", "wrong"), ("nobody", PASSWORD)])
async def test_a_wrong_password_and_an_unknown_user_look_the_same_to_libpq(user: str, password: str) -> None:
    async with our_server() as port:
        with pytest.raises(psycopg.OperationalError, match=f'password authentication failed for user "{user}"'):
            await psycopg.AsyncConnection.connect(
                host="127.0.0.1", port=port, user=user, password=password, dbname="shop"
            )


def test_secrets_of_postgresql_are_understood(servers: Servers) -> None:
    with servers.plain.connect() as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_user'").fetchone()
    assert row is not None
    theirs = ScramSecret.parse(str(row[0]))
    assert ScramSecret.from_password(PASSWORD, salt=theirs.salt, iterations=theirs.iterations) == theirs
