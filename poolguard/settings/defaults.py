"""What the environment, or another setting, gives when a key is left out: the model can't say it. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Final

from poolguard.settings.check import Names
from poolguard.settings.model import Pool, Settings
from poolguard.settings.policies import default_policies

URL_VARIABLE: Final = "DATABASE_URL"
TOKEN_VARIABLE: Final = "POOLGUARD_ADMIN_TOKEN"  # noqa: S105 - the variable's name


def with_defaults(data: Mapping[str, object], environ: Mapping[str, str], folder: PurePath | None) -> dict[str, object]:
    """Plain settings *data*, made ready for the model.

    - `upstream.url` is DATABASE_URL, `auth.admin_token` is POOLGUARD_ADMIN_TOKEN.
    - A pool's own `upstream` gets what it leaves out from the one of all, but no password for another URL.
    - `policies` are added to the default ones, and replace those of the same name.
    - A relative `upstream.password_file` starts at *folder*: it means the same wherever poolguard starts. So do the
      files of `listen.clients.tls`.
    """
    whole: dict[str, object] = dict(data)
    if isinstance(listen := whole.get("listen"), dict):
        whole["listen"] = _with_tls(listen, folder)
    upstream = whole.get("upstream", {})
    if isinstance(upstream, dict):
        upstream = {"url": environ.get(URL_VARIABLE, ""), **_anchored(upstream, ("password_file",), folder)}
        whole["upstream"] = upstream
    auth = whole.get("auth", {})
    if isinstance(auth, dict) and "admin_token_file" not in auth:
        whole["auth"] = {"admin_token": environ.get(TOKEN_VARIABLE, ""), **auth}
    if isinstance(pools := whole.get("pools"), dict):
        whole["pools"] = {name: _pool(pool, upstream, folder) for name, pool in pools.items()}
    if isinstance(policies := whole.get("policies"), dict):
        whole["policies"] = {**default_policies(), **policies}
    return whole


def names_in(data: Mapping[str, object]) -> Names:
    """The names in *data* that the model refused, as far as they can be told."""
    default = Settings()
    pools, policies, routes = data.get("pools", default.pools), data.get("policies"), data.get("routes")
    return Names(
        pools={name: _policy(pool) for name, pool in pools.items()} if isinstance(pools, Mapping) else {"?": None},
        policies=list(policies) if isinstance(policies, dict) else list(default.policies),
        default_pool=_text(data.get("default_pool", default.default_pool)) if isinstance(pools, Mapping) else None,
        routes=[_text(route.get("pool")) if isinstance(route, dict) else None for route in routes]
        if isinstance(routes, list) and isinstance(pools, Mapping)
        else [],
    )


def _policy(pool: object) -> str | None:
    if isinstance(pool, Pool):
        return pool.policy
    return _text(pool.get("policy")) if isinstance(pool, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _pool(pool: object, upstream: object, folder: PurePath | None) -> object:
    if not (isinstance(pool, dict) and isinstance(pool.get("upstream"), dict) and isinstance(upstream, dict)):
        return pool
    own = _anchored(pool["upstream"], ("password_file",), folder)
    inherited = {key: value for key, value in upstream.items() if key != "password_file" or "url" not in own}
    return {**pool, "upstream": {**inherited, **own}}


def _with_tls(listen: Mapping[str, object], folder: PurePath | None) -> Mapping[str, object]:
    clients = listen.get("clients")
    if not (isinstance(clients, dict) and isinstance(tls := clients.get("tls"), dict)):
        return listen
    return {**listen, "clients": {**clients, "tls": _anchored(tls, ("cert_file", "key_file", "ca_file"), folder)}}


def _anchored(given: Mapping[str, object], keys: Sequence[str], folder: PurePath | None) -> dict[str, object]:
    files = {key: file for key in keys if isinstance(file := given.get(key), str)}
    if folder is None:
        return dict(given)
    return {**given, **{key: str(folder / file) for key, file in files.items()}}
