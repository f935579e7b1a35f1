"""The lease API, one method a request."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode
from uuid import uuid4

from poolguard.client.http import DEFAULT_URL, Answer, Http, path_of
from poolguard.client.term import Term, boottime
from poolguard.core.errors import LeaseNotFound, LeaseUnknown, NotLeader

if TYPE_CHECKING:
    from poolguard.client.async_holding import AsyncHolding
    from poolguard.client.holding import Holding

REQUEST_SECONDS: Final = 5.0
"""poolguard gives up on a lease request after 4 s, and says so."""
_PAGE: Final = 100
_LOOK_SECONDS: Final = 2.0
"""How long one look waits for a change: as long as it may take to notice that one should not wait any more."""


class LeaseClient:
    """Leases of the poolguard at *url*. Safe to use from several threads; requests go one after the other.

    Every method blocks for at most *timeout* seconds a step and raises the errors of `core.errors`: LeaseUnavailable
    (nothing was changed), LeaseUnknown (it may have been: repeat it), InvalidLease (the request was wrong).
    *admin_token* is for force_release.
    """

    def __init__(self, url: str = DEFAULT_URL, *, admin_token: str = "", timeout: float = REQUEST_SECONDS) -> None:
        self.url: Final = url
        self.timeout: Final = timeout
        self._admin_token: Final = admin_token
        self._http: Final = Http(url, admin_token=admin_token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def another(self) -> "LeaseClient":
        """The same with a connection of its own, behind whose requests nobody else waits."""
        return LeaseClient(self.url, admin_token=self._admin_token, timeout=self.timeout)

    # As a holder

    def acquire(
        self,
        name: str,
        *,
        holder: str,
        ttl_seconds: float | None = None,
        request_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        slots: int = 1,
        timeout: float | None = None,
    ) -> Term:
        """Begin a term; of *slots* that may run at once any one, and the term's name tells which.

        After LeaseUnknown repeat it with the same *request_id*: that finds the term if there is one.
        Raises LeaseHeld (another term runs; it says for how long), LeaseLost (this request_id had its term).
        """
        body: dict[str, object] = {"holderIdentity": holder, "requestId": request_id or str(uuid4())}
        if ttl_seconds is not None:
            body["leaseDurationSeconds"] = ttl_seconds
        if metadata is not None:
            body["metadata"] = metadata
        if slots != 1:
            body["slots"] = slots
        sent_at = boottime()
        return _term(self._ask("PUT", path_of("v1/leases", name), body, timeout=timeout), sent_at)

    def renew(self, term: Term, *, timeout: float | None = None) -> Term:
        """Let *term* run for its whole time again. Raises LeaseLost: stop at once."""
        body = {"holderIdentity": term.holder, "token": term.token}
        sent_at = boottime()
        return _term(self._ask("POST", path_of("v1/leases", term.name, "renew"), body, timeout=timeout), sent_at)

    def release(self, term: Term, *, timeout: float | None = None) -> None:
        """Give *term* back; again does no harm. Stop what it protects before. Raises LeaseLost, LeaseNotFound."""
        query = urlencode({"holderIdentity": term.holder, "token": term.token})
        self._ask("DELETE", f"{path_of('v1/leases', term.name)}?{query}", timeout=timeout)

    def hold(
        self,
        name: str,
        *,
        holder: str | None = None,
        ttl_seconds: float = 15.0,
        wait_seconds: float | None = None,
        metadata: Mapping[str, object] | None = None,
        slots: int = 1,
    ) -> "Holding":
        """Hold a lease for the length of a `with`: see `Holding`."""
        from poolguard.client.holding import Holding

        return Holding(
            self,
            name,
            holder=holder,
            ttl_seconds=ttl_seconds,
            wait_seconds=wait_seconds,
            metadata=metadata,
            slots=slots,
        )

    def hold_async(
        self,
        name: str,
        *,
        holder: str | None = None,
        ttl_seconds: float = 15.0,
        wait_seconds: float | None = None,
        metadata: Mapping[str, object] | None = None,
        slots: int = 1,
    ) -> "AsyncHolding":
        """Hold a lease for the length of an `async with`: see `AsyncHolding`."""
        from poolguard.client.async_holding import AsyncHolding

        return AsyncHolding(
            self,
            name,
            holder=holder,
            ttl_seconds=ttl_seconds,
            wait_seconds=wait_seconds,
            metadata=metadata,
            slots=slots,
        )

    # As anybody

    def look(
        self, name: str, *, index: str | None = None, wait_seconds: float = 0.0
    ) -> tuple[Mapping[str, Any] | None, str | None]:
        """The lease as `get` has it, and the index of what was seen.

        With *index*, of an earlier answer: when it is no longer so, or after *wait_seconds* (at most 60) all the same.
        """
        query = urlencode({"index": index, "wait": f"{int(wait_seconds * 1000)}ms"}) if index is not None else ""
        path = path_of("v1/leases", name) + (f"?{query}" if query else "")
        try:
            answer = self._ask("GET", path, timeout=self.timeout + wait_seconds)
        except LeaseNotFound:
            return None, None
        return answer.body, answer.index

    def get(self, name: str) -> Mapping[str, Any] | None:
        """The lease as PostgreSQL has it, in the words of the HTTP API; None if nobody has ever held it."""
        try:
            return self._ask("GET", path_of("v1/leases", name)).body
        except LeaseNotFound:
            return None

    def wait_until_free(self, name: str, seconds: float, *, given_up: Callable[[], bool] = lambda: False) -> None:
        """Return when nobody holds *name* any more, after *seconds*, or within 2 s once *given_up* says so."""
        until, index = boottime() + seconds, None
        while not given_up() and (left := until - boottime()) > 0:
            lease, index = self.look(name, index=index, wait_seconds=min(left, _LOOK_SECONDS))
            if lease is None or lease["holderIdentity"] is None or lease["validForMs"] <= 0:
                return

    def list(self, *, prefix: str = "") -> Iterator[Mapping[str, Any]]:
        """Every lease whose name begins with *prefix*, by name."""
        after: str | None = ""
        while after is not None:
            query = urlencode({"after": after, "prefix": prefix, "limit": _PAGE})
            page = self._ask("GET", f"/v1/leases?{query}").body
            yield from page["leases"]
            after = page["next"]

    def leader(self, name: str) -> Mapping[str, Any] | None:
        """The term of *name* that this poolguard trusts; None: nobody leads through it. Never asks PostgreSQL."""
        try:
            return self._ask("GET", path_of("leader", name)).body
        except NotLeader:
            return None

    def step_down(
        self, name: str, *, hold_off_seconds: float | None = None, preferred: str | None = None
    ) -> Mapping[str, Any]:
        """Ask whoever leads to give the lease back; it then stays away for *hold_off_seconds*.

        Meanwhile only *preferred* may follow, if named. Raises LeaseNotFound if nobody leads.
        """
        asked = {"holdOffSeconds": hold_off_seconds, "preferredHolder": preferred}
        body = {key: value for key, value in asked.items() if value is not None}
        return self._ask("POST", path_of("v1/elections", name, "step-down"), body).body

    def force_release(self, name: str, *, actor: str | None = None, reason: str | None = None) -> None:
        """End whatever term of *name* runs, over its holder's head. Needs the admin token; is an incident.

        *actor*, *reason*: who did it and why, for the record. Raises LeaseNotFound if nobody holds it.
        """
        told = {key: value for key, value in (("actor", actor), ("reason", reason)) if value is not None}
        self._ask("DELETE", path_of("v1/admin/leases", name) + (f"?{urlencode(told)}" if told else ""))

    def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, timeout: float | None = None
    ) -> Answer:
        return self._http.ask(method, path, body, timeout=self.timeout if timeout is None else timeout)


def _term(answer: Answer, sent_at: float) -> Term:
    lease = answer.body
    try:
        return Term(
            name=str(lease["name"]),
            holder=str(lease["holderIdentity"]),
            token=int(lease["token"]),
            ttl_seconds=float(lease["leaseDurationSeconds"]),
            trusted_until=sent_at + float(lease["validForMs"]) / 1000,
            step_down=bool(lease.get("stepDownRequested")),
            metadata=lease.get("metadata"),
        )
    except (KeyError, TypeError, ValueError):
        raise LeaseUnknown("poolguard's answer is not a lease: is something else listening there?") from None
