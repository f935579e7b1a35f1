import json
from pathlib import Path

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main
from poolguard.lease.schema import ddl
from poolguard.settings.reference import markdown
from poolguard.settings.schema import json_schema


def test_the_json_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["print-schema"], {"POOLGUARD_CONFIG": "/nowhere"}) == Exit.OK
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_the_ddl_is_of_the_schema_that_the_settings_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("leases: {schema: elsewhere}")
    assert main(["print-schema", "--sql", "--config", str(file)], {}) == Exit.OK
    assert capsys.readouterr().out.strip() == ddl("elsewhere").strip()


def test_the_table_of_settings_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["print-schema", "--markdown"], {}) == Exit.OK
    assert capsys.readouterr().out == markdown()


def test_only_one_kind_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["print-schema", "--sql", "--markdown"], {})
    assert "not allowed with" in capsys.readouterr().err
