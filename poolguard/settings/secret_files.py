"""Secrets that are given as files, and the hash of the settings in force."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Final, TypeAlias

from poolguard.settings.model import Auth, Settings, User
from poolguard.settings.problems import Path
from poolguard.settings.shape import SECRETS
from poolguard.settings.written import plain_value

MOST_BYTES: Final = 64 * 1024
"""No password is longer; a path that points at a log by mistake is noticed before it is read whole."""

_ROUNDS: Final = 100_000
"""About 50 ms. The settings' hash is public (metrics, logs): a fast one would let passwords be guessed."""

SecretReader: TypeAlias = Callable[[str], str]
"""Path as written in the settings to the secret in that file. Raises ValueError that says what is wrong."""


def file_reader(folder: FilePath) -> SecretReader:
    """Read secrets from files; relative paths start at *folder*, the one of the settings file."""

    def read(path: str) -> str:
        try:
            with (folder / path).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            text = content.decode()
        except OSError as error:
            raise ValueError(f"can't read the file: {error.strerror or type(error).__name__}") from None
        except ValueError:
            raise ValueError("the file is not UTF-8 text: it must hold the secret and nothing else") from None
        if len(content) > MOST_BYTES:
            raise ValueError(f"the file is over {MOST_BYTES // 1024} KiB: it must hold the secret and nothing else")
        # Editors and `echo` end a file with a newline that is no part of the password.
        secret = text.rstrip("\r\n")
        if not secret or "\0" in secret:
            raise ValueError("the file is empty or holds a zero byte: it must hold the secret and nothing else")
        return secret

    return read


def secret_files(data: Mapping[str, object]) -> Iterator[tuple[Path, str]]:
    """Every `..._file` in plain settings *data*, with its path. Wrong types are for the model to report."""
    auth = _map(data.get("auth"))
    webhook = _map(data.get("incidents")).get("webhook")
    places: list[tuple[Path, object]] = [(("upstream",), data.get("upstream")), (("auth",), auth)]
    places.append((("incidents", "webhook"), webhook))
    places += [(("auth", "users", name), user) for name, user in _map(auth.get("users")).items()]
    places += [
        (("pools", name, "upstream"), _map(pool).get("upstream")) for name, pool in _map(data.get("pools")).items()
    ]
    for path, holder in places:
        key = _KEYS.get(path, "password_file")
        if isinstance(file := _map(holder).get(key), str):
            yield (*path, key), file


_KEYS: Final[Mapping[Path, str]] = {("auth",): "admin_token_file", ("incidents", "webhook"): "secret_file"}


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def put_in(settings: Settings, secrets: Mapping[Path, str]) -> Settings:
    """Replace the files of users, admin token and webhook by what they hold.

    `upstream.password_file` stays: whoever connects reads it, so that a password can be rotated.
    """
    auth = settings.auth
    users = {
        name: _with_secret(user, secrets.get(("auth", "users", name, "password_file")))
        for name, user in auth.users.items()
    }
    token = secrets.get(("auth", "admin_token_file"))
    if token is not None:
        auth = replace(auth, admin_token=token, admin_token_file=None)
    incidents, secret = settings.incidents, secrets.get(("incidents", "webhook", "secret_file"))
    if secret is not None:
        incidents = replace(incidents, webhook=replace(incidents.webhook, secret=secret, secret_file=None))
    return replace(settings, auth=_with_users(auth, users), incidents=incidents)


def _with_secret(user: User, secret: str | None) -> User:
    return user if secret is None else User(password=secret)


def _with_users(auth: Auth, users: Mapping[str, User]) -> Auth:
    return replace(auth, users=users) if users else auth


def settings_hash(settings: Settings, secrets: Mapping[Path, str]) -> str:
    """12 hex digits that name *settings*: the same for the same settings, in whatever order they are written.

    Secrets count, through a slow hash: a change of one shows, a guess at one is expensive to prove.
    """
    hidden: list[tuple[str, str]] = [(repr(path), secret) for path, secret in secrets.items()]
    shown = _without_secrets(plain_value(Settings, settings), (), hidden)
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode())
    if hidden:
        material = json.dumps(sorted(hidden)).encode()
        digest.update(hashlib.pbkdf2_hmac("sha256", material, digest.digest(), _ROUNDS))
    return digest.hexdigest()[:12]


def _without_secrets(value: object, path: Path, hidden: list[tuple[str, str]]) -> object:
    if isinstance(value, dict):
        return {key: _without_secrets(item, (*path, key), hidden) for key, item in value.items()}
    if isinstance(value, str) and value and path and path[-1] in SECRETS:
        hidden.append((repr(path), value))
        return "secret"
    return value
