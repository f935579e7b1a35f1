"""poolguard as a candidate by itself, for applications that only ask who leads: it campaigns from start to stop."""

import logging
from typing import Final
from uuid import uuid4

from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.core.errors import LeaseUnavailable, ShuttingDown
from poolguard.lease import proof, terms
from poolguard.lease.campaign import Phase
from poolguard.lease.campaigns import Campaigns, Run

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
_UNCHECKED_SECONDS: Final = 10 * 365 * 86_400.0
"""Its proof is that poolguard runs."""


class Candidate:
    """A Service (`aio.service`). While its URL does not answer 2xx it is no candidate; without one it always is."""

    name: Final = "candidate"

    def __init__(
        self, campaigns: Campaigns, clock: Clock, *, election: str, holder: str, check_url: str | None
    ) -> None:
        """Raises InvalidLease."""
        self.election: Final = terms.check_name(election)
        self.holder: Final = terms.check_holder(holder)
        self._campaigns: Final = campaigns
        self._clock: Final = clock
        self._prove: Final = None if check_url is None else proof.of_url(check_url)
        self._tasks: Final = TaskOwner(_crashed)
        self._run: Run | None = None

    async def start(self) -> None:
        """Begin to campaign."""
        self._tasks.spawn(self._keep_campaigning(), name="lease-candidate")

    async def drain(self, deadline: float) -> None:
        """Nothing: the campaigns resign."""

    async def stop(self) -> None:
        """Begin no more."""
        await self._tasks.close()

    @property
    def leads(self) -> bool:
        """Whether this poolguard trusts a term of its own."""
        belief = self._campaigns.manager.leader(self.election)
        return belief is not None and belief.holder == self.holder

    @property
    def leader(self) -> str:
        """Who leads, as far as is known; empty: nobody, or nobody knows. Ourselves only while we trust our term."""
        if self.leads:
            return self.holder
        if self._run is None or self._run.campaign.phase is Phase.ENDED:
            return ""
        topic = self._run.watch.topic(self.election)
        row, age = topic.row, self._clock.monotonic() - topic.seen_at
        if row is None or not row.running or row.holder is None or age >= row.valid_for_seconds:
            return ""
        return row.holder if row.holder != self.holder else ""

    async def _keep_campaigning(self) -> None:
        while True:
            ended = self._run is None or self._run.campaign.phase is Phase.ENDED
            if ended and (self._prove is None or await self._prove()):
                self._begin()
            await self._clock.sleep_until(self._clock.monotonic() + LOOK_SECONDS)

    def _begin(self) -> None:
        ttl = self._campaigns.manager.default_ttl_seconds
        wish = terms.wanted(name=self.election, holder=self.holder, ttl_seconds=ttl, request_id=f"candidate-{uuid4()}")
        liveness = _UNCHECKED_SECONDS if self._prove is None else ttl
        try:
            self._run, _ = self._campaigns.campaign(wish, liveness_seconds=liveness, prove=self._prove)
        except (LeaseUnavailable, ShuttingDown):
            self._run = None


def _crashed(task: str, error: BaseException) -> None:
    log.error("lease task failed", extra={"task": task}, exc_info=error)
