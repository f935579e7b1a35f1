"""Incidents as Kubernetes Events on the pod, through the API server, with the service account's token.

Best effort, and off by default. Of the same kind there is one Event, whose series counts. The token and the authority's
certificate are read again for each request: Kubernetes changes the one every hour, and perhaps the other.
"""

import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp

from poolguard.core.clock import Clock
from poolguard.guard.book import IncidentBook
from poolguard.guard.digest import MOST_KINDS, kind_of
from poolguard.guard.incidents import Incident
from poolguard.settings.model import KubernetesEvents as EventSettings
from poolguard.web.courier import MOST_READ, PAUSES, Courier, Refused, refused
from poolguard.web.kubernetes_event import NAME_CHARACTERS, Pod, event_of, reason_of, series_of
from poolguard.web.replies import to_json

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where kubelet puts `token`, `ca.crt` and `namespace`."""

_NOT_FOUND: Final = 404


class _Told(NamedTuple):
    name: str
    """Of the Event."""
    times: int


class KubernetesEvents(Courier):
    """Carries what ended something, and pools that were exhausted. *environ* says where the API server and the pod are:
    KUBERNETES_SERVICE_HOST and _PORT, POD_NAME, POD_NAMESPACE, POD_UID."""

    name = "kubernetes"

    def __init__(
        self,
        book: IncidentBook,
        clock: Clock,
        settings: Callable[[], EventSettings],
        environ: Mapping[str, str],
        *,
        account: Path = ACCOUNT,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        super().__init__(book, clock, pauses=pauses)
        self._settings = settings
        self._environ = environ
        self._account = account
        self._told: OrderedDict[tuple[object, ...], _Told] = OrderedDict()
        self._authority: tuple[bytes, ssl.SSLContext] | None = None

    def repeat_after(self, incident: Incident) -> float | None:
        """See `Courier`."""
        settings = self._settings()
        return settings.repeat_after if settings.enabled and reason_of(incident) is not None else None

    async def attempt(self, session: aiohttp.ClientSession, incident: Incident, repeats: int) -> Refused | None:
        """See `Courier`."""
        host, pod = self._environ.get("KUBERNETES_SERVICE_HOST", ""), self._pod()
        if not host or pod is None:
            return Refused("not in a pod: KUBERNETES_SERVICE_HOST, POD_NAME or POD_NAMESPACE is not set", again=False)
        port = self._environ.get("KUBERNETES_SERVICE_PORT", "443")
        address = f"[{host}]" if ":" in host else host
        url = f"https://{address}:{port}/apis/events.k8s.io/v1/namespaces/{pod.namespace}/events"
        kind, now = kind_of(incident), self._clock.wall()
        before = self._told.get(kind)
        if before is not None:
            times = before.times + repeats + 1
            body = to_json(series_of(times, now))
            status = await self._ask(session, "PATCH", f"{url}/{before.name}", body, "application/merge-patch+json")
            if status != _NOT_FOUND:  # else it was forgotten: Events live for an hour
                if status < 300:
                    self._remember(kind, _Told(before.name, times))
                return refused(status)
        name = f"{pod.name[:NAME_CHARACTERS].rstrip('-.')}.{incident.id}"
        status = await self._ask(
            session, "POST", url, to_json(event_of(incident, pod, name=name, now=now)), "application/json"
        )
        if status < 300:
            self._remember(kind, _Told(name, 1))
        return refused(status)

    def _pod(self) -> Pod | None:
        name, namespace = self._environ.get("POD_NAME", ""), self._environ.get("POD_NAMESPACE", "")
        return Pod(name=name, namespace=namespace, uid=self._environ.get("POD_UID", "")) if name and namespace else None

    def _remember(self, kind: tuple[object, ...], told: _Told) -> None:
        self._told[kind] = told
        self._told.move_to_end(kind)
        if len(self._told) > MOST_KINDS:
            self._told.popitem(last=False)

    async def _ask(self, session: aiohttp.ClientSession, method: str, url: str, body: bytes, content: str) -> int:
        token = (self._account / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content}
        timeout = aiohttp.ClientTimeout(total=self._settings().timeout)
        async with session.request(
            method,
            url,
            data=body,
            headers=headers,
            timeout=timeout,
            ssl=self._context(),
            allow_redirects=False,
        ) as answer:
            await answer.content.read(MOST_READ)
            return answer.status

    def _context(self) -> ssl.SSLContext:
        """Trust the cluster's own authority, and nobody else."""
        certificate = (self._account / "ca.crt").read_bytes()
        if self._authority is None or self._authority[0] != certificate:
            # Not create_default_context: from Python 3.13 on its VERIFY_X509_STRICT refuses many a cluster's authority.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=certificate.decode())
            self._authority = (certificate, context)
        return self._authority[1]
