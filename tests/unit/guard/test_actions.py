"""Actions under way: one a transaction, each ends exactly once, none lasts for ever."""

import asyncio

import pytest

from poolguard.guard.actions import ACTION_SECONDS, Actions, Order
from poolguard.guard.history import Action
from poolguard.guard.incidents import Incident
from poolguard.guard.wording import error_by_hand
from poolguard.ledger.hands import Outcome
from tests.support.clock import ManualClock
from tests.unit.guard.builders import NOW, FakeHands, idle
from tests.unit.guard.test_incidents import INCIDENT


class Ends:
    """Writes down how orders ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Outcome]] = []
        self.raises: Exception | None = None

    def __call__(self, order: Order, outcome: Outcome, seconds: float) -> Incident:
        self.seen.append((order.incident, outcome))
        if self.raises is not None:
            raise self.raises
        return INCIDENT


def order(action: Action = Action.ROLLBACK, session: int = 1) -> Order:
    facts = idle(61.0, session)
    return Order(
        incident=str(session),
        transaction=facts,
        action=action,
        error=error_by_hand(facts, action, "x"),
        verdict=None,
        actor="test",
        seen=NOW,
        at=0.0,
        pool_state=None,
    )


@pytest.fixture
def hands() -> FakeHands:
    return FakeHands()


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def actions(hands: FakeHands, ends: Ends) -> Actions:
    return Actions(hands, ManualClock(NOW), ends)


@pytest.mark.parametrize("action", [Action.CANCEL, Action.ROLLBACK, Action.TERMINATE])
async def test_each_action_goes_to_its_hand(actions: Actions, hands: FakeHands, ends: Ends, action: Action) -> None:
    assert await actions.begin(order(action)) is INCIDENT
    assert hands.calls == [(action, idle(61.0).id)]
    assert ends.seen == [("1", Outcome.DONE)]
    assert actions.under_way == {}


async def test_a_second_action_on_a_transaction_is_our_bug(actions: Actions) -> None:
    actions.begin(order())
    with pytest.raises(AssertionError, match="under way already"):
        actions.begin(order(Action.TERMINATE))
    await actions.close()


async def test_hands_that_raise_have_failed(
    actions: Actions, hands: FakeHands, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    hands.raises = OSError("network")
    await actions.begin(order())
    assert ends.seen == [("1", Outcome.FAILED)]
    assert "an action of the guard raised" in caplog.messages


async def test_an_action_without_an_answer_is_given_up(actions: Actions, hands: FakeHands, ends: Ends) -> None:
    hands.blocked = asyncio.Event()
    hanging = actions.begin(order())
    await asyncio.sleep(0)
    actions.give_up(NOW + ACTION_SECONDS - 0.1)
    assert len(actions.under_way) == 1
    actions.give_up(NOW + ACTION_SECONDS)
    assert await hanging is INCIDENT
    assert ends.seen == [("1", Outcome.FAILED)]


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_close_ends_everything_however_far_it_got(
    actions: Actions, hands: FakeHands, ends: Ends, turns: int
) -> None:
    hands.blocked = asyncio.Event()
    waiting = [actions.begin(order(session=session)) for session in (1, 2)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await actions.close()
    assert sorted(ends.seen) == [("1", Outcome.FAILED), ("2", Outcome.FAILED)]
    assert [future.result() for future in waiting] == [INCIDENT, INCIDENT]


async def test_what_was_done_stays_done_when_close_comes_right_after(
    actions: Actions, hands: FakeHands, ends: Ends
) -> None:
    actions.begin(order())
    await asyncio.sleep(0)  # the hands have answered, the statements are being read
    assert len(actions.under_way) == 1
    await actions.close()
    assert ends.seen == [("1", Outcome.DONE)]


async def test_settle_returns_at_the_end_of_what_is_under_way_or_at_its_deadline(
    actions: Actions, hands: FakeHands, ends: Ends
) -> None:
    hands.blocked = asyncio.Event()
    actions.begin(order())
    await actions.settle(NOW)
    assert ends.seen == []
    settling = asyncio.ensure_future(actions.settle(NOW + 60))
    await asyncio.sleep(0)
    hands.blocked.set()
    await settling
    assert ends.seen == [("1", Outcome.DONE)]
    await actions.settle(NOW + 60)


async def test_a_failure_to_report_reaches_whoever_waits_and_the_log(
    actions: Actions, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    ends.raises = RuntimeError("bug")
    with pytest.raises(RuntimeError, match="bug"):
        await actions.begin(order())
    await asyncio.sleep(0)
    assert "a task of the guard failed" in caplog.messages
    assert actions.under_way == {}
