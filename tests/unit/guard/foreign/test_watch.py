"""Rules about what is not ours: judged after each look, carried out by the observer, told as incidents."""

import asyncio
import logging
from typing import Any

import pytest

from poolguard.guard.book import IncidentBook
from poolguard.guard.foreign.watch import ForeignWatch
from poolguard.guard.locks.backends import Backend, Identity
from poolguard.guard.locks.state import LockState, Tier
from poolguard.ledger.hands import Outcome
from poolguard.settings.foreign import ForeignBlockers, ForeignBudget, ForeignRule, ForeignThen, ForeignWhen
from poolguard.settings.matching import RuleState
from poolguard.settings.model import Settings
from poolguard.settings.policies import PolicyMode
from tests.support.clock import ManualClock
from tests.unit.guard.foreign.builders import graph, identity, psql

NOW = 1000.0
STEP = 2.0
"""The observer's interval."""


def rule(name: str = "psql", *, then: dict[str, float] | None = None, **when: Any) -> ForeignRule:
    steps = then or {"warn": 0.0, "terminate": 5.0}
    return ForeignRule(name=name, when=ForeignWhen(**({"user": ("dev",)} | when)), then=ForeignThen(**steps))


class Scene:
    """A watch, the graph that the test puts there, and an observer that writes down whom it was told to end."""

    def __init__(self, *rules: ForeignRule, observe: bool = False, **settings: Any) -> None:
        self.clock = ManualClock(NOW)
        self.locks = LockState()
        self.locks.tier = Tier(server_version="18.0", sees_all=True, may_signal=True)
        self.book = IncidentBook(self.clock, lambda _: None, settings_hash="abc")
        self.told: list[tuple[Identity, bool]] = []
        self.outcome = Outcome.DONE
        self.blocked: asyncio.Event | None = None
        self.settings: dict[str, Any] = {"rules": rules, "budget": ForeignBudget(cooldown=0.0), **settings}
        self.watch = ForeignWatch(
            clock=self.clock,
            locks=self.locks,
            book=self.book,
            end=self.end,
            ours=lambda: (),
            settings=Settings(foreign_blockers=ForeignBlockers(**self.settings)),
            observe=observe,
        )

    async def end(self, identity: Identity, *, terminate: bool) -> Outcome:
        self.told.append((identity, terminate))
        if self.blocked is not None:
            await self.blocked.wait()
        return self.outcome

    async def look(self, *roots: Backend, waited: float = 12.0, ours: bool = True) -> None:
        """One look of the observer's, and everything that comes of it."""
        self.locks.publish(graph(*roots, waited=waited, ours=ours), self.clock.wall())
        await self.watch.look()
        for _ in range(20):
            await asyncio.sleep(0)

    def story(self) -> list[tuple[str, str]]:
        return [(str(incident.action), str(incident.outcome)) for incident in reversed(self.book.find())]


async def test_without_a_rule_nothing_is_done_to_anybody() -> None:
    scene = Scene()
    await scene.look(psql(), waited=1e6)
    assert (scene.told, scene.story()) == ([], [])


async def test_who_blocks_us_for_long_is_warned_of_and_then_ended_once() -> None:
    """Steps count from when all of `when` held, the wait of ours among it; not from the transaction's beginning."""
    scene = Scene(rule())
    for waited in (1.0, 3.0, 5.5, 7.5, 9.5):
        await scene.look(psql(), waited=waited)
        await scene.clock.advance(STEP)
    assert scene.story() == [("warn", "done"), ("terminate", "done")]
    assert scene.told == [(identity(1), True)]


async def test_a_running_statement_is_cancelled_before_its_session_is_ended() -> None:
    scene = Scene(rule(then={"cancel": 5.0, "terminate": 20.0}))
    await scene.look(psql("active"), waited=6.0)
    assert scene.told == [(identity(1, "active"), False)]
    await scene.clock.advance(15.0)
    await scene.look(psql("active"), waited=21.0)
    assert scene.told[1:] == [(identity(1, "active"), True)]


async def test_whom_nobody_of_ours_waits_for_is_nobody_s_business() -> None:
    scene = Scene(rule())
    await scene.look(psql(), ours=False)
    assert scene.story() == []


