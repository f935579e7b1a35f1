"""Who may log in, as the relay wants it: SCRAM secrets instead of passwords, a TLS context instead of files."""

import secrets

from poolguard.core.errors import SettingsError
from poolguard.relay.door import Door
from poolguard.relay.tls import load_client_tls
from poolguard.settings.model import Settings
from poolguard.wire.scram import ScramSecret, is_scram_secret

SALT_BYTES = 16


def make_door(settings: Settings, *, seed: bytes) -> Door:
    """Work out the secrets of all users. Costs some 2 ms for each user with a plain password: not on the loop.

    Raises SettingsError for a secret or a certificate that can't be used; it names user or file, never the secret.
    """
    found: dict[str, ScramSecret] = {}
    for name, user in settings.auth.users.items():
        password = user.password or ""
        if is_scram_secret(password):
            try:
                found[name] = ScramSecret.parse(password)
            except ValueError as error:
                raise SettingsError(f"auth.users.{name}: {error}") from None
        else:
            found[name] = ScramSecret.from_password(password, salt=secrets.token_bytes(SALT_BYTES))
    tls = settings.listen.clients.tls
    return Door(
        method=settings.auth.method,
        secrets=found,
        seed=seed,
        login_timeout=settings.limits.login_timeout,
        tls=None if tls is None else load_client_tls(tls),
    )
