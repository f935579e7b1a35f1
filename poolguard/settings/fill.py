"""Fill `${VAR}` and `${VAR:-default}` into a scalar. Pure: the environment is an argument."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")
"""`$${`, or a well-formed variable, or a `${` that begins nothing known (both groups empty)."""


@dataclass(frozen=True, slots=True)
class Filled:
    """*value* is the text to use, *variables* went into it, *problems* say what could not be filled."""

    value: str
    variables: tuple[str, ...]
    problems: tuple[str, ...]


def fill(text: str, environ: Mapping[str, str]) -> Filled:
    """Replace the variables in *text*.

    As in a shell, `:-` gives its default also when the variable is set but empty. `$${` stands for a literal
    `${`. The filled text is not looked at again, so a secret may hold any characters.
    """
    variables: list[str] = []
    problems: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            problems.append("${ begins no variable: write ${NAME} or ${NAME:-default}, or $${ for a literal ${")
            return ""
        variables.append(name)
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            problems.append(f"variable {name} is not set: set it, or write a default as ${{{name}:-default}}")
        return environ.get(name, "")

    value = _VARIABLE.sub(replace, text)
    return Filled(value, tuple(variables), tuple(problems))
