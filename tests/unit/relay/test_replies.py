"""One reply of a server that is not simply passed on."""

from poolguard.relay.replies import Reply


def test_only_a_swallowed_completion_is_kept_from_the_client() -> None:
    assert Reply(swallow=True).completed()
    assert not Reply().completed()


def test_what_was_skipped_by_an_error_is_undone() -> None:
    undone: list[str] = []
    Reply(on_undone=lambda: undone.append("once")).undone()
    assert undone == ["once"]


def test_there_may_be_nothing_to_undo() -> None:
    reply = Reply(local=b"3\0\0\0\4")
    reply.undone()
    assert reply.local == b"3\0\0\0\4"