@pytest.mark.parametrize(
    "when",
    [
        {"user": ("analyst",)},
        {"application_name": ("DBeaver*",)},
        {"database": ("other",)},
        {"client_address": ("192.168.0.0/16",)},
        {"state": (RuleState.ACTIVE,)},
        {"idle_for": "5m"},
        {"transaction_age": "5m"},
        {"blocking": ">=2"},
        {"blocking_for": "1m"},
    ],
    ids=str,
)
async def test_all_of_when_must_hold(when: dict[str, Any]) -> None:
    scene = Scene(rule(**when))
    await scene.look(psql())
    assert scene.story() == []


async def test_the_incident_tells_who_whom_why_and_how_to_exempt() -> None:
    scene = Scene(rule(application_name=("psql",), blocking_for="5s", then={"terminate": 5.0}))
    await scene.look(psql())
    (incident,) = scene.book.find()
    told = incident.as_json()
    assert (told["kind"], told["rule"], told["outcome"], told["policy"]) == (
        "foreign",
        "psql",
        "done",
        "foreign_blockers",
    )
    assert told["transaction"]["id"] == "pid 1"  # type: ignore[index] # JSON
    assert told["backend"]["xact_start"] == "2026-11-21T12:00:00.000Z"  # type: ignore[index] # JSON
    assert told["lock_tree"]["blocked"][0]["transaction"] == "7-1"  # type: ignore[index] # JSON
    assert [matched.key for matched in incident.matched] == ["user", "application_name", "blocking", "blocking_for"]
    assert told["client_sees"]["sqlstate"] == "57P01"  # type: ignore[index] # JSON
    assert incident.exemption.startswith("foreign_blockers:\n  exempt:\n    application_name: [")
    assert '"psql"' in incident.exemption
    assert "hidden" not in str(told)


async def test_observe_ends_nobody_and_says_whom_it_would_have() -> None:
    for scene in (Scene(rule(), mode=PolicyMode.OBSERVE), Scene(rule(), observe=True)):
        await scene.look(psql())
        await scene.look(psql())
        assert (scene.told, scene.story()) == ([], [("terminate", "observed")])


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"superuser": True}, "superuser"),
        ({"wait_event": "IPC/SyncRep", "state": "active"}, "waits_for_replication"),
        ({"sql": "PREPARE TRANSACTION 'x'", "state": "active"}, "commit"),
        ({"sql": "ALTER TABLE item ADD m int"}, "statement_class"),
        ({"sql": "VACUUM FULL item", "state": "active"}, "statement_class"),
        ({"sql": "CREATE INDEX CONCURRENTLY i ON item (n)", "state": "active"}, "statement_class"),
        ({"sql": "COPY item FROM STDIN", "state": "active"}, "statement_class"),
    ],
)
async def test_whom_nothing_may_end_is_told_once_with_the_reason(facts: dict[str, Any], why: str) -> None:
    scene = Scene(rule(then={"terminate": 5.0}))
    for _ in range(3):
        await scene.look(psql(**facts))
    (incident,) = scene.book.find()
    assert (scene.told, incident.outcome, incident.spared_by) == ([], "spared", why)


@pytest.mark.parametrize(
    "facts",
    [
        {"application_name": "pg_dump"},
        {"comments": "/* poolguard:ignore */"},
        {"sql": "COMMIT", "state": "active"},
    ],
    ids=str,
)
async def test_who_is_exempt_and_a_commit_on_its_way_are_left_in_peace(facts: dict[str, Any]) -> None:
    scene = Scene(rule(then={"terminate": 5.0}))
    await scene.look(psql(**facts))
    assert (scene.told, scene.story()) == ([], [])


async def test_without_the_privilege_the_outcome_says_so_and_the_advice_what_to_grant() -> None:
    scene = Scene(rule(then={"terminate": 5.0}))
    scene.outcome = Outcome.NO_PRIVILEGE
    await scene.look(psql())
    (incident,) = scene.book.find()
    assert (incident.outcome, incident.client_sees) == ("no_privilege", None)
    assert "GRANT pg_signal_backend" in incident.advice
    assert scene.watch.counters.actions["", "psql", "terminate", "no_privilege"] == 1


