"""The page: for browsers only, whole, and with nothing in it from elsewhere."""

import re

import pytest

from poolguard.web.page import FILES, INDEX
from tests.support.web import Control

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))


async def test_a_browser_gets_the_page_and_everything_else_the_list_of_paths() -> None:
    async with Control().client() as client:
        page = await client.get("/", headers=BROWSER)
        listed = await client.get("/")
        paths = (await listed.json())["paths"]

    assert (page.content_type, page.headers["Vary"], listed.headers["Vary"]) == ("text/html", "Accept", "Accept")
    assert paths["/v1/pools"] == ["GET"]
    assert paths["/v1/transactions/{id}/{action}"] == ["POST"]


async def test_the_browser_is_told_to_run_and_fetch_nothing_foreign_and_to_let_nobody_frame_it() -> None:
    async with Control().client() as client:
        policy = (await client.get("/", headers=BROWSER)).headers["Content-Security-Policy"]

    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
    assert {rules[kind] for kind in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}


async def test_all_that_the_page_names_is_there() -> None:
    wanted = set(re.findall(r'(?:href|src)="page/([^"]+)"', FILES[INDEX].decode()))
    for script in SCRIPTS:
        wanted |= set(re.findall(r'from "\./([^"]+)"', FILES[script].decode()))
    async with Control().client() as client:
        found = {name: await client.get(f"/page/{name}") for name in wanted}
        nothing = await client.get("/page/..%2Fpage.py")

    assert {answer.status for answer in found.values()} == {200}
    assert {found[name].content_type for name in wanted if name.endswith(".js")} == {"text/javascript"}
    assert nothing.status == 404
    assert wanted | {INDEX} == set(FILES), "a file that nobody asks for"


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_are_small_and_name_nothing_outside(name: str) -> None:
    text = FILES[name].decode()
    assert text.count("\n") <= 250
    assert set(re.findall(r"https?://[^\"'\s]+", text)) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_clients_call_themselves_can_not_become_markup(name: str) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", FILES[name].decode())


def test_every_part_that_a_script_looks_for_is_in_the_page() -> None:
    ids = set(re.findall(r'id="([^"]+)"', FILES[INDEX].decode()))
    for script in SCRIPTS:
        wanted = set(re.findall(r'(?:getElementById|part)\("([^"]+)"\)', FILES[script].decode()))
        wanted |= {f"count-{name}" for name in re.findall(r'mark\("([^"]+)"', FILES[script].decode())}
        assert wanted <= ids
