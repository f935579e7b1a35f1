"""The live page in a real browser, on a real daemon in trouble: what an operator sees, and does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from tests.support.browser import DESK, PHONE, Browser, browser_program, chromium
from tests.support.cluster import Database
from tests.support.daemon import Daemon

TOKEN: Final = "t0ken"
HOSTILE: Final = "<img src=x onerror=document.title=1>"
LEAKY: Final = "checkout"
LANE: Final = {"name": "stock", "match": {"statement": "^update stock"}, "at_once": 1}
ROUTE: Final = "/*route='%2Fcheckout'*/"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    program = browser_program()
    if program is None:
        pytest.skip("no Chromium in PATH: apt-get install chromium")
    async with chromium(program, tmp_path / "profile") as running:
        yield running


@pytest.fixture
def daemon(database: Database) -> Iterator[Daemon]:
    patient = {"statement_age": {"warn": "10m"}}
    pool = {"size": 2, "wait_timeout": "50s", "policy": "patient"}
    made = Daemon(
        {
            "upstream": {"url": database.url},
            "pools": {"app": pool | {"lanes": [LANE]}, "jobs": pool},
            "policies": {"patient": patient},
            "auth": {"admin_token": TOKEN},
            "observer": {"interval": "1s"},
        }
    )
    try:
        made.start()
        made.wait_until_it_runs()
        with database.connect() as admin:
            admin.execute("CREATE TABLE cart (id int PRIMARY KEY, n int)")
            admin.execute("INSERT INTO cart VALUES (1, 0), (2, 0)")
        yield made
    finally:
        made.close()


@pytest.fixture
def trouble(daemon: Daemon) -> Iterator[None]:
    """Two leaks that exhaust `app`, one of whose locks a worker waits for; a client that waits; a duplicate key."""
    with ExitStack() as stack:

        def client(pool: str, name: str) -> Any:
            return stack.enter_context(daemon.connect(pool, autocommit=name != LEAKY, application_name=name))

        jobs, waiter = client("jobs", "worker"), client("app", HOSTILE)
        leaks = [client("app", LEAKY) for _ in range(2)]
        for number, leak in enumerate(leaks, 1):
            leak.execute(f"UPDATE cart SET n = 5 WHERE id = {number} {ROUTE}")
        with pytest.raises(Exception, match="cart_pkey"):
            client("jobs", "racer").execute("INSERT INTO cart SELECT 3, 1 FROM generate_series(1, 2)")
        running = [
            Thread(target=jobs.execute, args=("UPDATE cart SET n = 6 WHERE id = 1",)),
            Thread(target=waiter.execute, args=("SELECT 1",)),
        ]
        for thread in running:
            thread.start()
        yield
        for leak in leaks:
            leak.close()
        for thread in running:
            thread.join()


@pytest.mark.usefixtures("trouble")
async def test_an_operator_sees_who_holds_what_and_ends_it_by_hand(daemon: Daemon, browser: Browser) -> None:
    daemon.ask("PUT", "/v1/leases/mailer", {"holderIdentity": "pod-7", "leaseDurationSeconds": 60})
    page = await browser.open(f"{daemon.control_url}/", DESK)
    await page.shows("#headline", f"1 client waiting in app. Held longest by {LEAKY}: idle in transaction")
    await page.shows("#pool-cards", "2 of 2 held")
    await page.shows("#pool-cards", "Lane stock: 0 of 1.")
    await page.shows("#holder-table tbody", "update cart set n = ? where id = ?")
    await page.shows("#holder-table tbody", "route=/checkout")
    await page.shows("#lock-trees", "worker")
    await page.shows("#error-tables", "cart_pkey")
    await page.shows("#client-table", LEAKY)
    await page.shows("#lease-table", "pod-7")

    await page.js("document.querySelector('.tree button:nth-of-type(2)').click()")  # rollback of the root
    await page.js("document.getElementById('act-token').value = 'wrong'")
    await page.js("document.getElementById('act-do').click()")
    await page.shows("#act-said", "this is not the admin token")
    await page.js(f"document.getElementById('act-token').value = '{TOKEN}'")
    await page.js("document.getElementById('act-actor').value = 'alice'")
    await page.js("document.getElementById('act-do').click()")
    await page.shows("#act-said", "Done. Incident")
    await page.shows("#incident-list", "rollback by hand")
    await page.shows("#headline", "Nobody waits.")
    (incident,) = daemon.get("/v1/incidents?action=rollback")["incidents"]
    assert incident["actor"].startswith("alice")
    # 403 was asked for; nothing else may be amiss.
    assert [told for told in page.complaints() if "403" not in told] == []


@pytest.mark.usefixtures("trouble")
async def test_on_a_phone_in_the_dark_with_a_hostile_name_and_nothing_from_outside(
    daemon: Daemon, browser: Browser
) -> None:
    page = await browser.open(f"{daemon.control_url}/", PHONE, dark=True)
    await page.shows("#client-table", HOSTILE)
    await page.shows("#holder-table", LEAKY)
    assert await page.js("document.documentElement.scrollWidth") <= PHONE[0]
    assert await page.js("matchMedia('(prefers-color-scheme: dark)').matches")
    assert await page.js("getComputedStyle(document.documentElement).backgroundColor") == "rgb(18, 22, 28)"
    assert await page.js("document.title") == "poolguard"
    assert [url for url in page.requests() if not url.startswith(daemon.control_url)] == []
    assert page.complaints() == []


async def test_a_page_whose_poolguard_has_gone_says_so(daemon: Daemon, browser: Browser) -> None:
    page = await browser.open(f"{daemon.control_url}/")
    await page.shows("#link", "live")
    daemon.close()
    await page.hurry(20.0)
    await page.shows("#link", "has not answered")
    assert await page.js("document.body.classList.contains('stale')")
