"""Write only as the holder of a lease: python fence_psycopg.py NAME TOKEN, with PostgreSQL in DATABASE_URL."""

import os
import sys

import psycopg


def run(name: str, token: int) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection, connection.transaction():
        # First of all: raises unless this very term still runs, and keeps the next holder out until COMMIT.
        connection.execute("SELECT poolguard.holds(%s, %s)", [name, token])
        connection.execute("CREATE TABLE IF NOT EXISTS fenced (name text, token bigint)")
        connection.execute("INSERT INTO fenced VALUES (%s, %s)", [name, token])


if __name__ == "__main__":
    try:
        run(sys.argv[1], int(sys.argv[2]))
    except psycopg.errors.ObjectNotInPrerequisiteState as error:  # 55000
        sys.exit(f"not the holder any more: {error.diag.message_primary}")
