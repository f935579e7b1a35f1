"""What the demo plays with: pools small enough to fill by hand, thresholds short enough to wait for. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

POOL_SIZES: Final[Mapping[str, int]] = {"election": 2, "jobs": 3, "app": 4}

WARN_SECONDS: Final = 1.0
ROLLBACK_SECONDS: Final = 3.0
WAIT_SECONDS: Final[Mapping[str, float]] = {"election": 2.0, "jobs": 15.0, "app": 1.5}
"""In `app` a wait ends in vain before the guard acts, in `jobs` it outlasts the leaks."""

LEAKING: Final[Mapping[str, str]] = {"app": "checkout-service", "jobs": "report-worker"}
"""Pool: the application that forgets its transactions there."""
WAITING: Final[Mapping[str, str]] = {"app": "storefront", "jobs": "invoice-worker"}
"""Pool: the innocent application that needs a server there."""

ORDERS: Final = sum(POOL_SIZES[pool] for pool in LEAKING)
"""One for each leak."""

DATABASE: Final = "shop"
LEASE: Final = "demo/scheduler"
HOLDER: Final = "scheduler-1"
LEASE_TTL_SECONDS: Final = 3
RENEW_EVERY_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the demo's poolguard listens, on loopback."""

    clients: int
    control: int
    metrics: int


def settings_text(upstream_url: str, ports: Ports) -> str:
    """Write the settings file of the demo's poolguard. JSON, which is YAML too."""
    ladder = {"warn": f"{WARN_SECONDS:g}s", "rollback": f"{ROLLBACK_SECONDS:g}s", "terminate": "60s"}
    # Such small pools have no share of servers to spare: all may be cleaned at once.
    budget = {"max_share_of_pool": 1.0}
    settings = {
        "upstream": {"url": upstream_url},
        "listen": {
            "clients": {"host": "127.0.0.1", "port": ports.clients},
            "control": {"host": "127.0.0.1", "port": ports.control},
            "metrics": {"host": "127.0.0.1", "port": ports.metrics},
        },
        "pools": {
            name: {"size": size, "wait_timeout": f"{WAIT_SECONDS[name]:g}s", "policy": name}
            for name, size in POOL_SIZES.items()
        },
        "default_pool": "app",
        "policies": {name: {"idle_in_transaction": ladder, "budget": budget} for name in POOL_SIZES},
        "limits": {"drain_timeout": "2s"},
        "log": {"format": "json", "level": "info"},
    }
    return json.dumps(settings, indent=2) + "\n"
