"""The tests that meet PostgreSQL, on each version that is supported: `make versions`, or `python -m tests.versions --help`.

- `binaries`: a server of each version, from Maven Central: the distribution has but one.
"""
