"""Statements of poolguard's own in a client's batch."""

from poolguard.relay.asides import aside
from poolguard.wire.framing import FrameSplitter


def test_each_message_has_its_reply_and_the_clients_portal_stays() -> None:
    """P6."""
    data, replies = aside(b"SELECT WHERE false")
    frames = FrameSplitter(max_body=1000).feed(data)
    assert bytes(tag for tag, _ in frames) == b"PBEC"
    assert len(replies) == len(frames)
    assert all(reply.swallow for reply in replies)
    assert all(not body.startswith(b"\0") for tag, body in frames if tag in b"BE")


def test_who_runs_it_is_told_if_an_error_came_first() -> None:
    """P3: once."""
    told: list[str] = []
    _, replies = aside(b"SELECT WHERE false", lambda: told.append("undone"))
    for reply in replies:
        reply.undone()
    assert told == ["undone"]
