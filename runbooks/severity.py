"""How bad, and of what kind."""

from enum import StrEnum


class Severity(StrEnum):
    """SEV1 is worst. `rank` grows as things get better, so sorting by it puts the worst first."""

    SEV1 = "SEV1"
    SEV2 = "SEV2"
    SEV3 = "SEV3"
    SEV4 = "SEV4"

    @property
    def rank(self) -> int:
        """1 (worst) to 4."""
        return int(self.value[-1])

    def worse_than(self, other: "Severity") -> bool:
        """Whether this is strictly worse than `other`."""
        return self.rank < other.rank


class IncidentClass(StrEnum):
    """What kind of promise is broken. Non-outages are incidents too (mission E2)."""

    AVAILABILITY = "availability"
    QUALITY = "quality"
    SAFETY = "safety"
    COST = "cost"
    DATA = "data"
    SECURITY = "security"


class Tier(StrEnum):
    """Risk of an action (rule S3): R0 reads; R1 reversible and narrow; R2 reversible and wide; R3 irreversible."""

    R0 = "R0"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"

    @property
    def rank(self) -> int:
        """0 (reads) to 3 (irreversible)."""
        return int(self.value[-1])

    @property
    def risk(self) -> str:
        """In a word, for people who do not know the tiers by heart."""
        return ("no", "low", "high", "the highest")[self.rank]

    def above(self, other: "Tier") -> bool:
        """Whether this risks strictly more than `other`."""
        return self.rank > other.rank

    def raised(self, steps: int = 1) -> "Tier":
        """This tier, raised by `steps`, at most R3."""
        return Tier(f"R{min(self.rank + steps, 3)}")
