"""A real browser (Chromium, headless), told what to do by the DevTools protocol over aiohttp's WebSocket client."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from tests.support.eventually import eventually_async

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES: Final = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers, where Chromium's own sandbox can't be had
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
)
ANSWER_SECONDS: Final = 20.0
PHONE: Final = (390, 844)
DESK: Final = (1280, 900)


def browser_program() -> str | None:
    """Chromium in PATH; None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Devtools:
    """One WebSocket to the browser: requests by number, and what the pages report."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []

    async def read(self) -> None:
        """Take answers and events until the browser goes."""
        async for message in self._socket:
            told = json.loads(message.data)
            waiting = self._waiting.pop(told.get("id", 0), None)
            if waiting is None:
                self.events.append(told)
            elif not waiting.done():
                waiting.set_result(told)

    async def ask(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Send one request and return its result."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        about = {"sessionId": session} if session else {}
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **about})
        async with asyncio.timeout(ANSWER_SECONDS):
            told = await self._waiting[number]
        assert "error" not in told, f"{method}: {told['error']}"
        result: dict[str, Any] = told["result"]
        return result


class Page:
    """One tab."""

    def __init__(self, devtools: Devtools, session: str) -> None:
        self._devtools, self._session = devtools, session

    @classmethod
    async def open(cls, devtools: Devtools, url: str, size: tuple[int, int], *, dark: bool) -> Self:
        """Open *url* in a window of *size*."""
        # A window of its own: a tab behind another is hidden, and the page then rests.
        target = await devtools.ask("Target.createTarget", url="about:blank", newWindow=True)
        attached = await devtools.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = cls(devtools, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.ask(f"{domain}.enable")
        width, height = size
        await page.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await page.ask("Emulation.setEmulatedMedia", features=[scheme])
        await page.ask("Page.navigate", url=url)
        return page

    async def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """One request about this tab."""
        return await self._devtools.ask(method, self._session, **parameters)

    async def js(self, expression: str) -> Any:
        """The value of *expression* in the page."""
        told = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def hurry(self, seconds: float) -> None:
        """Let the tab's clock and timers run through *seconds* as fast as they can."""
        await self.ask("Emulation.setVirtualTimePolicy", policy="advance", budget=seconds * 1000)

    async def until(self, expression: str) -> Any:
        """Return the value of *expression* once it is true."""

        async def value() -> Any:
            return await self.js(expression)

        return await eventually_async(value, within=ANSWER_SECONDS)

    async def text(self, selector: str) -> str:
        """What a reader sees of the first element that matches."""
        return str(await self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def shows(self, selector: str, text: str) -> None:
        """Wait until *selector* has *text* in it."""
        await self.until(
            f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(text)})"
        )

    def requests(self) -> Sequence[str]:
        """Every address that the tab has asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self._devtools.events
            if event.get("method") == "Network.requestWillBeSent" and event.get("sessionId") == self._session
        ]

    def complaints(self) -> Sequence[str]:
        """What went wrong in it: exceptions, and what the browser logged as an error (refused by a policy, not found)."""
        mine = [event for event in self._devtools.events if event.get("sessionId") == self._session]
        thrown = [str(event["params"]) for event in mine if event["method"] == "Runtime.exceptionThrown"]
        entries = [event["params"]["entry"] for event in mine if event["method"] == "Log.entryAdded"]
        return thrown + [f"{entry['text']} {entry.get('url')}" for entry in entries if entry["level"] == "error"]


class Browser:
    """Chromium, and tabs in it."""

    def __init__(self, devtools: Devtools) -> None:
        self._devtools = devtools

    async def open(self, url: str, size: tuple[int, int] = DESK, *, dark: bool = False) -> Page:
        """A tab at *url*."""
        return await Page.open(self._devtools, url, size, dark=dark)


@asynccontextmanager
async def chromium(program: str, folder: Path) -> AsyncIterator[Browser]:
    """Run *program* with a profile in *folder*; it is gone at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        program,
        *SWITCHES,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            address = await _address(process)
        async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
            devtools = Devtools(socket)
            reading = asyncio.create_task(devtools.read())
            yield Browser(devtools)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it has children of its own
        # Its pipe closes when the last child has gone.
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None, "it is a pipe"
    said = ""
    async for line in process.stderr:
        said += line.decode(errors="replace")
        if "DevTools listening on " in said:
            return said.rpartition("DevTools listening on ")[2].strip()
    raise RuntimeError(f"the browser ended:\n{said}")
