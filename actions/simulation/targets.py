"""What can be changed from outside: flags, pools, retries, releases, routes, limits. Every change is a compare-and-set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .errors import Unacceptable, UnknownThing

Setting = bool | int | str

ROUTES = ("primary", "backup", "cached", "no-retrieval", "strict")
# Seconds from asking for a replica to its first answer: image, weights, warm-up.
START_UP = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A target as declared: its first setting and what it may be set to."""

    kind: str
    name: str
    first: Setting
    about: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def bounds(self) -> dict[str, object]:
        """What the setting may be, for people and for plans."""
        if self.minimum is not None:
            return {"minimum": self.minimum, "maximum": self.maximum}
        return {"choices": list(self.choices)} if self.choices else {}


def declared(*, replicas: Mapping[str, int], running: Mapping[str, str]) -> dict[str, Declared]:
    """Return every target by its path, such as `pool/inference/reranker-v3`."""
    everything = [
        Declared(kind="flag", name="fast-path", first=True, about="frequent questions skip the second reranking pass"),
        Declared(kind="flag", name="rerank", first=True, about="passages are reranked; off is faster and answers worse"),
        Declared(kind="flag", name="hybrid-search", first=True, about="vector and keyword search; off is keyword only, which finds less"),
        Declared(kind="flag", name="semantic-cache", first=True, about="repeated questions are answered from the cache"),
        Declared(kind="flag", name="long-answers", first=False, about="answers may run to several paragraphs"),
        Declared(kind="flag", name="safety-filter-v2", first=True, about="answers pass the safety filter"),
        Declared(kind="retries", name="gateway/answers", first=3, about="attempts per request, the first included", minimum=1, maximum=8),
        Declared(kind="route", name="answers", first="primary", about="how questions are answered", choices=ROUTES),
        Declared(kind="limit", name="answers/tokens_per_minute", first=12_000_000, about="tokens", minimum=100_000, maximum=40_000_000),
        Declared(kind="limit", name="answers/max_output_tokens", first=1200, about="tokens per answer", minimum=64, maximum=4096),
        Declared(kind="limit", name="answers/daily_budget_usd", first=20_000, about="US dollars per UTC day", minimum=100, maximum=100_000),
    ]
    for name, count in replicas.items():
        about = "replicas of the inference pool"
        everything.append(Declared(kind="pool", name=f"inference/{name}", first=count, about=about, minimum=1, maximum=24))
    for unit, version in running.items():
        about = "model, prompt, retrieval settings, flags and safety rules as one version"
        everything.append(Declared(kind="release", name=unit, first=version, about=about))
    return {f"{one.kind}/{one.name}": one for one in everything}


@dataclass(slots=True, kw_only=True)
class Target:
    """A target as it stands. `version` counts its changes; `starting` holds the steps at which ordered replicas become ready."""

    declared: Declared
    setting: Setting
    version: int = 1
    changed_by: str = "initial"
    changed_at: datetime
    ready: int = 0
    starting: list[int] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Where the target is found below /targets."""
        return f"{self.declared.kind}/{self.declared.name}"

    def order(self, count: int, *, ready_at_step: int) -> None:
        """Ask for `count` replicas: fewer stop at once, more become ready at the step given."""
        self.ready = min(self.ready, count)
        self.starting = self.starting[: count - self.ready]
        self.starting += [ready_at_step] * (count - self.ready - len(self.starting))

    def settle(self, step: int) -> None:
        """Count the replicas whose start-up has ended by `step` as ready."""
        self.ready += sum(due <= step for due in self.starting)
        self.starting = [due for due in self.starting if due > step]

    def to_json(self) -> dict[str, object]:
        """Return what a snapshot keeps."""
        return {
            "setting": self.setting, "version": self.version, "changed_by": self.changed_by,
            "changed_at": self.changed_at.isoformat(), "ready": self.ready, "starting": list(self.starting),
        }  # fmt: skip


def find(targets: Mapping[str, Target], path: str) -> Target:
    """Return the target at `path`, or say which there are."""
    if path not in targets:
        kind = path.split("/", 1)[0]
        near = sorted(known for known in targets if known.startswith(kind + "/")) or sorted(targets)
        raise UnknownThing(f"no target {path}; there are {', '.join(near)}")
    return targets[path]


_FIELDS = {"pool": "replicas", "retries": "attempts", "limit": "value", "route": "route", "release": "version"}


def accepted(target: Declared, value: object, *, versions: tuple[str, ...] = ()) -> Setting:
    """Return the setting that `value` asks for, or refuse it with the reason.

    Raises:
        Unacceptable: wrong type, out of bounds, or a version that was never released.
    """
    if target.kind == "flag":
        if not isinstance(value, bool):
            raise Unacceptable(f"flag {target.name} is true or false, not {value!r}")
        return value
    wanted = _FIELDS[target.kind]
    inner = value.get(wanted) if isinstance(value, Mapping) else None
    if inner is None:
        raise Unacceptable(f'{target.kind} {target.name} is set by an object such as {{"{wanted}": …}}, not {value!r}')
    if target.minimum is not None:
        return _number(target, inner)
    choices = target.choices or versions
    if inner not in choices:
        raise Unacceptable(f"{target.kind} {target.name} has no {wanted} {inner!r}; there are {', '.join(choices)}")
    return str(inner)


def _number(target: Declared, inner: object) -> int:
    if isinstance(inner, bool) or not isinstance(inner, int | float) or inner != int(inner):
        raise Unacceptable(f"{target.kind} {target.name} is a whole number, not {inner!r}")
    assert target.minimum is not None
    assert target.maximum is not None
    if not target.minimum <= inner <= target.maximum:
        raise Unacceptable(f"{target.kind} {target.name} is between {target.minimum} and {target.maximum}, not {int(inner)}")
    return int(inner)
