from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.settings.load import parse
from poolguard.settings.model import Auth, Settings, User
from poolguard.settings.secret_files import file_reader, put_in, secret_files, settings_hash


@pytest.mark.parametrize(("content", "secret"), [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), (" a b \n", " a b ")])
def test_a_last_newline_is_no_part_of_a_secret(tmp_path: Path, content: str, secret: str) -> None:
    (tmp_path / "f").write_text(content, newline="")
    assert file_reader(tmp_path)("f") == secret
    assert file_reader(Path("/"))(str(tmp_path / "f")) == secret


def test_a_secret_that_can_not_be_read_is_told_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hunter\0two")
    with pytest.raises(ValueError, match="zero byte") as refused:
        file_reader(tmp_path)("f")
    assert "hunter" not in str(refused.value)


json_like = st.recursive(
    st.none() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["auth", "users", "pools", "upstream"]), inner)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["auth", "pools", "upstream"]), json_like))
def test_looking_for_secret_files_takes_any_data(data: dict[str, object]) -> None:
    assert all(isinstance(file, str) for _, file in secret_files(data))


def test_secrets_take_the_place_of_their_files() -> None:
    settings = Settings(auth=Auth(users={"a": User(password_file="f"), "b": User(password="x")}, admin_token_file="t"))
    put = put_in(settings, {("auth", "users", "a", "password_file"): "s", ("auth", "admin_token_file"): "tok"})
    assert put.auth.users == {"a": User(password="s"), "b": User(password="x")}
    assert (put.auth.admin_token, put.auth.admin_token_file) == ("tok", None)


def test_the_hash_takes_every_secret_into_account() -> None:
    first, second = (dict[tuple[str | int, ...], str]({("auth", "admin_token_file"): text}) for text in ("a", "b"))
    assert settings_hash(Settings(), first) != settings_hash(Settings(), second)
    assert settings_hash(Settings(), {}) == settings_hash(Settings(), {})


def test_the_webhooks_secret_can_stand_in_a_file() -> None:
    text = "incidents: {webhook: {url: 'https://x', secret_file: hook}}"
    loaded = parse(text, "f", {}, read_secret=lambda file: f"in-{file}")
    assert loaded.settings.incidents.webhook.secret == "in-hook"
    assert loaded.hash != parse(text, "f", {}, read_secret=lambda file: "other").hash
