"""`muster demo`: the local workspace, the simulated AI service and Muster in one process group, kept in one folder."""

import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated

import httpx
import typer

from bot.access import login_of
from bot.cli import output
from bot.cli.connection import DEMO
from bot.configuration import DEFAULT
from bot.worlds import free_port

WITHIN = 30.0
LOOK_EVERY = 0.2

KEPT = ("workspace*", "simulation*", "drills", "muster.*", "alerts.token")
"""What a demo keeps in its folder, and all that `--fresh` may remove: the folder is whichever somebody names."""

LOCK = "demo.lock"
MARKS = frozenset({LOCK, "alerts.token"})
"""By one of these a folder is known to be a demo's."""

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, prctl(2)


@dataclass(slots=True)
class Part:
    """One process of the demo; started again when it dies."""

    name: str
    command: list[str]
    url: str
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self, folder: Path) -> None:
        """Start it, with its output in a log file of its own."""
        self.starts += 1
        with (folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own modules
                self.command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=_end_with_the_demo if sys.platform == "linux" else None,  # noqa: PLW1509 - the demo has one thread
            )

    @property
    def died(self) -> bool:
        """Whether it is gone without having been asked."""
        return self.process is not None and self.process.poll() is not None

    def wait_ready(self, path: str) -> None:
        """Wait until it answers; give up with the place of its log."""
        ends = time.monotonic() + WITHIN
        while time.monotonic() < ends:
            if self.died:
                break
            try:
                if httpx.get(f"{self.url}{path}", timeout=1.0).status_code < 500:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise typer.Exit(_say(f"{self.name} did not start; see its log beside the demo's data.", code=1))

    def stop(self) -> None:
        """Ask it to end, then insist."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=8)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def demo(
    data: Annotated[Path, typer.Option(help="Where the demo keeps its state; started again it continues there.")] = Path(".muster/demo"),
    port: Annotated[int, typer.Option(help="Port of the workspace in the browser.", min=1, max=65534)] = 8089,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the demo's state and begin anew.")] = False,
) -> None:
    """Try Muster: a team chat in the browser, a small AI service to break, and Muster between them. Needs no account. End with Ctrl-C."""
    data = data.resolve()
    parts: list[Part] = []
    with _alone(data):
        if fresh:
            forget(data)
        try:
            _start(data, port, parts)
            _announce(parts, data)
            _keep_up(parts, data)
        except KeyboardInterrupt:
            sys.stdout.write("\nStopping …\n")
        finally:
            for part in reversed(parts):
                part.stop()
    sys.stdout.write(f"Stopped. State is kept in {data}; `make demo` continues there, `muster demo --fresh` begins anew.\n")


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the folder: two demos in one would write over each other's state, and one among other files over those."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        there = {item.name for item in data.iterdir()}
        if there and not there & MARKS:
            output.stop(f"{data} holds other things than a demo's; nothing was changed. Name an empty folder with --data.", output.USAGE)
        handle = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        output.stop(f"The demo cannot keep its state in {data}: {error.strerror}. Name another folder with --data.", output.USAGE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        output.stop(f"A demo runs in {data} already. Use that one, end it, or name another folder with --data.", output.REFUSED)
    try:
        yield
    finally:
        os.close(handle)


def forget(data: Path) -> None:
    """Remove what a demo keeps in this folder, and nothing else that lies there."""
    for item in (found for pattern in KEPT for found in data.glob(pattern)):
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def _end_with_the_demo() -> None:
    """In a part before it begins: be killed with the demo, so that whatever ends the demo leaves nobody behind to hold its folder."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _start(data: Path, port: int, parts: list[Part]) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    workspace_port, simulation_port, muster_port = _port(port), _port(port + 1), _port(8080)
    token = _token(data / "alerts.token")
    workspace = Part(
        "workspace",
        [sys.executable, "-m", "bot.workspace", "--port", str(workspace_port), "--data", str(data / "workspace")],
        f"http://127.0.0.1:{workspace_port}",
    )
    simulation = Part(
        "simulation",
        [
            *(
                sys.executable,
                "-m",
                "actions.simulation",
                "--port",
                str(simulation_port),
                "--data",
                str(data / "simulation"),
                "--seed",
                "7",
            ),
            *("--alerts-url", f"http://127.0.0.1:{muster_port}/alerts/alertmanager", "--alerts-token-file", str(data / "alerts.token")),
            *("--changes-url", f"http://127.0.0.1:{muster_port}/changes/simulation"),
        ],
        f"http://127.0.0.1:{simulation_port}",
    )
    parts += [workspace, simulation]
    for part in parts:
        part.start(data)
    workspace.wait_ready("/api/api.test")
    simulation.wait_ready("/healthz")
    app = json.loads((data / "workspace" / "app.json").read_text())
    (data / "muster.yaml").write_text(with_login(DEFAULT.read_text(), login_of(os.getuid())))
    muster = Part(
        "muster",
        [sys.executable, "-m", "bot", "serve"],
        f"http://127.0.0.1:{muster_port}",
        {
            "SLACK_BOT_TOKEN": app["bot_token"],
            "SLACK_APP_TOKEN": app["app_token"],
            "SLACK_SIGNING_SECRET": app["signing_secret"],
            "MUSTER_SLACK_API_URL": f"{workspace.url}/api/",
            "MUSTER_SIMULATION_URL": simulation.url,
            "MUSTER_CONFIG": str(data / "muster.yaml"),
            "MUSTER_DATABASE_URL": f"sqlite:///{data / 'muster.sqlite'}",
            "MUSTER_HTTP_PORT": str(muster_port),
            "MUSTER_PUBLIC_URL": f"http://127.0.0.1:{muster_port}",
            "MUSTER_SECRET_DEMO_ALERTS": token,
        },
    )
    parts.append(muster)
    muster.start(data)
    muster.wait_ready("/readyz")


ADMIN = "slack_id: U01BEN0000"


def with_login(configuration: str, login: str) -> str:
    """The demo's configuration, in which whoever started it is Ben, who may do everything: so that `muster` works beside it."""
    return configuration.replace(ADMIN, f"{ADMIN}, login: {json.dumps(login)}", 1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _port(wanted: int) -> int:
    """The wanted port, or a free one where somebody listens there already."""
    import socket  # noqa: PLC0415 - one probe

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
    return wanted


def _token(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text().strip()


def _announce(parts: list[Part], data: Path) -> None:
    setting = "" if data == (Path.cwd() / DEMO).parent else f"MUSTER_DATABASE_URL=sqlite:///{data / DEMO.name} "
    command = "muster" if shutil.which("muster") else os.path.relpath(Path(sys.executable).parent / "muster")
    sys.stdout.write(f"\n  Muster is ready. Open {parts[0].url}\n\n")
    sys.stdout.write(
        f"  Timelines and post-mortems: {parts[-1].url}/incidents\n  In another terminal:        {setting}{command} incident list\n\n"
    )
    sys.stdout.write("  Ctrl-C ends it.\n\n")
    sys.stdout.flush()


def _keep_up(parts: list[Part], data: Path) -> None:
    """Start again what dies, as a service manager would: nothing is lost by it, which is worth trying."""
    while True:
        time.sleep(LOOK_EVERY)
        for part in parts:
            if part.died:
                code = part.process.returncode if part.process else "?"
                sys.stdout.write(f"  {part.name} ended (code {code}); starting it again.\n")
                sys.stdout.flush()
                if part.starts > 1:
                    time.sleep(min(part.starts, 10))
                part.start(data)


def _say(text: str, *, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code
