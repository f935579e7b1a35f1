"""New settings into a running house: on SIGHUP, and when the file changes."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path

from watchfiles import awatch

from poolguard.core.errors import SettingsError
from poolguard.daemon.house import House
from poolguard.daemon.logs import set_level
from poolguard.daemon.targets import Targets
from poolguard.metrics.sources import ReloadResult
from poolguard.relay.login import Door
from poolguard.settings.diff import ReloadPlan, plan_reload
from poolguard.settings.load import WITHOUT_FILE, Loaded, load
from poolguard.settings.model import Settings

log = logging.getLogger(__name__)

QUIET_MILLISECONDS = 200
"""A file that is written in several steps is read once, after the last."""


class Reloader:
    """A service. One reload at a time; a bad file changes nothing and says so."""

    name = "reload"

    def __init__(self, house: House) -> None:
        self._house = house
        self._lock = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def start(self) -> None:
        """Watch the settings file's folder, if there is a file.

        The folder, because Kubernetes replaces a ConfigMap by swapping a link in it: a watch of the file sees the
        first swap only.
        """
        source = self._house.in_force.source
        if source != WITHOUT_FILE:
            self._watching = asyncio.get_running_loop().create_task(self._watch(Path(source)), name="watch settings")

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
        seen = _state_of(file)
        async for _ in awatch(file.parent, debounce=QUIET_MILLISECONDS, stop_event=self._stop, recursive=False):
            state = _state_of(file)
            if state != seen:  # the folder may be a busy one
                seen = state
                await self.reload(asked="file changed")

    async def reload(self, *, asked: str) -> ReloadResult:
        """Read the settings again and take over what can be taken over live."""
        async with self._lock:
            house = self._house
            in_force = house.in_force
            try:
                loaded, targets, door = await asyncio.to_thread(self._read)
                plan = plan_reload(in_force.settings, loaded.settings)
                result = ReloadResult.UNCHANGED if loaded.hash == in_force.hash else ReloadResult.APPLIED
                house.guard.reconfigure(loaded.settings, loaded.hash)
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
            if result is ReloadResult.UNCHANGED:
                log.info("settings read again, nothing changed", extra={"asked": asked, "settings_hash": loaded.hash})
                return result
            house.targets = targets
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
        loaded = load(None if source == WITHOUT_FILE else source, house.environ)
        return loaded, Targets(loaded.settings, house.environ), house.door_of(loaded.settings)

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
    return replace(new, listen=old.listen, leases=replace(old.leases, default_ttl=new.leases.default_ttl))
