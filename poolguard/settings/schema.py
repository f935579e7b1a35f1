"""The JSON Schema (2020-12) of the settings file, for editors, charts and checks before a deployment."""

from typing import Any, Final, TypeAlias

from poolguard.settings.load import ADAPTER
from poolguard.settings.shape import kind_at
from poolguard.settings.words import WORDS
from poolguard.settings.written import plain_value

Json: TypeAlias = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE: Final[Json] = {"type": "string", "pattern": r"\$\{", "description": "Filled from the environment."}


def json_schema() -> Json:
    """The schema of a whole file. Every setting has its explanation and its default.

    It is a little laxer than `check-config`: rules over several settings can't be said in it, and any value
    may be a `${VARIABLE}`.
    """
    schema = ADAPTER.json_schema()
    definitions: Json = schema.pop("$defs")
    whole: Json = {
        "$schema": DIALECT,
        "title": "poolguard settings",
        **{key: value for key, value in _expanded(schema, definitions, ()).items() if key != "title"},
    }
    return whole


def _expanded(node: Json, definitions: Json, path: tuple[str | int, ...]) -> Json:
    """Replace references by what they refer to, so that each setting can carry an explanation of its own."""
    if "$ref" in node:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        node = {**definitions[node["$ref"].removeprefix("#/$defs/")], **rest}
    result: Json = {key: value for key, value in node.items() if key != "title"}
    if "anyOf" in node:
        result["anyOf"] = [_expanded(part, definitions, path) for part in node["anyOf"]]
    if "properties" in node:
        result["properties"] = {
            name: _expanded(part, definitions, (*path, name)) for name, part in node["properties"].items()
        }
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _expanded(node["additionalProperties"], definitions, (*path, "*"))
    if isinstance(node.get("patternProperties"), dict):
        result["patternProperties"] = {
            pattern: _expanded(part, definitions, (*path, "*")) for pattern, part in node["patternProperties"].items()
        }
        result["additionalProperties"] = False
    if isinstance(node.get("items"), dict):
        result["items"] = _expanded(node["items"], definitions, (*path, 0))
    return _explained(result, path)


def _explained(node: Json, path: tuple[str | int, ...]) -> Json:
    words = WORDS.get(".".join("*" if isinstance(step, int) else step for step in path))
    if words is None:
        return node
    node = dict(node)
    if "default" in node:
        node["default"] = plain_value(kind_at(path), node["default"])
    about: Json = {key: node.pop(key) for key in ("default", "examples") if key in node}
    node.pop("description", None)
    kinds = [{key: value for key, value in part.items() if key != "description"} for part in node.pop("anyOf", [node])]
    if any(_refuses_variable(part) for part in kinds):
        kinds.append(_VARIABLE)
    node = {"anyOf": kinds} if len(kinds) > 1 else kinds[0]
    return {"description": words, **about, **node}


def _refuses_variable(part: Json) -> bool:
    return part.get("type") not in ("string", "null") or "pattern" in part or "enum" in part
