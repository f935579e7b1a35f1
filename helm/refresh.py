#!/usr/bin/env python3
"""Write poolguard's own JSON Schema into the chart's values.schema.json. Run it when a setting has changed."""

import json
from pathlib import Path
from typing import Any

from poolguard.settings.schema import json_schema

SCHEMA = Path(__file__).parent / "poolguard" / "values.schema.json"


def refreshed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the chart's *schema* with today's settings in it."""
    settings = {key: value for key, value in json_schema().items() if key != "$schema"}
    return {**schema, "properties": {**schema["properties"], "settings": settings}}


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(refreshed(json.loads(SCHEMA.read_text())), indent=1) + "\n")
