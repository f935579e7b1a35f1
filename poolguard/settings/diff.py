"""Old and new settings to a plan: what a reload changes live, what drains, what needs a restart. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from poolguard.settings.model import Pool, Settings
from poolguard.settings.shape import SECRETS, Kind, bare, inside
from poolguard.settings.written import written


class Effect(StrEnum):
    """When a changed setting begins to count."""

    LIVE = "live"
    """At once: for the next checkout, sweep, wait or login."""
    LOGIN = "at the next login"
    """For the sessions that begin from then on; those that there are stay as they are."""
    DRAIN = "drains the pool"
    """The pool's servers are replaced as they come free; none is torn from its holder."""
    RESTART = "needs a restart"
    """The old value stays in force until then."""


EFFECTS: Final[Mapping[str, Effect]] = {
    "*upstream.connect_timeout": Effect.LIVE,
    "upstream.*": Effect.DRAIN,
    "pools.*.upstream*": Effect.DRAIN,
    "pools.*.role": Effect.DRAIN,
    "pools.*.application_name": Effect.DRAIN,
    "listen.clients.tls*": Effect.LIVE,
    "listen.*": Effect.RESTART,
    "routes*": Effect.LOGIN,
    "default_pool": Effect.LOGIN,
    "leases.default_ttl": Effect.LIVE,
    "leases.*": Effect.RESTART,
    "observer.*": Effect.RESTART,
}
"""The first pattern that fits decides; what fits none is live."""


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs. Values are as written in a file; of a secret, only that it changed."""

    path: str
    effect: Effect
    old: str
    new: str

    def line(self) -> str:
        """`pools.app.size: 20 -> 30 (live)`."""
        return f"{self.path}: {self.old} -> {self.new} ({self.effect.value})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadPlan:
    """What follows from going from one Settings to another. Names of pools are in the order of the settings."""

    pools_added: tuple[str, ...]
    pools_removed: tuple[str, ...]
    pools_resized: tuple[str, ...]
    """`size` differs. Stays in the pool: surplus servers are closed as they come free."""
    pools_drained: tuple[str, ...]
    """What their servers were opened with differs."""
    pools_changed: tuple[str, ...]
    """Any other setting of theirs differs, and it counts at once."""
    leases_moved: bool
    """`upstream` differs, and leases are on: their connections follow only at the next restart."""
    changes: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not self.changes and not self.pools_added and not self.pools_removed

    @property
    def live(self) -> tuple[Change, ...]:
        """What counts at once."""
        return tuple(change for change in self.changes if change.effect is Effect.LIVE)

    @property
    def restart(self) -> tuple[Change, ...]:
        """What is not in force before the next start."""
        return tuple(change for change in self.changes if change.effect is Effect.RESTART)

    def lines(self) -> list[str]:
        """The plan for people, a line each; one line when nothing differs."""
        said = [f"pools.{name}: added" for name in self.pools_added]
        said += [f"pools.{name}: removed, drains" for name in self.pools_removed]
        said += [change.line() for change in self.changes]
        if self.leases_moved:
            said.append("leases and the lock graph: stay on the old upstream until a restart")
        return said or ["nothing changed"]


def plan_reload(old: Settings, new: Settings) -> ReloadPlan:
    """Compare *old*, which is in force, with *new*."""
    kept = [name for name in new.pools if name in old.pools]
    changes = tuple(_changes(Settings, old, new, ""))
    moved = any(change.effect is Effect.DRAIN and change.path.startswith("upstream.") for change in changes)
    return ReloadPlan(
        pools_added=tuple(name for name in new.pools if name not in old.pools),
        pools_removed=tuple(name for name in old.pools if name not in new.pools),
        pools_resized=tuple(name for name in kept if old.pools[name].size != new.pools[name].size),
        pools_drained=tuple(name for name in kept if _drains(name, new.pools[name], changes)),
        pools_changed=tuple(name for name in kept if _changes_live(name, changes)),
        leases_moved=moved and old.leases.enabled and new.leases.enabled,
        changes=changes,
    )


def _drains(name: str, pool: Pool, changes: tuple[Change, ...]) -> bool:
    opened_with = (f"pools.{name}.", "upstream.") if pool.upstream is None else (f"pools.{name}.",)
    return any(change.effect is Effect.DRAIN and change.path.startswith(opened_with) for change in changes)


def _changes_live(pool: str, changes: tuple[Change, ...]) -> bool:
    prefix = f"pools.{pool}."
    return any(
        change.path.startswith(prefix) and change.effect is Effect.LIVE and change.path != prefix + "size"
        for change in changes
    )


def _changes(kind: Kind, old: object, new: object, path: str) -> Iterator[Change]:
    if old == new:
        return
    inner, _ = bare(kind)
    if is_dataclass(old) and is_dataclass(new):
        for field in fields(old):
            of_field = inside(inner, field.name)
            name = f"{path}.{field.name}" if path else field.name
            yield from _changes(of_field, getattr(old, field.name), getattr(new, field.name), name)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        names = [*old, *(name for name in new if name not in old)]
        for name in names:
            if path != "pools" or (name in old and name in new):
                yield from _changes(inside(inner, name), old.get(name), new.get(name), f"{path}.{name}")
    else:
        yield Change(path, effect_of(path), _shown(path, inner, old), _shown(path, inner, new))


def effect_of(path: str) -> Effect:
    """When a change of the setting at *path* counts; `*` in it stands for any name."""
    return next((effect for pattern, effect in EFFECTS.items() if fnmatchcase(path, pattern)), Effect.LIVE)


def _shown(path: str, kind: Kind, value: object) -> str:
    if value is None:
        return "none"
    if path.rpartition(".")[2] in SECRETS:
        return "a secret" if value else "none"
    if is_dataclass(value) or (isinstance(value, tuple) and any(is_dataclass(item) for item in value)):
        return "given"
    return written(kind, value)
