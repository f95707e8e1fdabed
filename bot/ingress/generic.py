"""Any JSON, by a mapping that the configuration declares."""

from collections.abc import Mapping

from bot.ingress.mapping import FieldMapping, alerts_of
from bot.ingress.payload import read_json
from bot.ingress.source import Options, Scheme, SourceKind, SourceSettings
from runbooks.alert import Alert


class GenericSettings(SourceSettings):
    """`mapping` says which field is which."""

    mapping: FieldMapping


def parse(body: bytes, _headers: Mapping[str, str], options: Options) -> list[Alert]:
    """Every alert that the mapping finds.

    Raises:
        PayloadInvalid: the body does not fit the mapping.
    """
    if not isinstance(options.settings, GenericSettings):
        raise TypeError("a generic source is built with GenericSettings")
    return alerts_of(read_json(body), options.settings.mapping, options)


SOURCE = SourceKind(name="generic", parse=parse, schemes=(Scheme.BEARER, Scheme.BASIC, Scheme.HMAC), settings=GenericSettings)
