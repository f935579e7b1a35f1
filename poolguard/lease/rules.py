"""What is done with a wish for a term, given the lease as it stands. Pure: same facts, same answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from poolguard.lease.terms import Row, Wanted


@dataclass(frozen=True, slots=True)
class Take:
    """Nobody's term runs: begin a new one."""


@dataclass(frozen=True, slots=True)
class Replay:
    """This very wish was granted before and its term still runs: answer with it, change nothing."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another term runs: change nothing."""


@dataclass(frozen=True, slots=True)
class Spent:
    """This very wish was granted before and its term is over: a wish takes effect at most once."""


@dataclass(frozen=True, slots=True)
class Grace:
    """A failover happened since this term was last confirmed: let it run for one more time to live.

    An asynchronous standby that was promoted may lack the last renewals, so that the term only looks expired.
    """


@dataclass(frozen=True, slots=True)
class Wait:
    """The last holder stepped down, and the time is not over in which it, or all but one, may not follow itself."""


Decision = Take | Replay | Held | Spent | Grace | Wait


def judge(
    row: Row | None, wish: Wanted, *, timeline: int, earlier_token: int | None = None, grace: bool = True
) -> Decision:
    """Decide on *wish*. *timeline* is the server's (0: unknown), *earlier_token* what it was granted before, if known.

    Before the row is locked the answer is a guess that only Take and Grace need confirmed under the lock: a term that
    runs or ran can't be changed by asking.
    """
    if row is None:
        return Spent() if earlier_token is not None else Take()
    if row.request_id == wish.request_id and row.holder in {wish.holder, None}:
        return Replay() if row.running else Spent()
    if earlier_token is not None:
        return Spent()
    if row.running:
        return Held()
    if grace and row.holder is not None and on_older_timeline(row.timeline, timeline):
        return Grace()
    if row.held_off is not None and not row.held_off.admits(wish.holder):
        return Wait()
    return Take()


def pick(
    rows: Mapping[str, Row | None],
    wish: Wanted,
    *,
    timeline: int,
    earlier_token: int | None = None,
    grace: bool = True,
) -> tuple[str, Decision]:
    """Decide on *wish* among the slots in *rows*, in their order: the slot, and what is done there.

    What the wish got before comes first, then a slot that is free; if none is, the one whose term ends first tells.
    """
    decisions = {
        name: judge(row, wish, timeline=timeline, earlier_token=earlier_token, grace=grace)
        for name, row in rows.items()
    }
    for kinds in ((Replay,), (Spent,), (Take,), (Grace,)):
        for name, decision in decisions.items():
            if isinstance(decision, kinds):
                return name, decision
    first = min(decisions, key=lambda name: _ends_in(rows[name]))
    return first, decisions[first]


def _ends_in(row: Row | None) -> float:
    assert row is not None, "a lease without a row is free"
    return row.valid_for_seconds if row.running else row.held_off.seconds if row.held_off is not None else 0.0


def on_older_timeline(confirmed: int, server: int) -> bool:
    """Whether a failover lies between; unknown timelines (0) never tell."""
    return 0 < confirmed < server
