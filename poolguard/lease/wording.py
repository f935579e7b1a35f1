"""What a caller is told when a lease is not theirs. Pure."""

from math import ceil

from poolguard.core.errors import LeaseHeld, LeaseHeldOff, LeaseLost, LeaseNotFound
from poolguard.lease.terms import Row, TermKey


def _ms(row: Row) -> int:
    # Rounded up: who waits that long finds the term over.
    return ceil(row.valid_for_seconds * 1000) if row.running else 0


def held(row: Row) -> LeaseHeld:
    """Name the holder of *row*, whose term runs, and what is left of it; or for how long the caller must wait."""
    if row.held_off is not None:
        first = "all but the holder that stepped down" if row.held_off.preferred is None else "a preferred holder"
        return LeaseHeldOff(
            f"lease {row.name!r} is free, for {first}",
            holder=None,
            valid_for_ms=ceil(row.held_off.seconds * 1000),
            hint="Try again when validForMs have passed.",
        )
    return LeaseHeld(
        f"lease {row.name!r} is held by another term",
        holder=row.holder,
        valid_for_ms=_ms(row),
        hint="Try again when validForMs have passed, not sooner than that by much.",
    )


def lost(row: Row | None, why: str, *, hint: str = "Stop acting as its holder at once.") -> LeaseLost:
    """Say *why* a term is over; *row* is what there is now."""
    holder = row.holder if row is not None and row.running else None
    return LeaseLost(why, holder=holder, valid_for_ms=_ms(row) if row is not None else 0, hint=hint)


def why_over(row: Row | None, term: TermKey) -> str:
    """Tell in words how *row* shows that *term* is over."""
    if row is None:
        return "there is no such lease: nobody has ever held it under this name, or its row was deleted"
    if (row.holder, row.token) == (term.holder, term.token):
        return "this term was not renewed in time"
    if row.token == term.token and row.holder is None:
        return "this term was released"
    if row.token > term.token:
        return "a newer term has begun"
    return "there is no such term"


def not_found(name: str) -> LeaseNotFound:
    """Say that no row exists."""
    return LeaseNotFound(f"there is no lease {name!r}: nobody has ever held it")
