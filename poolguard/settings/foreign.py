"""Rules for lock holders that are not poolguard's: none by default, narrower than those of policies. Pure."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, MaxLen

from poolguard.settings.kinds import FORBID, Name, Seconds
from poolguard.settings.matching import MOST_ENTRIES, Age, Networks, Number, States, Texts, When
from poolguard.settings.policies import Budget, Exempt, Ladder, Pause, Policy, PolicyMode, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignWhen:
    """What must hold, all of it, for a rule to match a backend. Whom it is about must be named."""

    __pydantic_config__: ClassVar = FORBID
    user: Texts = ()
    database: Texts = ()
    application_name: Texts = ()
    client_address: Networks = ()
    state: States = ()
    idle_for: Age | None = None
    transaction_age: Age | None = None
    statement_age: Age | None = None
    blocking: Number = ">=1"
    blocking_for: Age | None = None

    def __post_init__(self) -> None:
        if not (self.user or self.database or self.application_name or self.client_address):
            raise ValueError("when names nobody: give user, database, application_name or client_address")

    def as_when(self) -> When:
        """The same, as policies have it."""
        return When(
            user=self.user,
            database=self.database,
            application_name=self.application_name,
            client_address=self.client_address,
            state=self.state,
            idle_for=self.idle_for,
            transaction_age=self.transaction_age,
            statement_age=self.statement_age,
            blocking=self.blocking,
            blocking_for=self.blocking_for,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignThen:
    """How long `when` must have held for each step. Nobody can roll back somebody else's transaction: no such step."""

    __pydantic_config__: ClassVar = FORBID
    warn: Seconds | None = None
    cancel: Seconds | None = None
    terminate: Seconds | None = None

    def __post_init__(self) -> None:
        self.as_ladder()

    def as_ladder(self) -> Ladder:
        """The same, as policies have it. Raises ValueError for steps in the wrong order."""
        return Ladder(warn=self.warn, cancel=self.cancel, terminate=self.terminate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRule:
    """The steps of `then` are taken when all of `when` has held for so long."""

    __pydantic_config__: ClassVar = FORBID
    name: Name
    when: ForeignWhen
    then: ForeignThen
    mode: PolicyMode | None = None
    wait_after: Pause = 0.0

    def __post_init__(self) -> None:
        self.as_rule()

    def as_rule(self) -> Rule:
        """The same, as policies have it. Raises ValueError for what makes no sense together."""
        return Rule(
            name=self.name,
            when=self.when.as_when(),
            then=self.then.as_ladder(),
            mode=self.mode,
            wait_after=self.wait_after,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignExempt:
    """Whom no rule is about. Which work is never ended can't be changed here."""

    __pydantic_config__: ClassVar = FORBID
    application_name: Texts = ("pg_dump*", "pg_restore*", "pg_basebackup*")
    user: Texts = ()
    comment: str | None = "poolguard:ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignBudget:
    """How much may be ended before the guard stops and calls for a person."""

    __pydantic_config__: ClassVar = FORBID
    kills_per_minute: Annotated[int, Ge(0)] = 5
    cooldown: Pause = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignBlockers:
    """What is done about backends that are not poolguard's and for whose locks its sessions wait."""

    __pydantic_config__: ClassVar = FORBID
    mode: PolicyMode = PolicyMode.ENFORCE
    rules: Annotated[tuple[ForeignRule, ...], MaxLen(MOST_ENTRIES)] = ()
    exempt: ForeignExempt = field(default_factory=ForeignExempt)
    budget: ForeignBudget = field(default_factory=ForeignBudget)

    def __post_init__(self) -> None:
        self.as_policy()

    def as_policy(self) -> Policy:
        """The same, as a policy. Raises ValueError for two rules of one name."""
        return Policy(
            mode=self.mode,
            rules=tuple(rule.as_rule() for rule in self.rules),
            exempt=Exempt(
                application_name=self.exempt.application_name, user=self.exempt.user, comment=self.exempt.comment
            ),
            budget=Budget(
                kills_per_minute=self.budget.kills_per_minute, max_share_of_pool=1.0, cooldown=self.budget.cooldown
            ),
        )
