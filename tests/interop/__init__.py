"""Drivers, unchanged, through poolguard: each runs the same scenarios on PostgreSQL directly and in both pool modes.

One program per driver, in the driver's language, prints a JSON line per scenario; `drivers` lists them, `toolchains` builds
and starts them, `test_drivers` makes a test of each line. What works directly and not through poolguard is poolguard's bug.
"""
