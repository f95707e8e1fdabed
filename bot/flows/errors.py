"""Why a press did nothing. Each is a sentence for the person who pressed, with a name for the audit (rules S4, S10, decision 9)."""

from typing import Literal

from runbooks.errors import MusterError


class Refused(MusterError):
    """Nothing was changed. `reason` is a short name such as `not_allowed`; the text says why, who can help and what to do instead."""

    def __init__(self, reason: str, text: str, *, offer: Literal["plan", "timeline", "none"] = "none", audit: bool = True) -> None:
        self.reason, self.offer, self.audit = reason, offer, audit
        super().__init__(text)
