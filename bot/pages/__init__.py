"""What is better seen in a browser: incidents with their timelines, post-mortems, drills, readiness, runbooks. Only reading; no script."""

from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bot.access import Access
from bot.app import Muster
from bot.pages import incidents, preparation, reviews
from bot.pages.door import Answer, Door, Page

PAGES: tuple[tuple[str, Page], ...] = (
    ("/incidents", incidents.listed),
    ("/incidents/{incident:int}", incidents.shown),
    ("/incidents/{incident:int}/timeline.{form:str}", incidents.exported),
    ("/postmortems", reviews.listed),
    ("/postmortems/{incident:int}", reviews.shown),
    ("/postmortems/{incident:int}.md", reviews.exported),
    ("/drills", preparation.drills_listed),
    ("/drills/{drill:int}", preparation.drill_shown),
    ("/readiness", preparation.readiness_shown),
    ("/runbooks", preparation.runbooks_listed),
    ("/runbooks/{runbook}", preparation.runbook_shown),
)
"""Every page by its path."""

STATIC = Path(__file__).parent / "static"


def routes(muster: Muster) -> Sequence[BaseRoute]:
    """The pages' routes over a running Muster."""
    access = Access(
        configuration=muster.configuration,
        tokens=muster.configuration.tokens(muster.secrets),
        bound_to=muster.settings.http_host,
        public_url=muster.settings.public_url,
    )
    door = Door(muster, access)
    return [
        Route("/", door.front),
        Route("/pages/muster.css", _file(STATIC / "muster.css", "text/css")),
        Route("/pages/icon.svg", _file(STATIC / "icon.svg", "image/svg+xml")),
        Route("/sign-in", door.sign_in, methods=["GET", "POST"]),
        *(Route(path, door.shows(page)) for path, page in PAGES),
    ]


def _file(path: Path, media: str) -> Answer:
    """A file that says nothing about anybody, so anybody may have it."""
    body = path.read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(body, media_type=media, headers={"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"})

    return answer
