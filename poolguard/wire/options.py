"""The startup parameter `options`: the command line of a server process, of which settings are understood. Pure."""

import re
from typing import Final

from poolguard.core.errors import ClientViolation, NotSupported

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")


def split_words(text: str) -> list[str]:
    r"""Cut at white space as pg_split_opts does (src/backend/utils/init/postinit.c): `\` keeps the next character."""
    words: list[str] = []
    word: list[str] = []
    inside = escaped = False
    for char in text:
        if escaped:
            word.append(char)
            escaped = False
        elif char in " \t\n\v\f\r":
            if inside:
                words.append("".join(word))
            word, inside = [], False
            continue
        elif char == "\\":
            escaped = True
        else:
            word.append(char)
        inside = True
    if inside:
        words.append("".join(word))
    return words


def parse_options(text: str) -> tuple[tuple[str, str], ...]:
    """Read `-c name=value`, `-cname=value` and `--name=value` into (name, value), in their order.

    A `-` inside of a name means `_`, as for PostgreSQL. The value is everything behind the first `=`: quotes and
    further dashes in it are plain characters. Raises ClientViolation for what is malformed, NotSupported for the
    other switches of a server process.
    """
    words = iter(split_words(text))
    settings = []
    for word in words:
        if word.startswith("--"):
            setting, shown = word[2:], "--"
        elif word == "-c":
            setting, shown = next(words, ""), "-c "
        elif word.startswith("-c"):
            setting, shown = word[2:], "-c"
        else:
            raise NotSupported(
                f"invalid command-line argument for server process: {word[:32]}",
                hint="In options, write -c name=value or --name=value.",
            )
        name, equals, value = setting.partition("=")
        name = name.replace("-", "_")
        if not equals:
            raise ClientViolation(f"invalid options: {shown}{name[:64]} requires a value")
        if not _NAME.fullmatch(name):
            raise ClientViolation(f"invalid options: {name[:64]!r} is no name of a setting")
        settings.append((name, value))
    return tuple(settings)


def quote_option(name: str, value: str) -> str:
    r"""Write one setting so that `parse_options`, and PostgreSQL, read the same back: `-c name=va\ lue`."""
    return "-c " + re.sub(r"([\\\s])", r"\\\1", f"{name}={value}")
