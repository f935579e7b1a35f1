"""Root hands the server to a user that owns nothing, and to folders that this user can reach."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolguard.core.errors import SettingsError
from poolguard.demo.identity import (
    OURSELVES,
    Identity,
    make_private_folder,
    reachable,
    reachable_copy,
    server_identity,
)

STRANGER = Identity(uid=54321, gid=54321)
"""A user to whom nothing belongs."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that all may enter; pytest's own is private."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def test_root_never_runs_the_server_itself() -> None:
    if os.geteuid() == 0:
        assert server_identity().uid not in (None, 0)
    else:
        assert server_identity() == OURSELVES


def test_root_without_a_user_to_hand_it_to_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolguard.demo.identity.UNPRIVILEGED", ("no-such-user",))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SettingsError, match="refuses to run as root"):
        server_identity()


def test_a_folder_behind_a_closed_one_is_out_of_reach(short: Path) -> None:
    inner = short / "closed" / "inner"
    inner.mkdir(parents=True)
    assert reachable(inner, STRANGER)
    (short / "closed").chmod(0o700)
    assert not reachable(inner, STRANGER)
    assert reachable(inner, OURSELVES)


def test_a_private_folder_is_closed_to_others(short: Path) -> None:
    folder = make_private_folder(OURSELVES, longest_socket="s/.s.PGSQL.65535")
    assert folder.parent == short
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_is_too_deep_for_a_socket_is_passed_over(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = short / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    folder = make_private_folder(OURSELVES, longest_socket="s/.s.PGSQL.65535")
    assert folder.parent == Path("/tmp")
    assert list(deep.iterdir()) == []
    folder.rmdir()


def test_a_socket_that_fits_nowhere_is_an_error_that_names_the_places(short: Path) -> None:
    with pytest.raises(SettingsError, match=r"tried .*/tmp") as caught:
        make_private_folder(OURSELVES, longest_socket="x" * 120)
    assert "TMPDIR" in caught.value.hint
    assert list(short.iterdir()) == []


def test_a_copy_of_an_installation_is_whole_and_keeps_its_links(short: Path) -> None:
    installation = short / "pg"
    (installation / "bin").mkdir(parents=True)
    (installation / "lib").mkdir()
    (installation / "bin" / "postgres").write_text("program")
    (installation / "bin" / "postgres").chmod(0o755)
    (installation / "lib" / "libpq.so").symlink_to("libpq.so.5")
    target = short / "target"
    target.mkdir()

    copy = reachable_copy(installation, target)

    assert (copy / "bin" / "postgres").read_text() == "program"
    assert os.access(copy / "bin" / "postgres", os.X_OK)
    assert (copy / "lib" / "libpq.so").readlink() == Path("libpq.so.5")


def test_where_no_hard_link_can_be_made_the_copy_is_a_real_one(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_device(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_device)
    (short / "pg" / "bin").mkdir(parents=True)
    (short / "pg" / "bin" / "postgres").write_text("program")

    copy = reachable_copy(short / "pg", short / "target") / "bin" / "postgres"

    assert copy.read_text() == "program"
    assert copy.stat().st_nlink == 1
