"""Admin doors without authentication are used on this machine only: whoever reaches one may change everything behind it."""

from ipaddress import ip_address

from actions.kinds import Options


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine. Other names are not looked up: what they mean can change."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked(options: Options, name: str, host: str) -> None:
    """Let an address of this machine pass, and another one only where the option `trusted` says so.

    Raises:
        SettingsInvalid: it is elsewhere, and nobody has said that the way to it is safe.
    """
    if not is_loopback(host) and not options.get("trusted", bool, False):
        raise options.invalid(
            name,
            f"leads to {host}, and this admin door asks nobody for a password: whoever reaches it changes everything. Run Muster beside "
            "it and use 127.0.0.1, tunnel to it, or write `trusted: true` where the network between is yours alone",
        )
