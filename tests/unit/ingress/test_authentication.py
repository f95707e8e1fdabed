"""Who sent this: every right proof is accepted, and no other."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from bot.ingress.authentication import Check, Unverified, sign, verify, verify_basic, verify_bearer, verify_signature
from bot.ingress.source import OWN_SIGNATURE, Scheme, SignatureForm

SAMPLES = Path(__file__).parents[2] / "samples" / "pagerduty"
NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
PLAIN = SignatureForm(header="X-Sign", prefix="v1=")
SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(lambda s: s == s.strip())


def status_of(form: SignatureForm, body: bytes, headers: dict[str, str], *secrets: str) -> int:
    """The HTTP status of a refusal, or 200."""
    try:
        verify_signature(headers, body, form=form, secrets=[SecretStr(s) for s in secrets], now=NOW)
    except Unverified as refused:
        return refused.status
    return 200


def test_the_official_vector_verifies() -> None:
    """PagerDuty's published body, secret and signature fit together here as there."""
    vector = json.loads((SAMPLES / "webhook_v3_signature_vector.json").read_text())
    body = (SAMPLES / vector["body_file"]).read_bytes()
    form = SignatureForm(header=vector["header"], prefix="v1=")
    assert status_of(form, body, {vector["header"].lower(): vector["value"]}, vector["secret"]) == 200
    assert status_of(form, body, {vector["header"].lower(): vector["value"]}, "another", vector["secret"]) == 200
    assert status_of(form, body, {vector["header"].lower(): vector["value"]}, "another") == 403


@given(st.binary(max_size=60), SECRETS, st.integers(0, 59), st.integers(1, 255))
def test_one_changed_byte_spoils_a_signature(body: bytes, secret: str, at: int, flip: int) -> None:
    """The signed body is accepted, and the same body with any one byte changed is not."""
    headers = {"x-sign": f"v1={sign(body, SecretStr(secret))}"}
    assert status_of(PLAIN, body, headers, secret) == 200
    assume(at < len(body))
    spoiled = body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]
    assert status_of(PLAIN, spoiled, headers, secret) == 403


@given(SECRETS, SECRETS)
def test_another_secret_spoils_a_signature(right: str, wrong: str) -> None:
    """A signature made with another secret is refused, unless that one is accepted too."""
    assume(right != wrong)
    headers = {"x-sign": f"v1={sign(b'body', SecretStr(wrong))}"}
    assert status_of(PLAIN, b"body", headers, right) == 403
    assert status_of(PLAIN, b"body", headers, right, wrong) == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 400),
        (" , ", 400),
        ("v1=", 403),
        ("v2={right}", 403),
        ("{right}", 403),
        ("v1={right}", 200),
        ("v1={RIGHT}", 200),
        ("v0=00, v1={right}", 200),
        ("v1={right},v1=00", 200),
        ("v1=é", 403),
    ],
)
def test_a_header_may_carry_several_signatures(header: str, status: int) -> None:
    """Any may match, each needs its prefix, and no header at all is another mistake than a wrong one."""
    right = sign(b"body", SecretStr("s"))
    headers = {"x-sign": header.format(right=right, RIGHT=right.upper())}
    assert status_of(PLAIN, b"body", headers, "s") == status


@given(st.integers(-10_000, 10_000))
def test_a_timestamp_counts_only_inside_its_window(seconds: int) -> None:
    """Accepted within five minutes to either side, refused beyond, and always refused without."""
    stamp = str(int(NOW.timestamp()) + seconds)
    code = sign(stamp.encode() + b".body", SecretStr("s"))
    headers = {"x-muster-signature": f"v1={code}", "x-muster-timestamp": stamp}
    assert status_of(OWN_SIGNATURE, b"body", headers, "s") == (200 if abs(seconds) <= 300 else 403)
    assert status_of(OWN_SIGNATURE, b"body", {"x-muster-signature": f"v1={code}"}, "s") == 400


@given(st.text(max_size=20))
def test_an_odd_timestamp_is_refused(stamp: str) -> None:
    """A timestamp that is not whole seconds is refused, whatever it holds."""
    assume(not (stamp.strip().isascii() and stamp.strip().isdigit()))
    headers = {"x-muster-signature": "v1=00", "x-muster-timestamp": stamp}
    assert status_of(OWN_SIGNATURE, b"", headers, "s") == 400


def on_the_wire(text: str) -> str:
    """UTF-8 in a header, as a server hands it on."""
    return text.encode().decode("latin-1")


@given(SECRETS, SECRETS)
def test_only_the_token_opens(right: str, sent: str) -> None:
    """Bearer: exactly the configured tokens are accepted."""
    known = [SecretStr("other"), SecretStr(right)]
    verify_bearer({"authorization": f"bearer {on_the_wire(right)}"}, known)
    assume(sent not in {right, "other"})
    with pytest.raises(Unverified) as refused:
        verify_bearer({"authorization": f"Bearer {on_the_wire(sent)}"}, known)
    assert refused.value.status == 401


@given(SECRETS.filter(lambda user: ":" not in user), SECRETS, SECRETS)
def test_only_user_and_password_together_open(user: str, password: str, other: str) -> None:
    """Basic: the right pair is accepted, also with colons in the password; each half alone is not."""
    assume(other not in {user, password})

    def sent(name: str, word: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()}

    verify_basic(sent(user, password), user, [SecretStr(password)])
    for name, word in ((user, other), (other.replace(":", ""), password), ("", "")):
        if (name, word) != (user, password):
            with pytest.raises(Unverified):
                verify_basic(sent(name, word), user, [SecretStr(password)])


@given(st.text(max_size=40), st.sampled_from(list(Scheme)))
def test_no_header_breaks_a_check(header: str, scheme: Scheme) -> None:
    """Whatever stands in the header, the answer is accepted or refused with a status, never another error."""
    check = Check(scheme=scheme, user="u", signature=PLAIN if scheme is Scheme.HMAC else None)
    for headers in ({}, {"authorization": header, "x-sign": header}, {"authorization": f"{scheme} {header}", "x-sign": f"v1={header}"}):
        with pytest.raises(Unverified) as refused:
            verify(check, secrets=[SecretStr("the secret of this test")], body=b"", headers=headers, now=NOW)
        assert refused.value.status in {400, 401, 403}
