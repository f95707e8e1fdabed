"""What lies where in a JSON body, by a path such as `components[0].status`."""

import re
from collections.abc import Mapping

from actions.contract import CallInvalid
from runbooks.value import Json

_STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d{1,6})\]")


def at(body: Json, path: str) -> Json:
    """What lies at a path such as `components[0].status`; None where nothing does.

    Raises:
        CallInvalid: it is no path.
    """
    position = 0
    found = body
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise CallInvalid(f"{path!r} is no path; write one such as components[0].status.")
        name, index = step.groups()
        if index is not None:
            found = found[int(index)] if isinstance(found, list) and int(index) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, Mapping) else None
        position = step.end()
    return found
