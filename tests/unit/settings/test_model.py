import pytest

from poolguard.settings.load import parse
from poolguard.settings.problems import SettingsProblems


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("auth: {users: {a: {}}}", "give exactly one of password and password_file"),
        ("auth: {method: scram-sha-256}", "needs at least one entry in users"),
        ("pools: {app: {size: 1, min_idle: 2}}", "min_idle 2 is above size 1"),
        ("pools: {app: {wait_timeout: 400d}}", "at most 366d"),
        ("policies: {app: {idle_in_transaction: {cancel: 1s}}}", "has no cancel"),
        ("policies: {app: {statement_age: {rollback: 1s}}}", "has no rollback"),
        ("policies: {app: {statement_age: {}}}", "no step given"),
        ("policies: {app: {checkout_age: {rollback: 5s, terminate: 1s}}}", "rollback comes after terminate"),
        ("listen: {clients: {port: 65536}}", "at most 65535"),
        ("listen: {clients: {tls: {cert_file: a}}}", "key_file"),
        ("listen: {clients: {tls: {cert_file: a, key_file: b, client_cert: verify-ca}}}", "needs ca_file"),
        ("listen: {clients: {tls: {cert_file: a, key_file: b, min_version: TLSv1}}}", "is not known"),
    ],
)
def test_values_that_contradict_each_other_are_refused(text: str, words: str) -> None:
    with pytest.raises(SettingsProblems) as refused:
        parse(text, "f", {})
    assert words in refused.value.message
    assert len(refused.value.problems) == 1
