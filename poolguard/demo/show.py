"""`poolguard demo`: leaked transactions fill two pools, the guard ends them, and a lease never misses a beat.

Everything is real: an embedded PostgreSQL, a poolguard in a process of its own, psycopg as the applications.
"""

import os
import sys
from contextlib import ExitStack
from threading import Timer
from typing import Final

import psycopg

from poolguard.core.errors import PoolguardError
from poolguard.demo.acts import Acts
from poolguard.demo.api import Api
from poolguard.demo.heartbeat import Heartbeat
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.demo.scene import (
    DATABASE,
    HOLDER,
    LEASE,
    LEASE_TTL_SECONDS,
    ORDERS,
    POOL_SIZES,
    RENEW_EVERY_SECONDS,
)
from poolguard.demo.screen import Check, Screen, Tone, screen_on
from poolguard.demo.sidecar import Sidecar

LIMIT_SECONDS: Final = 50.0
"""After this poolguard is killed, so that nobody waits for an answer from it any longer."""

_LOG_LINES: Final = 15


def main() -> int:
    """Run the demo on standard output. 0: everything was seen; 1: something was not, and it says what."""
    screen = screen_on(sys.stdout, os.environ)
    try:
        checks = play(screen)
    except PoolguardError as error:
        screen.say("demo", error.message, Tone.BAD)
        if error.hint:
            screen.say("demo", error.hint)
        return 1
    except psycopg.Error as error:
        screen.say("demo", f"a connection to poolguard failed: {error}", Tone.BAD)
        return 1
    except KeyboardInterrupt:
        screen.say("demo", "stopped; nothing is left running")
        return 1
    screen.table(checks)
    return 0 if all(check.good for check in checks) else 1


def play(screen: Screen) -> list[Check]:
    """Play all acts; return what was wanted and what was seen. Raises PoolguardError when the stage can't be set."""
    with ExitStack() as stage:
        screen.title("The stage")
        postgres = stage.enter_context(EmbeddedPostgres())
        prepare(postgres)
        screen.say("postgresql", f"runs on port {postgres.port}, from {postgres.binaries.folder}")
        sidecar = stage.enter_context(Sidecar(postgres.url_of(DATABASE)))
        watchdog = Timer(LIMIT_SECONDS, sidecar.kill)
        watchdog.daemon = True
        watchdog.start()
        stage.callback(watchdog.cancel)
        sizes = ", ".join(f"{name} {size}" for name, size in POOL_SIZES.items())
        screen.say("poolguard", f"runs on port {sidecar.ports.clients}; servers in each pool: {sizes}")
        heartbeat = stage.enter_context(
            Heartbeat(
                sidecar.ports.control,
                lease=LEASE,
                holder=HOLDER,
                ttl_seconds=LEASE_TTL_SECONDS,
                every_seconds=RENEW_EVERY_SECONDS,
            )
        )
        screen.say(
            HOLDER,
            f"holds lease {LEASE} (token {heartbeat.token}, {LEASE_TTL_SECONDS} s) and renews it over HTTP "
            f"every {RENEW_EVERY_SECONDS * 1000:.0f} ms from now on",
        )
        api = stage.enter_context(Api(sidecar.ports.control))
        acts = stage.enter_context(Acts(screen, api, sidecar, heartbeat, postgres))
        checks = acts.play()
        if not all(check.good for check in checks):
            screen.title("The end of poolguard's log")
            for line in sidecar.log_text().splitlines()[-_LOG_LINES:]:
                screen.say("log", line, Tone.QUIET)
    return checks


def prepare(postgres: EmbeddedPostgres) -> None:
    """Make the shop's database, with an order for every leak."""
    postgres.create_database(DATABASE)
    with postgres.connect(DATABASE) as connection:
        connection.execute("CREATE TABLE orders (id integer PRIMARY KEY, state text NOT NULL)")
        connection.execute("INSERT INTO orders SELECT n, 'new' FROM generate_series(1, %s) AS n", [ORDERS])


if __name__ == "__main__":
    sys.exit(main())
