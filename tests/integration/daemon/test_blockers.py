"""What stands idle while others wait for its locks is ended early, and they go on."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.eventually import eventually


def test_an_idle_blocker_is_rolled_back_and_whoever_waited_goes_on(
    run: Run, settings: dict[str, Any], database: Database
) -> None:
    with database.connect() as admin:
        admin.execute("create table t (a int); insert into t values (1)")
    settings["policies"]["patient"] = {"idle_blocker": {"rollback": "1s"}}
    settings["observer"] = {"interval": "1s"}
    settings["pools"]["app"]["size"] = 4
    daemon = run(settings)
    with (
        daemon.connect(application_name="root") as root,
        daemon.connect(application_name="idle") as harmless,
        daemon.connect(autocommit=True, application_name="hurt") as waiter,
        ThreadPoolExecutor(1) as threads,
    ):
        root.execute("update t set a = 2")
        harmless.execute("select 1")
        waiting = threads.submit(waiter.execute, "update t set a = 3 returning a")
        assert waiting.result(timeout=20).fetchone() == (3,)
        (incident,) = eventually(lambda: daemon.get("/v1/incidents?action=rollback")["incidents"])
        assert (incident["rule"], incident["outcome"]) == ("idle_blocker", "done")
        assert incident["transaction"]["application_name"] == "root"
        assert (incident["transaction"]["wrote"], incident["transaction"]["blocking"]) == (True, 1)
        (hurt,) = incident["lock_tree"]["blocked"]
        assert (hurt["application_name"], hurt["pool"]) == ("hurt", "app"), "it says whom it was ended for"
        logged = daemon.told("a transaction was rolled back; its session goes on")
        assert logged["blocking"] == 1
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout, match=incident["id"]):
            root.execute("select 1")
        root.rollback()
        harmless.commit()
