"""A lock graph for people and for programs. Pure: text with the root first, and values for JSON."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from poolguard.guard.incidents import iso_time
from poolguard.guard.locks.backends import Backend, Node
from poolguard.guard.locks.graph import Branch, LockGraph, Tree
from poolguard.guard.locks.history import SeenTree
from poolguard.guard.locks.roots import ADVICE, kind_of

STATEMENT_CHARACTERS: Final = 120
"""Of a statement, in a line for people."""
SHOWN_WAITERS: Final = 20
"""Of a tree, in an incident; the numbers count all."""


def without_text(graph: LockGraph) -> LockGraph:
    """The same, where statements' texts are not to be shown."""
    return replace(graph, trees=tuple(tree_without_text(tree) for tree in graph.trees))


def tree_without_text(tree: Tree) -> Tree:
    """One tree of it."""
    branches = tuple(replace(branch, backend=_silent(branch.backend)) for branch in tree.branches)
    return replace(tree, backend=_silent(tree.backend), branches=branches)


def _silent(backend: Backend | None) -> Backend | None:
    if backend is None or backend.statement is None:
        return backend
    return replace(backend, statement=backend.statement.without_text())


def as_text(graph: LockGraph) -> str:
    """Indented trees, the worst first; one line a backend. Ends in a newline."""
    if not graph.trees and not graph.cycles:
        return (
            "Nobody waits for a lock.\n" if not graph.waiters else f"{graph.waiters} wait; nobody is known to block.\n"
        )
    lines: list[str] = []
    for tree in graph.trees:
        lines += _tree_lines(tree)
    for cycle in graph.cycles:
        lines.append(f"deadlock in formation: {', '.join(map(str, cycle))}. PostgreSQL ends it after deadlock_timeout.")
    return "\n".join(lines) + "\n"


def history_text(seen: Sequence[SeenTree]) -> str:
    """Trees that were seen, each behind the times of its first and last sight; the latest first."""
    if not seen:
        return "\nNobody was seen waiting for a lock since the start.\n"
    parts = [
        f"\n{iso_time(one.first_at)} to {iso_time(one.last_at)}, at its largest:\n" + "\n".join(_tree_lines(one.tree))
        for one in seen
    ]
    return "\n".join(parts) + "\n"


def root_in_words(tree: Tree) -> str:
    """Who is at the root, and in which state, without a statement: `pid 7 ("psql"): idle in transaction for 34.2s`."""
    return f"{_who(tree.root, tree.backend)}: {kind_of(tree).value.replace('_', ' ')}{_since(tree.backend)}"


def _tree_lines(tree: Tree) -> list[str]:
    blocks = f"{tree.waiters} (longest {tree.longest_seconds:.1f}s, together {tree.wait_seconds:.1f}s)"
    lines = [
        f"{root_in_words(tree)}, blocks {blocks}{_statement(tree.backend)}",
        f"  {ADVICE[kind_of(tree)]}",
    ]
    open_above: list[bool] = []
    for branch in tree.branches:
        del open_above[branch.depth - 1 :]
        rail = "".join("│  " if still else "   " for still in open_above)
        lines.append(f"{rail}{'└─ ' if branch.last else '├─ '}{_waiter(branch)}")
        open_above.append(not branch.last)
    if tree.waiters > len(tree.branches):
        lines.append(f"   ... and {tree.waiters - len(tree.branches)} more")
    return lines


def _waiter(branch: Branch) -> str:
    wait = branch.wait
    target = f" on {wait.target}" if wait.target else ""
    return (
        f"{_who(Node(wait.pid), branch.backend)} waits {wait.seconds:.1f}s for {wait.mode or 'a lock'}{target}"
        f"{_statement(branch.backend)}"
    )


def _who(node: Node, backend: Backend | None) -> str:
    if backend is None:
        return str(node)
    names = [f'"{backend.application_name}"'] if backend.application_name else []
    names += [f"user {backend.user}"] if backend.user else [backend.kind]
    if backend.transaction is not None:
        names.append(f"pool {backend.pool}, transaction {backend.transaction}")
    return f"{node} ({', '.join(names)})"


def _since(backend: Backend | None) -> str:
    return f" for {backend.state_seconds:.1f}s" if backend is not None and backend.state_seconds else ""


def _statement(backend: Backend | None) -> str:
    if backend is None or backend.statement is None:
        return ""
    text = backend.statement.text
    return f": {text if len(text) <= STATEMENT_CHARACTERS else text[: STATEMENT_CHARACTERS - 3] + '...'}"


def as_json(graph: LockGraph, at: float) -> dict[str, object]:
    """Plain values. *at*: when it was read, seconds since 1970; 0: nobody has ever waited, so there is no time."""
    return {
        "time": iso_time(at) if at else None,
        "waiters": graph.waiters,
        "longest_seconds": round(graph.longest_seconds, 3),
        "trees": [tree_json(tree) for tree in graph.trees],
        "cycles": [[str(node) for node in cycle] for cycle in graph.cycles],
    }


def incident_tree(tree: Tree) -> dict[str, object]:
    """One tree as an incident keeps it: the first `SHOWN_WAITERS` who wait."""
    return tree_json(replace(tree, branches=tree.branches[:SHOWN_WAITERS]))


def tree_json(tree: Tree) -> dict[str, object]:
    """One tree."""
    kind = kind_of(tree)
    return {
        "root": _backend_values(tree.root, tree.backend),
        "class": kind.value,
        "advice": ADVICE[kind],
        "waiters": tree.waiters,
        "wait_seconds": round(tree.wait_seconds, 3),
        "longest_seconds": round(tree.longest_seconds, 3),
        "blocked": [
            {
                **_backend_values(Node(branch.wait.pid), branch.backend),
                "depth": branch.depth,
                "blocked_by": [str(node) for node in branch.wait.blockers],
                "waits_seconds": round(branch.wait.seconds, 3),
                "lock_mode": branch.wait.mode or None,
                "lock_on": branch.wait.target or None,
            }
            for branch in tree.branches
        ],
    }


def _backend_values(node: Node, backend: Backend | None) -> dict[str, object]:
    values: dict[str, object] = {"pid": node.pid or None, "gid": node.gid or None}
    if backend is None:
        return values
    statement = backend.statement
    return {
        **values,
        "backend_type": backend.kind,
        "user": backend.user or None,
        "database": backend.database or None,
        "application_name": backend.application_name or None,
        "client_address": backend.client_address or None,
        "state": backend.state or None,
        "state_seconds": round(backend.state_seconds, 3),
        "transaction_seconds": round(backend.transaction_seconds, 3),
        "wait_event": backend.wait_event or None,
        "statement": {"fingerprint": statement.id, "text": statement.text} if statement is not None else None,
        "pool": backend.pool or None,
        "transaction": str(backend.transaction) if backend.transaction is not None else None,
    }
