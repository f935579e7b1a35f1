"""Which leases are watched, what was seen of them last, and when to look again. Pure: facts and `now` in, names out.

`now` is on the monotonic clock. *jitter* is a number from 0 to 1 that the caller drew: many poolguards watch the same
lease, and must not all ask in the same moment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from poolguard.lease.terms import Row

FIRST_PAUSE_SECONDS: Final = 0.25
"""After a change it is soon looked again (a release is often followed by a new term), then half as often each time."""
LISTENING_PAUSE_SECONDS: Final = 5.0
"""At the latest, while releases are heard of."""
POLLING_PAUSE_SECONDS: Final = 1.0
"""At the latest, while they are not; and while a watched lease is free, for nobody notifies of a new term."""
END_JITTER_SECONDS: Final = 0.25
"""Up to so long after the end of a term it is looked whether it was renewed."""
WAKE_JITTER_SECONDS: Final = 0.05
LEAST_PAUSE_SECONDS: Final = 0.1
"""Between two looks at one lease, whoever may notify how often."""
OVERTAKEN_SECONDS: Final = 1.0
"""For so long what was seen is not undone by something older; after that a table may have been restored."""
MAX_TOPICS: Final = 2000


@dataclass(slots=True)
class Topic:
    """One lease that is watched."""

    row: Row | None = None
    seen_at: float = float("-inf")
    """When that was; never, at first."""
    due_at: float = float("-inf")
    quiet: int = 0
    """Looks since the last change."""
    watchers: int = 0

    @property
    def index(self) -> int | None:
        """What a watcher compares; 0 for a lease without a row; None: not seen yet, or not of late."""
        if self.seen_at == float("-inf"):
            return None
        return 0 if self.row is None else self.row.index


class Topics:
    """All that are watched. Names come from callers, so their number has a limit."""

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def get(self, name: str) -> Topic | None:
        """What is known of *name*; None: nobody watches it."""
        return self._topics.get(name)

    def room_for(self, names: Iterable[str]) -> bool:
        """Whether these can be watched too."""
        return len(self._topics.keys() | set(names)) <= MAX_TOPICS

    def watch(self, names: Iterable[str]) -> None:
        """One more watches *names*."""
        for name in names:
            self._topics.setdefault(name, Topic()).watchers += 1

    def unwatch(self, names: Iterable[str]) -> None:
        """One less does."""
        for name in names:
            topic = self._topics[name]
            topic.watchers -= 1
            if topic.watchers <= 0:
                del self._topics[name]

    def wake(self, name: str, *, now: float, jitter: float) -> None:
        """Somebody said that *name* has changed."""
        topic = self._topics.get(name)
        if topic is not None:
            soon = max(now + jitter * WAKE_JITTER_SECONDS, topic.seen_at + LEAST_PAUSE_SECONDS)
            topic.due_at = min(topic.due_at, soon)

    def wake_all(self, *, now: float, jitter: float) -> None:
        """Something may have been missed."""
        for name in self._topics:
            self.wake(name, now=now, jitter=jitter)

    def due(self, *, now: float, limit: int) -> Sequence[str]:
        """Up to *limit* leases to look at now, the most overdue first."""
        due = [(topic.due_at, name) for name, topic in self._topics.items() if topic.due_at <= now]
        return [name for _, name in sorted(due)[:limit]]

    def next_due(self) -> float | None:
        """When the next look is due; None: nothing is watched."""
        return min((topic.due_at for topic in self._topics.values()), default=None)

    def saw(self, name: str, row: Row | None, *, now: float, listening: bool, jitter: float) -> bool:
        """Take in *row*, as PostgreSQL had it a moment ago; says whether that is news for watchers."""
        topic = self._topics.get(name)
        if topic is None:
            return False
        before, known = topic.index, topic.row
        if row is not None and known is not None and _overtaken(row, known) and now - topic.seen_at < OVERTAKEN_SECONDS:
            return False
        topic.row, topic.seen_at = row, now
        changed = topic.index != before
        topic.quiet = 0 if changed else topic.quiet + 1
        topic.due_at = now + _pause(topic, listening=listening, jitter=jitter)
        return changed

    def failed(self, names: Iterable[str], *, now: float) -> None:
        """PostgreSQL could not be asked about *names*."""
        for name in names:
            if (topic := self._topics.get(name)) is not None:
                topic.quiet += 1
                topic.due_at = now + min(POLLING_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(topic.quiet, 4))


def _overtaken(row: Row, known: Row) -> bool:
    return (row.token, row.version) < (known.token, known.version)


def _pause(topic: Topic, *, listening: bool, jitter: float) -> float:
    often = FIRST_PAUSE_SECONDS * 2.0 ** min(topic.quiet, 6)
    if topic.row is None or not topic.row.running:
        return min(often, POLLING_PAUSE_SECONDS)
    to_its_end = topic.row.valid_for_seconds + jitter * END_JITTER_SECONDS
    return min(often, LISTENING_PAUSE_SECONDS if listening else POLLING_PAUSE_SECONDS, to_its_end)
