"""poolguard: a sidecar between an application and PostgreSQL.

Separate named pools, a guard that ends leaked transactions, sight of what goes on, and leases that never
starve. docs/design.md tells the whole; each package's docstring tells its own theory.
"""

__version__ = "0.1.0"
