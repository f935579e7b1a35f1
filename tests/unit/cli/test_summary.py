from poolguard.cli.summary import summary
from poolguard.settings.load import parse


def test_a_pools_own_postgresql_is_named_and_leases_count_only_when_on() -> None:
    text = """
        pools: {app: {size: 3}, far: {size: 2, mode: session, upstream: {url: "postgresql://u:hunter2@far/x"}}}
        leases: {enabled: false}
        default_pool: far
        routes: [{match: {user: a}, pool: app}]
    """
    lines = summary(parse(text, "f", {}), {"PGHOST": "near", "PGUSER": "me"})
    assert lines[1:3] == ["  PostgreSQL: me@near:5432/me", "  pools.far.upstream: u@far:5432/x"]
    assert lines[5:] == [
        "  pools: app 3 (transaction, policy app), far 2 (session, policy app)",
        "  any other database name: far; routes: 1",
        "  connections to PostgreSQL at most: 6 (5 in pools, 0 for leases, 1 to observe)",
    ]
