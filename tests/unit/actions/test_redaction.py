import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.redaction import HIDDEN, MOST_ITEMS, clean, redact

SECRETS = [
    ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789"),
    ("authorization=Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
    ("sent bearer abcdef0123456789", "abcdef0123456789"),
    ('{"api_key": "s3cr3t-value"}', "s3cr3t-value"),
    ("password=hunter22 and more", "hunter22"),
    ("DB_PASSWORD: 'two words'", "two words"),
    ("client_secret=abc&x=1", "=abc"),
    ("https://user:pa55word@host/path", "pa55word"),
    ("postgres://user:pa55word@host/db", "pa55word"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig_nature-1", "eyJzdWIi"),
    ("token xoxb-123456789012-abcdefghijkl", "xoxb-"),
    ("xapp-1-A012-345-abcdef", "xapp-"),
    ("key sk-proj-abcdefghijklmnopqrstuv", "sk-proj"),
    (f"key sk-ant-api03-{'a' * 24}", "sk-ant"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_"),
    ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
    ("mail ana@example.com now", "ana@"),
    ("card 4111 1111 1111 1111 paid", "4111"),
    ("card 4111-1111-1111-1111", "1111"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "abc"),
    ("-----BEGIN PRIVATE KEY-----\nabc and cut", "abc"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_s19_secrets_and_persons_are_hidden(text: str, secret: str) -> None:
    """Tokens, keys, passwords, addresses and card numbers do not survive."""
    assert secret not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "p99 1.9 s, 4 replicas", "tokens_per_minute is 12,000,000", "max_output_tokens=600", "INC-42 resolved in 3 min",
        "release answers-v7.4 at 2026-11-20T02:00:00Z", "1700000000000", "order 1234567890123456", "inference/reranker-v3",
        "https://grafana.example.com/d/inference?var-model=reranker-v3", "author: ana", "@here", "basic setup",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    """Numbers, names, links and times that people need at night are left as they are."""
    assert redact(text) == text


@given(text=st.text(max_size=300), limit=st.integers(0, 200))
def test_s19_text_is_capped(text: str, limit: int) -> None:
    """The result is never longer than the limit, whatever comes in."""
    assert len(redact(text, limit=limit)) <= max(limit, 1)


@given(around=st.text(max_size=40), limit=st.integers(1, 120))
def test_s19_a_secret_is_not_cut_into_view(around: str, limit: int) -> None:
    """Redaction comes before cutting, so no part of a token is left at the end."""
    assert "xoxb-1" not in redact(f"{around} xoxb-123456789012-abcdefghijkl {around}", limit=limit)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(value=_json)
def test_cleaning_twice_is_cleaning_once(value: object) -> None:
    """What is clean stays as it is, so that it does not matter who cleans."""
    once = clean(value)
    assert clean(once) == once


def test_s19_values_under_a_secrets_name_are_hidden_at_any_depth() -> None:
    """In structured output the name tells: whatever stands under it is hidden."""
    found = clean({"a": [{"auth": {"x": 1}, "api-key": 7, "tokens": 5, "value": 1.5}], "password": ""})
    assert found == {"a": [{"auth": HIDDEN, "api-key": HIDDEN, "tokens": 5, "value": 1.5}], "password": ""}


def test_s19_lists_and_depth_are_capped() -> None:
    """Endless lists and nesting are cut instead of stored."""
    assert len(clean(list(range(10_000)))) == MOST_ITEMS
    deep: object = "x"
    for _ in range(100):
        deep = [deep]
    assert str(clean(deep)).count("[") < 30
