"""A lease that is renewed in a thread of its own, all through the demo, with every answer timed."""

import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self
from urllib.parse import quote

from poolguard.demo.api import Api, ApiFailed

ACQUIRE_SECONDS: Final = 10.0
"""For how long a store that is not ready yet is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """How the renewals went. Times are seconds."""

    renewed: int
    missed: tuple[str, ...]
    """Why, for each renewal that was not answered with 200."""
    median_seconds: float
    worst_seconds: float
    longest_gap_seconds: float
    """Between two renewals that were answered: as long as the time to live, and the lease would be lost."""


def summarise(latencies: list[float], answered_at: list[float], missed: list[str]) -> Beats:
    """Sum up what a heart has noted."""
    gaps = [later - earlier for earlier, later in pairwise(answered_at)]
    return Beats(
        renewed=len(latencies),
        missed=tuple(missed),
        median_seconds=sorted(latencies)[len(latencies) // 2] if latencies else 0.0,
        worst_seconds=max(latencies, default=0.0),
        longest_gap_seconds=max(gaps, default=0.0),
    )


class Heartbeat:
    """Acquires on entry, renews until the exit, then releases."""

    def __init__(self, port: int, *, lease: str, holder: str, ttl_seconds: int, every_seconds: float) -> None:
        self._port: Final = port
        self._path: Final = f"/v1/leases/{quote(lease)}"
        self._holder: Final = holder
        self._ttl_seconds: Final = ttl_seconds
        self._every_seconds: Final = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-heartbeat", daemon=True)
        self._latencies: list[float] = []
        self._answered_at: list[float] = []
        self._missed: list[str] = []
        self.token = 0

    def __enter__(self) -> Self:
        self.token = self._acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> Beats:
        """Renew no more; return how it went."""
        self._over.set()
        self._thread.join()
        return self.beats()

    def beats(self) -> Beats:
        """How it went so far."""
        return summarise(list(self._latencies), list(self._answered_at), list(self._missed))

    def _acquire(self) -> int:
        wish = {"holderIdentity": self._holder, "leaseDurationSeconds": self._ttl_seconds}
        deadline = time.monotonic() + ACQUIRE_SECONDS
        with Api(self._port) as api:
            while True:
                status, body = api.ask("PUT", self._path, wish)
                if status == 201:
                    return int(body["token"])
                # poolguard is ready for clients before its lease store is.
                if status != 503 or time.monotonic() >= deadline:
                    raise ApiFailed(f"the lease was not granted: {status} {body.get('message', '')}")
                time.sleep(self._every_seconds)

    def _run(self) -> None:
        with Api(self._port) as api:
            while not self._over.wait(self._every_seconds):
                self._renew(api)
            query = f"holderIdentity={quote(self._holder, safe='')}&token={self.token}"
            try:
                api.ask("DELETE", f"{self._path}?{query}", {})
            except ApiFailed:
                return  # it runs out by itself

    def _renew(self, api: Api) -> None:
        started = time.monotonic()
        try:
            status, body = api.ask("POST", f"{self._path}/renew", {"holderIdentity": self._holder, "token": self.token})
        except ApiFailed as error:
            self._missed.append(error.message)
            return
        ended = time.monotonic()
        if status == 200 and body.get("token") == self.token:
            self._latencies.append(ended - started)
            self._answered_at.append(ended)
        else:
            self._missed.append(f"{status} {body.get('error', '')}")
