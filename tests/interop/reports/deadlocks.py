"""Report (a): a storm of 40P01 between Prisma's event handlers; evolution-api#1082, #1904, MultiWA#89.

Three handlers write the rows of a chat, each in the order in which its events came: a circle of three. One of them is a
lone UPDATE without a transaction, and that one can be tried again.
"""

from typing import Any, Final

from poolguard.demo.screen import Tone
from tests.interop.reports.stage import Stage, lines, of_party, short
from tests.interop.toolchains import Node

NAME: Final = "evolution-api"
CHATS: Final = 4
SCHEMA: Final = """
CREATE TABLE "Message" (
    id bigserial PRIMARY KEY, key text NOT NULL UNIQUE, chat text NOT NULL, timestamp int NOT NULL, status text NOT NULL);
CREATE TABLE "Contact" (id bigserial PRIMARY KEY, jid text NOT NULL UNIQUE, name text NOT NULL, seen int NOT NULL DEFAULT 0);
-- Whoever has waited so long looks for a deadlock. The time that the handlers have to meet in, however slow the machine is.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''2s''', current_database()); END $$;
"""


def play(stage: Stage) -> None:
    """Deadlocks; who met whom; the same with retry."""
    stage.set_up(SCHEMA)
    _storm(stage)
    _who_it_was(stage)
    _cure(stage)


def _handlers(stage: Stage, prefix: str) -> dict[str, Any]:
    with stage.start(Node(), "reports/deadlocks.mjs", pool="app", name=NAME, CHATS=str(CHATS), PREFIX=prefix) as chat:
        return chat.told("ended")


def _storm(stage: Stage) -> None:
    stage.act("1. Three handlers of a chat service meet, in each of four chats")
    ended = _handlers(stage, "storm-")
    codes = ended["reads"]["codes"] + ended["transactions"]["codes"]
    stage.tell(NAME, f"{len(codes)} of {3 * CHATS} handlers failed with {', '.join(sorted(set(codes)))}", Tone.BAD)
    stage.tell(
        NAME, f"Prisma's error: {', '.join(sorted(set(ended['reads']['prisma'])))}; nothing tries again", Tone.BAD
    )
    stage.claim("each chat has a deadlock, and one victim", ", ".join(codes), codes == ["40P01"] * CHATS)
    stage.claim(
        "the victim is the lone UPDATE", f"{CHATS - ended['reads']['done']} of {CHATS}", not ended["reads"]["done"]
    )


def _who_it_was(stage: Stage) -> None:
    stage.act("2. Who it was")
    incidents = stage.incidents(number=CHATS, kind="deadlock")
    cycle = [of_party(party) for party in incidents[0]["holders"]]
    stage.quote("/v1/incidents, one of kind deadlock", lines([*cycle, incidents[0]["advice"]]))
    routes = {party["tags"].get("route") for party in incidents[0]["holders"]}
    stage.claim(
        "each incident names the three statements, and their routes",
        ", ".join(sorted(map(str, routes))),
        routes == {"chats.update", "messages.update", "contacts.upsert"}
        and all(len(incident["holders"]) == 3 for incident in incidents),
    )
    stage.claim(
        "and the relation", incidents[0]["advice"][-32:].strip(), 'relation "Message"' in incidents[0]["advice"]
    )
    pairs = stage.daemon.get("/v1/errors")["deadlock_pairs"]
    stage.quote(
        "/v1/errors, deadlock_pairs",
        lines([f"{pair['total']}: " + " <> ".join(short(one["text"]) for one in pair["statements"]) for pair in pairs]),
    )
    stage.claim(
        "/v1/errors counts the pairs by fingerprint",
        ", ".join(f"{pair['total']} of each" for pair in pairs[:1]),
        [pair["total"] for pair in pairs] == [CHATS] * 3,
    )
    observed = stage.daemon.metric("poolguard_statement_retries_total", sqlstate="40P01", outcome="observed")
    stage.quote("/metrics", f'poolguard_statement_retries_total{{sqlstate="40P01",outcome="observed"}} {observed:g}')
    stage.claim("and tells how many a retry would have healed", f"{observed:g}", observed == CHATS)


def _cure(stage: Stage) -> None:
    stage.act("3. retry: {mode: enforce}, written into the running poolguard's settings")
    stage.change_settings("mode: observe", "mode: enforce")
    ended = _handlers(stage, "healed-")
    healed = stage.daemon.metric("poolguard_statement_retries_total", sqlstate="40P01", outcome="healed")
    stage.tell(
        NAME, f"{ended['reads']['done'] + ended['transactions']['done']} of {3 * CHATS} handlers done", Tone.GOOD
    )
    stage.quote("/metrics", f'poolguard_statement_retries_total{{sqlstate="40P01",outcome="healed"}} {healed:g}')
    failed = ended["reads"]["codes"] + ended["transactions"]["codes"]
    unread = stage.value("SELECT count(*) FROM \"Message\" WHERE chat LIKE 'healed-%%' AND status <> 'READ'")
    stage.claim("no handler fails any more", failed or "none", not failed)
    stage.claim(
        "each UPDATE was done, after the deadlock that it lost", f"{healed:g} healed", healed == CHATS and unread == 0
    )
