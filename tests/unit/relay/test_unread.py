from dataclasses import dataclass

from poolguard.relay.unread import LINGER_SECONDS, Unread


@dataclass(eq=False)
class Reader:
    left: int
    closed: bool = False

    def unread_bytes(self) -> int:
        return self.left


def test_who_reads_nothing_is_overdue() -> None:
    unread, zombie = Unread[Reader](), Reader(100)
    unread.begins(zombie, 10.0)
    assert unread.overdue(39.9, 30.0) == []
    assert unread.overdue(40.0, 30.0) == [zombie]


def test_who_reads_however_slowly_is_not() -> None:
    unread, slow = Unread[Reader](), Reader(100)
    unread.begins(slow, 0.0)
    for second in range(1, 99):
        slow.left -= 1
        assert unread.overdue(float(second * 29), 30.0) == []


def test_more_bytes_for_it_are_no_sign_of_life() -> None:
    unread, zombie = Unread[Reader](), Reader(100)
    unread.begins(zombie, 0.0)
    for second in range(1, 30):
        zombie.left += 1
        assert unread.overdue(float(second), 30.0) == []
    assert unread.overdue(30.0, 30.0) == [zombie]


def test_a_second_beginning_is_not_a_new_one() -> None:
    unread, zombie = Unread[Reader](), Reader(100)
    unread.begins(zombie, 0.0)
    unread.begins(zombie, 20.0)
    assert unread.overdue(30.0, 30.0) == [zombie]


def test_who_has_read_all_or_is_gone_is_forgotten() -> None:
    unread, reader = Unread[Reader](), Reader(100)
    unread.begins(reader, 0.0)
    unread.ends(reader)
    unread.ends(reader)
    assert (len(unread), unread.overdue(1000.0, 30.0)) == (0, [])


def test_zero_is_for_ever_but_not_after_the_sessions_end() -> None:
    unread, zombie = Unread[Reader](), Reader(100)
    unread.begins(zombie, 0.0)
    assert unread.overdue(1e9, 0.0) == []
    zombie.closed = True
    assert unread.overdue(1e9 + LINGER_SECONDS, 0.0) == [zombie]
