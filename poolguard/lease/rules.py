"""What is done with a wish for a term, given the lease as it stands. Pure: same facts, same answer."""

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


Decision = Take | Replay | Held | Spent | Grace


def judge(row: Row | None, wish: Wanted, *, timeline: int, earlier_token: int | None = None) -> Decision:
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
    if row.holder is not None and on_older_timeline(row.timeline, timeline):
        return Grace()
    return Take()


def on_older_timeline(confirmed: int, server: int) -> bool:
    """Whether a failover lies between; unknown timelines (0) never tell."""
    return 0 < confirmed < server
