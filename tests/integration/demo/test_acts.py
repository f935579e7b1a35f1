"""The demo can fail: where the guard only observes, it says that the leaks stayed, and what was in the log."""

import io
import json

import pytest

from poolguard.demo import acts, scene, sidecar
from poolguard.demo.screen import Screen
from poolguard.demo.show import play

pytestmark = pytest.mark.pg


def test_a_guard_that_ends_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def observing(upstream_url: str, ports: scene.Ports) -> str:
        settings = json.loads(scene.settings_text(upstream_url, ports))
        for policy in settings["policies"].values():
            policy["mode"] = "observe"
        return json.dumps(settings)

    waits = {**scene.WAIT_SECONDS, "app": 0.5, "jobs": scene.ROLLBACK_SECONDS + 0.5}
    monkeypatch.setattr(scene, "WAIT_SECONDS", waits)
    monkeypatch.setattr(acts, "WAIT_SECONDS", waits)
    monkeypatch.setattr(acts, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(sidecar, "settings_text", observing)
    output = io.StringIO()

    checks = {check.wanted: check for check in play(Screen(output, colours=False))}

    assert {wanted for wanted, check in checks.items() if not check.good} == {
        "the guard rolls the leaks back",
        "each incident is logged",
        "a patient waiter is served",
        "its next statement gets 25P03",
        "its COMMIT is refused",
    }
    assert checks["the guard rolls the leaks back"].seen.startswith("0 of 7")
    assert checks["its COMMIT is refused"].seen == "0 of 3; 3 of the forgotten updates in the table"
    assert "The end of poolguard's log" in output.getvalue()
