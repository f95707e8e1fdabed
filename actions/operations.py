"""The operations that several kinds of backends serve, each declared once: a runbook's `flag.disable` means the same everywhere.

The shape of the target's value belongs to the declaration, because conditions, cards and post-mortems read it:

    flag.disable, flag.set     true or false
    model.rollback             {"version": text}
    cluster.scale              {"replicas": whole number}
    retries.cap                {"attempts": whole number, the first attempt included}
    route.switch               {"route": text}
    limit.set                  {"value": number}
"""

from runbooks.operation import Argument, ArgumentType, Operation
from runbooks.severity import Tier


def _target(help_text: str) -> Argument:
    return Argument(type=ArgumentType.TEXT, help=help_text)


FLAG_DISABLE = Operation(
    name="flag.disable",
    title="Disable a feature flag",
    reads=False,
    tier=Tier.R1,
    target="flag",
    arguments={"flag": _target("the flag's name, such as long-answers")},
    sample=False,
)

FLAG_SET = Operation(
    name="flag.set",
    title="Set a feature flag",
    reads=False,
    tier=Tier.R1,
    target="flag",
    arguments={"flag": _target("the flag's name"), "on": Argument(type=ArgumentType.BOOLEAN, help="true or false")},
    sample=True,
)

MODEL_ROLLBACK = Operation(
    name="model.rollback",
    title="Roll back a release unit",
    reads=False,
    tier=Tier.R2,
    target="unit",
    arguments={
        "unit": _target("the release unit: model, prompt, retrieval settings, flags and safety rules as one version"),
        "to": Argument(type=ArgumentType.TEXT, help="last_known_good, or a version"),
    },
    sample={"version": "answers-v7.3"},
)

CLUSTER_SCALE = Operation(
    name="cluster.scale",
    title="Scale a pool",
    reads=False,
    tier=Tier.R1,
    target="target",
    arguments={
        "target": _target("the pool, such as inference/answers-v7"),
        "replicas": Argument(type=ArgumentType.INTEGER, minimum=0, maximum=1000, help="how many there shall be"),
    },
    sample={"replicas": 4},
)

RETRIES_CAP = Operation(
    name="retries.cap",
    title="Cap a client's attempts",
    reads=False,
    tier=Tier.R1,
    target="target",
    arguments={
        "target": _target("the client, such as gateway/answers"),
        "attempts": Argument(type=ArgumentType.INTEGER, minimum=0, maximum=10, help="attempts in all, the first one included"),
    },
    sample={"attempts": 1},
)

ROUTE_SWITCH = Operation(
    name="route.switch",
    title="Switch a route",
    reads=False,
    tier=Tier.R1,
    target="target",
    arguments={
        "target": _target("what is routed, such as answers"),
        "route": Argument(type=ArgumentType.TEXT, help="its new route"),
    },
    sample={"route": "backup"},
)

LIMIT_SET = Operation(
    name="limit.set",
    title="Set a limit",
    reads=False,
    tier=Tier.R1,
    target="target",
    arguments={
        "target": _target("the limit, such as answers/max_output_tokens"),
        "value": Argument(type=ArgumentType.NUMBER, minimum=0, help="its new value"),
    },
    sample={"value": 1200},
)

SHARED: dict[str, Operation] = {
    operation.name: operation for operation in (FLAG_DISABLE, FLAG_SET, MODEL_ROLLBACK, CLUSTER_SCALE, RETRIES_CAP, ROUTE_SWITCH, LIMIT_SET)
}
