"""Report (c): duplicate keys on session_pkey, several a minute; umami#149, #232, #523, #3159, #3709.

Who looks first and inserts then is overtaken. The error is the application's to handle: poolguard counts it by constraint,
says whose statement it was, changes not a letter of it, and never tries it again.
"""

from typing import Final

from poolguard.demo.screen import Tone
from tests.interop.reports.stage import Stage, short
from tests.interop.toolchains import Node

NAME: Final = "umami"
VISITORS: Final = 20
VIEWS: Final = 3
LOST: Final = VISITORS * (VIEWS - 1)
SCHEMA: Final = """
CREATE TABLE session (id uuid PRIMARY KEY, website text NOT NULL, visits int NOT NULL DEFAULT 0);
"""


def play(stage: Stage) -> None:
    """Duplicate keys; which; the cure in the application."""
    stage.set_up(SCHEMA)
    given = {"VISITORS": str(VISITORS), "VIEWS": str(VIEWS)}
    with stage.start(Node(), "reports/duplicate_keys.mjs", pool="app", name=NAME, **given) as umami:
        stage.act("1. Each visitor's first page asks for its session three times at once")
        refused = umami.told("refused")
        created = umami.told("created")
        told = f"{created['failed']} of {created['views']} page views failed: {', '.join(created['codes'])}, in Prisma "
        stage.tell(NAME, told + ", ".join(created["prisma"]), Tone.BAD)
        stage.claim("all but the first of each visitor fail", f"{created['failed']}", created["failed"] == LOST)
        _which(stage)
        same = refused["through"] == refused["direct"]
        seen = f"{refused['through']['message']}; {len(refused['direct'])} fields compared"
        stage.claim(
            "what the application is told is PostgreSQL's own", seen, same and "constraint" in refused["through"]
        )

        stage.act("3. INSERT ... ON CONFLICT DO NOTHING (createMany with skipDuplicates), as umami has it today")
        mended = umami.told("created unless there")
        stage.tell(NAME, f"{mended['failed']} of {mended['views']} page views failed", Tone.GOOD)
        count = stage.daemon.metric("poolguard_constraint_errors_total")
        stage.claim("no page view fails any more", f"{mended['failed']}", mended["failed"] == 0)
        stage.claim("and the counter stands still", f"{count:g}", count == LOST + 1)


def _which(stage: Stage) -> None:
    stage.act("2. Which key, and whose statement")
    (found,) = stage.daemon.get("/v1/errors")["duplicate_keys"]
    latest = found["latest"]
    stage.quote(
        "/v1/errors, duplicate_keys",
        f"{found['total']}: table {found['table']}, constraint {found['constraint']}; latest by "
        f"{latest['application_name']} route={latest['tags'].get('route')}: {short(latest['statement']['text'])}",
    )
    stage.claim(
        "the constraint, its table, and whose statement",
        f"{found['table']}, {found['constraint']}, {latest['application_name']}, {latest['tags'].get('route')}",
        (found["table"], found["constraint"], latest["application_name"], latest["tags"].get("route"))
        == ("session", "session_pkey", NAME, "/api/send"),
    )
    count = stage.daemon.metric("poolguard_constraint_errors_total", table="session", constraint="session_pkey")
    stage.quote("/metrics", f'poolguard_constraint_errors_total{{constraint="session_pkey"}} {count:g}')
    # One more than the page views: the one whose every field was compared.
    stage.claim("each is counted once: none was tried again", f"{count:g}", count == found["total"] == LOST + 1)
    retried = stage.daemon.metric("poolguard_statement_retries_total")
    errors = stage.daemon.metric("poolguard_sql_errors_total", sqlstate="23505")
    stage.claim(
        "PostgreSQL refused no more than the application saw", f"{errors:g}", errors == LOST + 1 and not retried
    )