async def test_without_the_privilege_it_is_tried_on_in_silence_until_that_is_granted() -> None:
    scene = Scene(rule(then={"terminate": 5.0}))
    scene.outcome = Outcome.NO_PRIVILEGE
    for _ in range(20):
        await scene.look(psql())
        await scene.clock.advance(STEP)
    assert scene.story() == [("terminate", "no_privilege")]
    assert scene.watch.counters.actions["", "psql", "terminate", "no_privilege"] == len(scene.told) > 2
    scene.outcome = Outcome.DONE
    for _ in range(20):
        await scene.look(psql())
        await scene.clock.advance(STEP)
    assert scene.story() == [("terminate", "no_privilege"), ("terminate", "done")]


async def test_what_the_role_lacks_is_said_once_for_each_change(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(rule())
    for sees_all in (False, False, True, True, False):
        scene.locks.tier = Tier(server_version="18.0", sees_all=sees_all, may_signal=sees_all)
        await scene.look(psql())
    assert [record.message[:26] for record in caplog.records if "GRANT" in record.message] == [
        "foreign_blockers has rules"
    ] * 2


async def test_who_has_moved_on_is_judged_anew_as_what_it_does_then() -> None:
    scene = Scene(rule(then={"terminate": 5.0}))
    scene.outcome = Outcome.VICTIM_MOVED
    await scene.look(psql())
    await scene.look(psql(began=9.0, transaction_seconds=1.0, state_seconds=1.0), waited=1.0)
    assert scene.story() == [("terminate", "victim_moved")]
    assert len(scene.told) == 1


async def test_the_budget_stops_the_sixth_and_says_so_loudly(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(rule(then={"terminate": 5.0}))
    with caplog.at_level(logging.ERROR):
        for pid in range(1, 8):
            await scene.look(psql(pid=pid))
            await scene.look(psql(pid=pid))
    assert len(scene.told) == 5
    assert scene.story()[5:] == [("terminate", "budget")] * 2
    assert "budget of foreign_blockers" in caplog.text


async def test_after_one_those_who_waited_may_go_on_before_the_next() -> None:
    scene = Scene(rule(then={"terminate": 5.0}), budget=ForeignBudget(cooldown=10.0))
    await scene.look(psql(), psql(pid=2))
    await scene.clock.advance(4.0)
    await scene.look(psql(pid=2))
    assert len(scene.told) == 1
    await scene.clock.advance(10.0)
    await scene.look(psql(pid=2))
    assert [told.pid for told, _ in scene.told] == [1, 2]


async def test_behind_another_pooler_nothing_is_done_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(rule())
    scene.locks.tier = Tier(server_version="18.0", sees_all=True, may_signal=True, pid_opaque=True)
    with caplog.at_level(logging.WARNING):
        await scene.look(psql())
        await scene.look(psql())
    assert (scene.told, scene.story()) == ([], [])
    assert caplog.text.count("another pooler") == 1


async def test_a_reload_counts_from_the_next_look_on() -> None:
    scene = Scene()
    await scene.look(psql())
    changed = {**scene.settings, "rules": (rule(then={"terminate": 5.0}),)}
    scene.watch.reconfigure(Settings(foreign_blockers=ForeignBlockers(**changed)))
    await scene.look(psql())
    assert scene.story() == [("terminate", "done")]


async def test_what_is_under_way_is_waited_for_by_the_drain_and_given_up_by_the_stop() -> None:
    scene = Scene(rule(then={"terminate": 5.0}))
    scene.blocked = asyncio.Event()
    await scene.watch.start()
    await scene.look(psql())
    await scene.look(psql())
    assert len(scene.told) == 1
    await scene.watch.stop()
    assert scene.story() == [("terminate", "failed")]
    await scene.watch.drain(NOW)


async def test_a_look_that_raises_is_a_bug_in_the_log_and_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(rule())
    scene.locks.graph = None  # type: ignore[assignment] # on purpose
    with caplog.at_level(logging.ERROR):
        await scene.watch.look()
    assert scene.watch.counters.sweep_failures == 1
    assert "raised" in caplog.text
