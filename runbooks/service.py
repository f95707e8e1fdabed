"""What is run: a service, who owns it, who uses it."""

from runbooks.value import Value


class Service(Value):
    """One service of muster.yaml. `channel` is where its cards go; `customers` are who to name when nothing is measured.

    `owners` names teams by class of incident (mission E2), for example {"quality": "ml-platform"}; `owner` is for the rest.
    """

    name: str
    owner: str
    channel: str | None = None
    environment: str = "production"
    customers: tuple[str, ...] = ()
    owners: dict[str, str] = {}
    links: dict[str, str] = {}
