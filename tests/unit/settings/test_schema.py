from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from poolguard.settings.schema import DIALECT, json_schema
from poolguard.settings.words import WORDS

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
CONFIG = Path(__file__).parents[3] / "config" / "poolguard.yaml"


def descriptions(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(text := node.get("description"), str):
            yield text
        for part in node.values():
            yield from descriptions(part)
    elif isinstance(node, list):
        for part in node:
            yield from descriptions(part)


def test_it_is_a_schema_of_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == DIALECT


def test_the_file_in_config_fits() -> None:
    VALIDATOR.validate(yaml.safe_load(CONFIG.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "pools: {own: {size: '${SIZE:-5}', wait_timeout: '${WAIT}', mode: '${MODE}'}}",
        "leases: {enabled: '${LEASES}', default_ttl: 1h30m}",
        "policies: {p: {idle_in_transaction: {warn: 1s}, statement_age: null}}",
    ],
)
def test_good_files_fit(text: str) -> None:
    VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "polcies: {}",
        "pools: {app: {sise: 5}}",
        "pools: {app: {size: 0}}",
        "pools: {app: {size: five}}",
        "pools: {app: {wait_timeout: 30}}",
        "pools: {app: {wait_timeout: 30 seconds}}",
        "pools: {app: {mode: statement}}",
        "pools: {'a b': {}}",
        "routes: [{match: {user: a}}]",
        "routes: {}",
        "leases: {schema: 'a b'}",
        "leases: {enabled: maybe}",
        "limits: {message_bytes: 1MB}",
        "listen: {clients: {port: 70000}}",
        "policies: {p: {budget: {max_share_of_pool: 2}}}",
        "log: null",
    ],
)
def test_broken_files_do_not_fit(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(yaml.safe_load(text))


def test_every_setting_is_explained_in_it() -> None:
    assert set(WORDS.values()) <= set(descriptions(SCHEMA))


def test_defaults_are_written_as_in_a_file() -> None:
    limits: dict[str, Any] = SCHEMA["properties"]["limits"]["properties"]
    assert (limits["message_bytes"]["default"], limits["drain_timeout"]["default"]) == ("256MiB", "25s")
