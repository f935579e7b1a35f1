import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from poolguard.daemon import reload
from poolguard.daemon.house import House
from poolguard.daemon.reload import Reloader, _keeping, _state_of
from poolguard.metrics.sources import ReloadResult
from poolguard.settings.load import load
from poolguard.settings.model import ClientsListener, Leases, Listen, Log, LogLevel, Pool, Settings
from tests.support.certificates import Authority
from tests.support.eventually import eventually_async

ENVIRON: Final = {"DATABASE_URL": "postgresql://app@db.example/shop", "HOME": "/nonexistent"}


def pools(**sizes: int) -> str:
    """Settings with pools of these sizes."""
    return (
        "pools: {" + ", ".join(f"{name}: {{size: {size}}}" for name, size in sizes.items()) + "}\ndefault_pool: app\n"
    )


BEFORE: Final = pools(app=4, jobs=2)


class Running:
    """A house whose settings came from *file*, not started, and its reloader."""

    def __init__(self, file: Path | None) -> None:
        self.house = House(load(file, ENVIRON), ENVIRON, observe=False)
        self.reloader = Reloader(self.house, read=load)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: pool.state.size for name, pool in self.house.relay.registry.pools.items()}

    @property
    def reloads(self) -> dict[str, int]:
        return {result.value: number for result, number in self.house.in_force.reloads.items() if number}


@pytest.fixture
async def run() -> AsyncIterator[Callable[[Path | None], Running]]:
    made: list[Running] = []

    def start(file: Path | None) -> Running:
        made.append(Running(file))
        return made[-1]

    yield start
    for running in made:
        await running.reloader.stop()
        await running.house.stop()


Run = Callable[[Path | None], Running]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "poolguard.yaml"
    path.write_text(BEFORE)
    return path


def write(file: Path, text: str) -> None:
    file.write_text(text)


# What one reload does.


