"""Whether what leases need is there in PostgreSQL, and how it gets there."""

from enum import Enum, auto
from typing import Final

import psycopg

from poolguard.core.errors import LeaseUnavailable
from poolguard.lease import schema
from poolguard.lease.connection import LeaseConnection
from poolguard.lease.statements import Statements
from poolguard.settings.model import Leases

PRINT_SCHEMA: Final = "Let a DBA run the output of `poolguard print-schema --sql` and grant what it names."


class Found(Enum):
    """What is there."""

    ALL = auto()
    NO_FENCE = auto()
    """Everything but `holds()`: leases can be held without."""
    NO_TABLE = auto()
    """No table, or one of an earlier version."""


class Setup:
    """Each method is work for one connection; all of it may be done again."""

    def __init__(self, settings: Leases, sql: Statements) -> None:
        self._schema: Final = settings.schema
        self._may_create: Final = settings.create_schema
        self._sql: Final = sql

    async def found(self, connection: LeaseConnection) -> Found:
        """Look what is there. Raises LeaseUnavailable if this role may not use it."""
        try:
            record = await (await connection.execute(self._sql.probe)).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName):
            return Found.NO_TABLE
        if record is None or not record["allowed"]:
            raise LeaseUnavailable(
                f"this role may not read and write the lease table in schema {self._schema!r}", hint=PRINT_SCHEMA
            )
        return Found.ALL if record["fenced"] else Found.NO_FENCE

    def must_create(self, found: Found) -> bool:
        """Whether something is to be created. Raises LeaseUnavailable if it is, and leases.create_schema forbids it."""
        if found is Found.NO_TABLE and not self._may_create:
            raise LeaseUnavailable(
                f"schema {self._schema!r} has no lease table of this version, and leases.create_schema is false",
                hint=PRINT_SCHEMA,
            )
        return found is not Found.ALL and self._may_create

    async def create(self, connection: LeaseConnection) -> None:
        """Create what is missing."""
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '12s'")
            # CREATE ... IF NOT EXISTS of two sessions at once fails with unique_violation in one of them.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('poolguard.lease', 0))")
            await connection.execute(schema.ddl(self._schema).encode())
