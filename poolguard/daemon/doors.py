"""Who may log in, as the relay wants it: SCRAM secrets instead of passwords."""

import secrets

from poolguard.core.errors import SettingsError
from poolguard.relay.login import Door
from poolguard.settings.model import Settings
from poolguard.wire.scram import ScramSecret, is_scram_secret

SALT_BYTES = 16


def make_door(settings: Settings, *, seed: bytes) -> Door:
    """Work out the secrets of all users. Costs some 2 ms for each user with a plain password: not on the loop.

    Raises SettingsError for a secret that can't be read; it names the user, never the secret.
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
    return Door(method=settings.auth.method, secrets=found, seed=seed, login_timeout=settings.limits.login_timeout)
