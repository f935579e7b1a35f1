"""The settings: what an operator wrote, checked as a whole before anything runs.

Theory. A file is read once, into a frozen `Settings`; nobody changes one, a reload makes another. The model
is authoritative for names, types and defaults: the file in config/, docs/settings.md and the JSON Schema are
compared with it by tests. Reading goes text -> places (YAML with the line of everything, variables filled in)
-> defaults (what the environment gives) -> model (types, ranges) -> check (what no single value can tell),
and collects every problem on its way; one problem and nothing is loaded, so a bad file changes nothing in a
running poolguard. Values of secrets enter the settings and their hash, and no message.

- `model`: the frozen dataclasses with every default. Pure.
- `policies`: those of policies: ladders, rules, exemptions, budgets. Pure.
- `foreign`: those about lock holders that are not poolguard's. Pure.
- `lanes`: those of lanes. Pure.
- `marks`: what an annotation says beyond a type, understood by pydantic and without it. Pure.
- `matching`: what a rule looks at, and its comparisons. Pure.
- `expressions`: how much of a text a regular expression may look at. Pure.
- `kinds`: what settings are made of: durations, sizes, names. Pure.
- `shape`: which keys the model has where, for suggestions, the schema and the reference.
- `written`: values as they are written in a file. Pure.
- `places`: YAML text to plain data, with line and column of every key and value.
- `fill`: `${VAR}` and `${VAR:-default}` in scalars.
- `problems`: what is wrong, where, and what to write instead.
- `wording`: pydantic's errors, said for the person who has to mend the file.
- `defaults`: what the environment, or another setting, gives when a key is left out. Pure.
- `check`: rules over several settings, and warnings. Pure.
- `secret_files`: secrets that are given as files; the hash of the settings in force.
- `load`: text or file to `Loaded`. The only module here that reads the disk, with `secret_files`.
- `loaded`: what comes of it. Pure.
- `apart`: the same in a process of its own, for the daemon.
- `reader`: that process.
- `diff`: old and new settings to a plan of what a reload does. Pure.
- `words`: one line of explanation for every setting.
- `schema`: the JSON Schema.
- `reference`: the table of all settings that docs/settings.md shows.
"""
