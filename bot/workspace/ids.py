"""Ids that look like Slack's, and the signature of its HTTP deliveries."""

from __future__ import annotations

import hashlib
import hmac
import secrets

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SMALL = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def new_id(prefix: str) -> str:
    """A fresh id of eleven characters, such as ``C07Q2ZK1M4X``."""
    return prefix + "0" + "".join(secrets.choice(_LETTERS) for _ in range(9))


def short_id() -> str:
    """What Slack puts where a block_id or action_id was left out."""
    return "".join(secrets.choice(_SMALL) for _ in range(5))


def token(prefix: str) -> str:
    """A secret token such as ``xoxb-…``."""
    return f"{prefix}-{secrets.randbelow(10**12):012d}-{secrets.token_hex(16)}"


def signature(*, secret: str, timestamp: str, body: bytes) -> str:
    """Slack's ``X-Slack-Signature``: HMAC-SHA256 over ``v0:timestamp:body`` (docs: verifying requests from Slack)."""
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
