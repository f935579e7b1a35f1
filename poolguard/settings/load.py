"""Text or file to `Loaded`: the settings, their hash, their warnings. Every problem is reported at once."""

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Final

from pydantic import TypeAdapter, ValidationError

from poolguard.settings.check import Finding, find_problems, find_unknown_names, find_warnings
from poolguard.settings.defaults import names_in, with_defaults
from poolguard.settings.loaded import WITHOUT_FILE, Loaded
from poolguard.settings.model import Settings
from poolguard.settings.places import Document, read
from poolguard.settings.problems import Problem, SettingsProblems
from poolguard.settings.secret_files import SecretReader, file_reader, put_in, secret_files, settings_hash
from poolguard.settings.wording import problems_of

MOST_BYTES: Final = 4 * 1024 * 1024

ADAPTER: Final[TypeAdapter[Settings]] = TypeAdapter(Settings)


def load(path: FilePath | str | None, environ: Mapping[str, str]) -> Loaded:
    """Read the settings file at *path*, or only *environ* when that is None. Raises SettingsProblems.

    Blocks: it reads files and hashes secrets slowly (about 50 ms). With a loop running, call it in a thread.
    """
    if path is None:
        return parse("", WITHOUT_FILE, environ, read_secret=file_reader(FilePath()))
    file = FilePath(path)
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        problem = f"can't read the settings file: {error.strerror or type(error).__name__}"
        raise SettingsProblems(str(path), [Problem((), problem)]) from None
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text (byte {error.start}): save the file as UTF-8"
        raise SettingsProblems(str(path), [Problem((), problem)]) from None
    if len(content) > MOST_BYTES:
        raise SettingsProblems(str(path), [Problem((), f"over {MOST_BYTES // 1024**2} MiB: not a settings file")])
    return parse(text, str(path), environ, read_secret=file_reader(file.parent), folder=file.parent.absolute())


def parse(
    text: str,
    file_name: str,
    environ: Mapping[str, str],
    *,
    read_secret: SecretReader | None = None,
    folder: FilePath | None = None,
) -> Loaded:
    """Read settings from *text*. Raises SettingsProblems with every problem, each with line and column.

    Without *read_secret* the files of `..._file` settings are left alone. A relative `upstream.password_file`
    is made to start at *folder*. The same arguments give the same result.
    """
    document = read(text, environ)
    secrets = _read_secrets(document, read_secret)
    data = with_defaults(document.data, environ, folder)
    try:
        settings = ADAPTER.validate_python(data)
    except ValidationError as error:
        # The rules over several settings need a whole model; that no name is wrong can be told without one.
        names = [_placed(finding, document) for finding in find_unknown_names(names_in(data))]
        names = [problem for problem in names if problem.path not in document.unread]
        raise SettingsProblems(file_name, [*document.problems, *problems_of(error, document), *names]) from None
    problems = document.problems + [_placed(finding, document) for finding in find_problems(settings)]
    if problems:
        raise SettingsProblems(file_name, problems)
    warnings = tuple(_placed(finding, document).line(file_name) for finding in find_warnings(settings))
    return Loaded(
        settings=put_in(settings, secrets),
        hash=settings_hash(settings, secrets),
        source=file_name,
        warnings=warnings,
    )


def _placed(finding: Finding, document: Document) -> Problem:
    text = document.hide(finding.path, finding.text)
    return Problem(finding.path, text, document.place(finding.path))


def _read_secrets(document: Document, read_secret: SecretReader | None) -> dict[tuple[str | int, ...], str]:
    secrets: dict[tuple[str | int, ...], str] = {}
    if read_secret is None:
        return secrets
    for path, file in secret_files(document.data):
        try:
            secrets[path] = read_secret(file)
        except ValueError as error:
            document.problems.append(Problem(path, str(error), document.place(path)))
    return secrets
