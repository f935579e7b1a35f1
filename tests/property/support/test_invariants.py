"""Histories of a lease that works, drawn at random, pass; each with one thing made wrong does not."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.history import Event, Granted, Lost, Released, Renewed, Wrote
from tests.support.invariants import of, violations

TTL = 10.0
MARGIN = 1.0
Step = tuple[float, float, str]

STEPS = st.lists(
    st.tuples(
        st.floats(0.01, 12.0),  # time until the request is sent
        st.floats(0.0, 2.0),  # how long it takes; PostgreSQL acts in the middle
        st.sampled_from(["renew", "renew", "renew", "release", "acquire", "acquire"]),
    ),
    min_size=1,
    max_size=40,
)


def history(steps: list[Step]) -> list[Event]:
    """What happens to one lease in a world of one request at a time."""
    events: list[Event] = []
    now, token, expires = 0.0, 0, 0.0
    held = False
    for wait, takes, what in steps:
        sent, acted, now = now + wait, now + wait + takes / 2, now + wait + takes
        if what == "acquire" and acted >= expires:
            token, expires, held = token + 1, acted + TTL, True
            events.append(
                Granted(
                    name="a",
                    token=token,
                    holder=f"h{token}",
                    request_id=f"r{token}",
                    sent_at=sent,
                    answered_at=now,
                    valid_for=TTL - MARGIN - takes / 2,
                    ttl=TTL,
                )
            )
            events.append(Wrote(name="a", token=token, order=len(events)))
        elif what == "renew" and token and held:
            if acted < expires:
                expires = acted + TTL
                events.append(
                    Renewed(
                        name="a",
                        token=token,
                        holder=f"h{token}",
                        sent_at=sent,
                        answered_at=now,
                        valid_for=TTL - MARGIN - takes / 2,
                        ttl=TTL,
                    )
                )
            else:
                held = False
                events.append(Lost(name="a", token=token, sent_at=sent, answered_at=now))
        elif what == "release" and token and held:
            expires, held = min(expires, acted), False
            events.append(Released(name="a", token=token, sent_at=sent, answered_at=now))
    return events


@given(STEPS)
def test_what_a_lease_that_works_does_is_right(steps: list[Step]) -> None:
    assert violations(history(steps)) == []


@given(STEPS, st.data())
def test_a_second_grant_inside_of_a_belief_is_found(steps: list[Step], data: st.DataObject) -> None:
    events = history(steps)
    victims = [each for each in of(events, Granted) if each.answered_at + 0.1 < each.trusted_until]
    assume(victims)
    victim = data.draw(st.sampled_from(victims))
    ended = min(
        (each.sent_at for each in of(events, Released) + of(events, Lost) if each.token == victim.token),
        default=victim.trusted_until,
    )
    assume(victim.answered_at < ended)
    at = data.draw(st.floats(victim.answered_at, min(ended, victim.trusted_until), exclude_min=True, exclude_max=True))
    rival = replace(victim, token=10**6, holder="x", request_id="x", sent_at=at, answered_at=at)
    assert "I2" in {each.invariant for each in violations([*events, rival])}


@given(STEPS, st.data())
def test_a_token_that_comes_again_is_found(steps: list[Step], data: st.DataObject) -> None:
    grants = of(history(steps), Granted)
    assume(grants)
    victim = data.draw(st.sampled_from(grants))
    end = max(each.answered_at for each in grants) + 1000.0
    again = replace(victim, request_id="x", sent_at=end, answered_at=end)
    assert "I1" in {each.invariant for each in violations([*history(steps), again])}


@given(STEPS, st.data())
def test_a_renewal_that_revives_is_found(steps: list[Step], data: st.DataObject) -> None:
    events = history(steps)
    grants = of(events, Granted)
    assume(grants)
    victim = data.draw(st.sampled_from(grants))
    end = max(each.answered_at for each in of(events, Granted) + of(events, Renewed)) + TTL + 0.1
    late = Renewed(
        name="a", token=victim.token, holder=victim.holder, sent_at=end, answered_at=end, valid_for=1.0, ttl=TTL
    )
    assert "I5" in {each.invariant for each in violations([*events, late])}


@given(STEPS)
def test_a_write_of_an_older_term_is_found(steps: list[Step]) -> None:
    events = history(steps)
    writes = of(events, Wrote)
    assume(len(writes) > 1)
    late = replace(writes[0], order=10**6)
    assert "I3" in {each.invariant for each in violations([*events, late])}
