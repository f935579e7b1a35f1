"""New settings into a running house: on SIGHUP, and when the file changes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from watchfiles._rust_notify import RustNotify

from poolguard.core.errors import SettingsError
from poolguard.daemon.house import House
from poolguard.daemon.logs import set_level
from poolguard.daemon.targets import Targets
from poolguard.metrics.sources import ReloadResult
from poolguard.relay.door import Door
from poolguard.relay.tls import ClientTls
from poolguard.settings.apart import load_apart
from poolguard.settings.diff import ReloadPlan, plan_reload
from poolguard.settings.loaded import WITHOUT_FILE, Loaded
from poolguard.settings.model import Settings

log = logging.getLogger(__name__)

QUIET_MILLISECONDS: Final = 200
"""A file that is written in several quick steps is read once, after the last."""
STEP_MILLISECONDS: Final = 50
"""How soon the watching thread notices that it is to stop."""
LOOK_SECONDS: Final = 5.0
"""How often the file is looked at anyway: not every file system tells of changes, and watches can run out."""


ReadSettings: TypeAlias = Callable[[str | None, Mapping[str, str]], Loaded]
"""What reads the settings, in a thread: as `settings.load.load` does."""


class Reloader:
    """A service. One reload at a time; a bad file changes nothing and says so.

    Make it right after the settings were read: what changes from then on is noticed.
    """

    name = "reload"

    def __init__(self, house: House, *, read: ReadSettings = load_apart) -> None:
        self._house = house
        self._read_settings = read
        source = house.in_force.source
        self._file = None if source == WITHOUT_FILE else Path(source)
        self._seen = self._state()
        self._lock = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._stop = asyncio.Event()

    async def start(self) -> None:
        """Watch the settings file's folder, if there is a file.

        The folder, because Kubernetes replaces a ConfigMap by swapping a link in it: a watch of the file sees the
        first swap only.
        """
        self._started.set()
        if self._file is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(self._file), name="watch settings")
            await asyncio.sleep(0)  # its first step sets the watch up

    async def drain(self, deadline: float) -> None:
        """Nothing is reloaded any more."""
        await self.stop()

    async def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, file: Path) -> None:
        async for _ in self._looks(file.parent):
            state = self._state()
            if state != self._seen:  # the folder may be a busy one
                self._seen = state
                await self.reload(asked="file changed")

    def _state(self) -> list[tuple[str, int, int] | None]:
        """Of the settings file, and of the certificate's and upstream passwords' files; those lie elsewhere, and are
        looked at every now and then, but not watched."""
        if self._file is None:
            return []
        settings = self._house.in_force.settings
        tls = settings.listen.clients.tls
        more = [] if tls is None else [tls.cert_file, tls.key_file, tls.ca_file]
        more.append(settings.upstream.password_file)
        more += [pool.upstream.password_file for pool in settings.pools.values() if pool.upstream is not None]
        return [_state_of(self._file), *(_state_of(Path(name)) for name in more if name is not None)]

    async def _looks(self, folder: Path) -> AsyncIterator[None]:
        """Come back when something in *folder* may have changed."""
        try:
            # watchfiles' "Rust backend direct usage": its awatch would bring a second runtime, anyio's, into memory.
            # Closed by nobody: after a cancellation the thread is still in it, for a step, and has the last reference.
            watcher = RustNotify(
                [str(folder)],
                debug=False,
                force_polling=False,
                poll_delay_ms=0,
                recursive=False,
                ignore_permission_denied=False,
            )
            while not self._stop.is_set():
                await asyncio.to_thread(
                    watcher.watch, QUIET_MILLISECONDS, STEP_MILLISECONDS, int(LOOK_SECONDS * 1000), self._stop
                )
                yield
        except (OSError, RuntimeError) as error:
            # The kernel's limit of watches is shared by all that runs on the machine; watchfiles' own errors are
            # RuntimeErrors.
            log.warning(
                "the folder of the settings can't be watched; the file is looked at from time to time",
                extra={"reason": str(error), "every_seconds": LOOK_SECONDS},
            )
        while not self._stop.is_set():
            await self._house.clock.sleep_until(self._house.clock.monotonic() + LOOK_SECONDS)
            yield

    async def reload(self, *, asked: str) -> ReloadResult | None:
        """Read the settings again and take over what can be taken over live. Waits for start(); None after stop()."""
        await self._started.wait()
        async with self._lock:
            if self._stop.is_set():
                log.info("poolguard stops: settings are not reloaded", extra={"asked": asked})
                return None
            try:
                return await self._reload(asked)
            except Exception:
                self._house.in_force.reloads[ReloadResult.REFUSED] += 1
                self._house.in_force.last_refusal = "a bug in poolguard; its log has more"
                log.exception("reloading failed; please report this as a bug", extra={"asked": asked})
                return ReloadResult.REFUSED

    async def _reload(self, asked: str) -> ReloadResult:
        house = self._house
        in_force = house.in_force
        try:
            loaded, targets, door = await asyncio.to_thread(self._read)
            plan = plan_reload(in_force.settings, loaded.settings)
            result = ReloadResult.UNCHANGED if loaded.hash == in_force.hash else ReloadResult.APPLIED
            house.guard.reconfigure(loaded.settings, loaded.hash)
            if house.foreign is not None:
                house.foreign.reconfigure(loaded.settings)
        except (SettingsError, OSError) as error:
            in_force.reloads[ReloadResult.REFUSED] += 1
            in_force.last_refusal = str(error)
            log.error(  # noqa: TRY400 - the operator's mistake, told in words; a traceback would hide them
                "the new settings have problems; those in force stay",
                extra={"asked": asked, "settings_hash": in_force.hash, "problems": str(error).splitlines()},
            )
            return ReloadResult.REFUSED
        in_force.last_refusal = ""
        in_force.reloads[result] += 1
        # Even if nothing changed: a password may have, in a passfile or certificate that the hash doesn't cover.
        house.targets = targets
        self._tell_certificate(house.relay.door.tls, door.tls)
        if result is ReloadResult.UNCHANGED:
            house.relay.use_door(door)
            log.info("settings read again, nothing changed", extra={"asked": asked, "settings_hash": loaded.hash})
            return result
        house.relay.reconfigure(loaded.settings, door, frozenset(plan.pools_drained))
        self._adopt(loaded, plan)
        log.info(
            "settings reloaded",
            extra={"asked": asked, "settings_hash": loaded.hash, "changes": plan.lines()},
        )
        return result

    def _read(self) -> tuple[Loaded, Targets, Door]:
        house = self._house
        source = house.in_force.source
        loaded = self._read_settings(None if source == WITHOUT_FILE else source, house.environ)
        return loaded, Targets(loaded.settings, house.environ), house.door_of(loaded.settings)

    def _tell_certificate(self, old: ClientTls | None, new: ClientTls | None) -> None:
        if new is not None and (old is None or new.certificate != old.certificate):
            end = datetime.fromtimestamp(new.expires_at, tz=UTC).isoformat()
            log.info("clients are shown a new certificate", extra={"expires": end})

    def _adopt(self, loaded: Loaded, plan: ReloadPlan) -> None:
        house = self._house
        in_force = house.in_force
        # What only a restart changes stays as it is, also in what is shown.
        in_force.settings = _keeping(in_force.settings, loaded.settings)
        in_force.hash, in_force.warnings = loaded.hash, loaded.warnings
        in_force.loaded_at = house.clock.wall()
        if house.leases is not None:
            house.leases.default_ttl_seconds = loaded.settings.leases.default_ttl
        set_level(loaded.settings.log)
        for change in plan.restart:
            log.warning("this setting counts from the next start on", extra={"setting": change.path})


def _state_of(file: Path) -> tuple[str, int, int] | None:
    """What tells one version of *file* from another, through any links; None while there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file.resolve()), found.st_mtime_ns, found.st_size


def _keeping(old: Settings, new: Settings) -> Settings:
    clients = replace(old.listen.clients, tls=new.listen.clients.tls)
    return replace(
        new,
        listen=replace(old.listen, clients=clients),
        leases=replace(old.leases, default_ttl=new.leases.default_ttl),
        observer=old.observer,
    )
