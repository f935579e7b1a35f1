"""Settings over HTTP."""

from poolguard.metrics.sources import ReloadResult
from tests.support.web import Control


async def test_settings_tell_what_is_in_force_and_no_secret() -> None:
    control = Control(admin_token="hunter2")
    control.settings.reloads[ReloadResult.REFUSED] = 1
    control.settings.last_refusal = "pools.app.sise: unknown key"
    async with control.client() as client:
        text = await (await client.get("/v1/settings")).text()
        body = await (await client.get("/v1/settings")).json()

    assert "hunter2" not in text
    assert body == {
        "hash": "abc123",
        "source": "poolguard.yaml",
        "loaded_at": "2023-11-14T22:13:20+00:00",
        "warnings": [],
        "reloads": {"applied": 0, "unchanged": 0, "refused": 1},
        "last_refusal": "pools.app.sise: unknown key",
        "admin_token_required": True,
    }