async def test_new_settings_come_into_force(run: Run, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = run(file)
    before = running.house.in_force.hash
    write(file, pools(app=7, reports=1) + "leases: {default_ttl: 30s}\n")
    await running.reloader.start()
    with caplog.at_level(logging.INFO, "poolguard"):
        assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.APPLIED
        [told] = [record for record in caplog.records if record.getMessage() == "settings reloaded"]
    assert running.sizes == {"app": 7, "reports": 1}
    in_force = running.house.in_force
    assert in_force.hash != before
    assert in_force.settings.pools["app"].size == 7
    assert running.house.book.settings_hash == in_force.hash
    assert running.house.leases is not None
    assert running.house.leases.default_ttl_seconds == 30.0
    assert told.__dict__["settings_hash"] == in_force.hash
    assert "pools.app.size: 4 -> 7 (live)" in told.__dict__["changes"]
    assert {"pools.reports: added", "pools.jobs: removed, drains"} <= set(told.__dict__["changes"])


async def test_a_bad_file_changes_nothing_and_every_problem_is_told(
    run: Run, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = run(file)
    in_force = replace(running.house.in_force)
    write(file, "pools: {app: {size: 0, sise: 3}}\n")
    await running.reloader.start()
    assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.REFUSED
    after = running.house.in_force
    assert running.sizes == {"app": 4, "jobs": 2}
    assert (after.settings, after.hash, after.loaded_at) == (in_force.settings, in_force.hash, in_force.loaded_at)
    assert running.reloads == {"refused": 1}
    for problem in ("pools.app.size", "pools.app.sise"):
        assert problem in after.last_refusal
    [told] = caplog.records
    assert (told.levelno, told.__dict__["settings_hash"]) == (logging.ERROR, in_force.hash)
    assert len(told.__dict__["problems"]) == 2
    assert told.exc_info is None


async def test_what_was_refused_is_forgotten_when_a_good_file_follows(run: Run, file: Path) -> None:
    running = run(file)
    await running.reloader.start()
    for text in ("nonsense: 1\n", BEFORE):
        write(file, text)
        await running.reloader.reload(asked="SIGHUP")
    assert running.house.in_force.last_refusal == ""
    assert running.reloads == {"refused": 1, "unchanged": 1}


async def test_an_upstream_that_can_not_be_used_is_refused_like_any_bad_setting(run: Run, file: Path) -> None:
    running = run(file)
    targets = running.house.targets
    write(file, BEFORE + "upstream: {url: postgresql://app@db.example/shop?sslmode=sometimes}\n")
    await running.reloader.start()
    assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.REFUSED
    assert running.house.targets is targets


async def test_a_password_that_changed_outside_of_the_settings_counts_for_the_next_server(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text("*:*:*:*:old\n")
    monkeypatch.setitem(ENVIRON, "PGPASSFILE", str(passfile))
    running = run(None)
    passfile.write_text("*:*:*:*:new\n")
    await running.reloader.start()
    assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.UNCHANGED
    assert [endpoint.password for endpoint in running.house.targets.default.endpoints] == ["new"]


async def test_what_only_a_restart_changes_stays_in_force_and_is_said(
    run: Run, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = run(file)
    write(file, BEFORE + "listen: {clients: {port: 7777}}\n")
    await running.reloader.start()
    await running.reloader.reload(asked="SIGHUP")
    assert running.house.in_force.settings.listen.clients.port == 6432
    told = [record.__dict__["setting"] for record in caplog.records if "next start" in record.getMessage()]
    assert told == ["listen.clients.port"]


async def test_a_bug_while_reloading_is_logged_and_counted_and_the_next_reload_works(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = run(file)
    write(file, pools(app=5))
    await running.reloader.start()
    with monkeypatch.context() as patch:
        patch.setattr(running.house, "door_of", lambda settings: 1 / 0)
        assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.REFUSED
    assert caplog.records[-1].exc_info is not None
    assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.APPLIED
    assert running.sizes == {"app": 5}


async def test_reloads_wait_for_the_start_and_come_to_nothing_after_the_stop(run: Run, file: Path) -> None:
    running = run(file)
    write(file, pools(app=5))
    early = asyncio.create_task(running.reloader.reload(asked="SIGHUP"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not early.done()
    await running.reloader.start()
    assert await early is ReloadResult.APPLIED
    await running.reloader.stop()
    write(file, pools(app=6))
    assert await running.reloader.reload(asked="SIGHUP") is None
    assert running.sizes == {"app": 5}


# Watching.


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are noticed because the kernel tells of them, not because somebody looks from time to time."""
    monkeypatch.setattr(reload, "LOOK_SECONDS", 1000.0)


@pytest.mark.usefixtures("only_told")
async def test_a_file_that_is_replaced_is_read_again_each_time(run: Run, file: Path) -> None:
    running = run(file)
    await running.reloader.start()
    for size in (5, 6):
        fresh = file.with_name("fresh")
        fresh.write_text(pools(app=size))
        fresh.replace(file)
        await eventually_async(lambda: running.sizes == {"app": size})  # noqa: B023 - awaited in this very turn
    assert running.reloads == {"applied": 2}


@pytest.mark.usefixtures("only_told")
async def test_each_swap_of_a_kubernetes_configmap_is_noticed(run: Run, tmp_path: Path) -> None:
    """The kubelet puts a new folder beside the old one and swaps the link that leads to it."""
    mount = tmp_path / "mount"
    mount.mkdir()
    swap(mount, 0, pools(app=4))
    file = mount / "poolguard.yaml"
    file.symlink_to("..data/poolguard.yaml")
    running = run(file)
    await running.reloader.start()
    for version, size in ((1, 5), (2, 6)):
        swap(mount, version, pools(app=size))
        await eventually_async(lambda: running.sizes == {"app": size})  # noqa: B023 - awaited in this very turn
    assert running.reloads == {"applied": 2}


def swap(mount: Path, version: int, text: str) -> None:
    folder = mount / f"..version_{version}"
    folder.mkdir()
    (folder / "poolguard.yaml").write_text(text)
    link = mount / "..data_tmp"
    link.symlink_to(folder.name)
    link.replace(mount / "..data")
    old = mount / f"..version_{version - 1}"
    if old.is_dir():
        (old / "poolguard.yaml").unlink()
        old.rmdir()


async def test_a_change_between_reading_and_watching_is_noticed(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0.05)
    running = run(file)
    write(file, pools(app=5))
    await running.reloader.start()
    await eventually_async(lambda: running.sizes == {"app": 5})


async def test_where_a_folder_can_not_be_watched_the_file_is_looked_at(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class NoWatch:
        def __init__(self, *_: object, **__: object) -> None:
            raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(reload, "RustNotify", NoWatch)
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0.01)
    running = run(file)
    await running.reloader.start()
    await eventually_async(lambda: any("can't be watched" in record.getMessage() for record in caplog.records))
    write(file, pools(app=5))
    await eventually_async(lambda: running.sizes == {"app": 5})


@pytest.mark.usefixtures("only_told")
async def test_other_files_in_the_folder_are_none_of_its_business(run: Run, file: Path) -> None:
    running = run(file)
    await running.reloader.start()
    file.with_name("other").write_text("x")
    write(file, pools(app=5))
    await eventually_async(lambda: running.sizes == {"app": 5})
    assert running.reloads == {"applied": 1}


async def test_without_a_file_nothing_is_watched_and_a_reload_reads_the_environment(run: Run) -> None:
    running = run(None)
    await running.reloader.start()
    assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.UNCHANGED


# Certificates.


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that nobody watches."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    return folder


def with_tls(folder: Path, name: str) -> str:
    """Settings that name the files of a new certificate in *folder*."""
    cert, key = Authority().issue(name, hosts=[name]).write(folder, "server")
    return BEFORE + f"listen: {{clients: {{tls: {{cert_file: {cert}, key_file: {key}}}}}}}\n"


async def test_a_renewed_certificate_is_shown_from_then_on(
    run: Run, file: Path, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The settings are the same, and so is their hash: only the certificate's files differ."""
    write(file, with_tls(elsewhere, "first"))
    running = run(file)
    relay = running.house.relay
    before = relay.door.tls
    assert before is not None
    assert relay.counters.certificate_expires_at == before.expires_at
    await running.reloader.start()
    with_tls(elsewhere, "second")
    with caplog.at_level(logging.INFO, "poolguard"):
        assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.UNCHANGED
    assert relay.door.tls is not None
    assert relay.door.tls.certificate != before.certificate
    [told] = [record for record in caplog.records if record.getMessage() == "clients are shown a new certificate"]
    assert told.__dict__["expires"] == "2120-01-01T00:00:00+00:00"


async def test_a_renewed_certificate_is_noticed_without_a_signal(
    run: Run, file: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0.05)
    write(file, with_tls(elsewhere, "first"))
    running = run(file)
    relay = running.house.relay
    assert relay.door.tls is not None
    before = relay.door.tls.certificate
    await running.reloader.start()
    with_tls(elsewhere, "second")

    def renewed() -> bool:
        shown = relay.door.tls
        return shown is not None and shown.certificate != before

    await eventually_async(renewed)


@pytest.mark.parametrize("broken", ["certificate", "key of another", "no file"])
async def test_a_bad_certificate_changes_nothing_and_is_told(
    broken: str, run: Run, file: Path, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, with_tls(elsewhere, "first"))
    running = run(file)
    before = running.house.relay.door
    await running.reloader.start()
    match broken:
        case "certificate":
            (elsewhere / "server.crt").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
        case "key of another":
            (elsewhere / "server.key").write_bytes(Authority().issue("other").key)
        case _:
            (elsewhere / "server.crt").unlink()
    assert await running.reloader.reload(asked="SIGHUP") is ReloadResult.REFUSED
    assert running.house.relay.door is before
    assert "listen.clients.tls" in running.house.in_force.last_refusal
    assert running.reloads == {"refused": 1}
    [told] = caplog.records
    assert "server.crt" in str(told.__dict__["problems"])


async def test_tls_can_come_and_go_without_a_restart(run: Run, file: Path, elsewhere: Path) -> None:
    running = run(file)
    await running.reloader.start()
    for text, there in ((with_tls(elsewhere, "first"), True), (BEFORE, False)):
        write(file, text)
        await running.reloader.reload(asked="SIGHUP")
        assert (running.house.relay.door.tls is not None) is there
        assert (running.house.relay.counters.certificate_expires_at is not None) is there
        assert (running.house.in_force.settings.listen.clients.tls is not None) is there


# The parts.


def test_what_a_restart_alone_changes_is_kept_and_the_rest_is_new() -> None:
    old = Settings(listen=Listen(clients=ClientsListener(port=1)), leases=Leases(schema="old", default_ttl=10.0))
    new = Settings(
        listen=Listen(clients=ClientsListener(port=2)),
        leases=Leases(schema="new", default_ttl=20.0),
        pools={"app": Pool(size=3)},
        log=Log(level=LogLevel.DEBUG),
    )
    kept = _keeping(old, new)
    assert (kept.listen, kept.leases) == (old.listen, Leases(schema="old", default_ttl=20.0))
    assert (kept.pools, kept.log) == (new.pools, new.log)


def test_the_state_of_a_file_tells_its_versions_apart_through_links(tmp_path: Path) -> None:
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    assert _state_of(link) is None
    for path in (one, two):
        path.write_text("same")
        os.utime(path, ns=(1, 1))
    link.symlink_to(one)
    of_one = _state_of(link)
    assert of_one == _state_of(link)
    link.unlink()
    link.symlink_to(two)
    of_two = _state_of(link)
    assert of_two != of_one
    os.utime(two, ns=(2, 2))
    later = _state_of(link)
    assert later != of_two
    two.write_text("longer than before")
    os.utime(two, ns=(2, 2))
    assert _state_of(link) != later
