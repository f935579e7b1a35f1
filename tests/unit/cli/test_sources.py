from pathlib import Path

import pytest

from poolguard.cli.sources import load_settings, settings_file


@pytest.mark.parametrize(
    ("given", "environ", "file"),
    [
        ("a", {"POOLGUARD_CONFIG": "b"}, "a"),
        (None, {"POOLGUARD_CONFIG": "b"}, "b"),
        (None, {"POOLGUARD_CONFIG": ""}, None),
        (None, {}, None),
    ],
)
def test_the_argument_goes_before_the_environment(given: str | None, environ: dict[str, str], file: str | None) -> None:
    assert settings_file(given, environ) == file


def test_the_file_that_is_meant_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("pools: {app: {size: 7}}")
    loaded = load_settings(None, {"POOLGUARD_CONFIG": str(file)})
    assert (loaded.settings.pools["app"].size, loaded.source) == (7, str(file))
