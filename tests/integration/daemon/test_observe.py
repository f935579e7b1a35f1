"""Observe: the guard ends nothing, and tells what it would have done."""

from typing import Any

import pytest

from tests.integration.daemon.clients import leaks
from tests.integration.daemon.conftest import Run
from tests.support.eventually import eventually

LADDER = {"idle_in_transaction": {"warn": "100ms", "rollback": "200ms"}}


@pytest.mark.parametrize("how", ["policy", "command line"])
def test_nothing_is_ended_and_everything_is_told(run: Run, settings: dict[str, Any], how: str) -> None:
    mode = {"mode": "observe"} if how == "policy" else {}
    settings["policies"]["watched"] = {**LADDER, **mode}
    settings["pools"]["app"]["policy"] = "watched"
    daemon = run(settings, arguments=() if how == "policy" else ("--observe",))
    with leaks(daemon, "app", 1) as [leak]:
        incidents = eventually(lambda: _both(daemon.get("/v1/incidents")["incidents"]))
        assert {(incident["action"], incident["outcome"], incident["mode"]) for incident in incidents} == {
            ("warn", "observed", "observe"),
            ("rollback", "observed", "observe"),
        }
        assert leak.client.execute("SELECT pg_backend_pid()").fetchone() == (leak.backend_pid,)
        leak.client.commit()
    labels = {"pool": "app", "rule": "idle_in_transaction", "outcome": "observed"}
    for action in ("warn", "rollback"):
        assert daemon.metric("poolguard_policy_actions_total", action=action, **labels) == 1
    assert daemon.metric("poolguard_policy_actions_total", outcome="done") == 0
    assert daemon.metric("poolguard_policy_matches_total", rule="idle_in_transaction", mode="observe") == 2
    daemon.told("a rule matched; nothing was done, for its mode is observe", times=2)
    assert {line["level"] for line in daemon.logged("a rule matched; nothing was done, for its mode is observe")} == {
        "info"
    }


def _both(incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return incidents if len(incidents) >= 2 else []
