import importlib
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError

from actions.backends.autoscaling import KIND
from actions.comparing import TimeUp
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Throttled, Unreachable
from actions.kinds import BackendKind, Options
from actions.toolkit import aws
from actions.toolkit.aws import Account, Sdk, failed, refused
from runbooks.errors import MusterError, SettingsInvalid
from runbooks.operation import Call
from tests.parts.tls import contexts

SDK = Sdk()
EMPTY = (
    b'<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><DescribeAutoScalingGroupsResult>'
    b"<AutoScalingGroups/></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>"
)
ASSUMED = (
    b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASSUMED</AccessKeyId>'
    b"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2036-01-01T00:00:00Z</Expiration></Credentials>"
    b"</AssumeRoleResult></AssumeRoleResponse>"
)
DENIED = (
    b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x is not authorized to perform: sts:AssumeRole "
    b"on resource: y</Message></Error></ErrorResponse>"
)


class Far:
    """A server that keeps what was asked and answers as told."""

    def __init__(self, answer: Callable[[bytes], tuple[int, bytes]]) -> None:
        self.answer, self.keys, self.url = answer, list[str](), ""

    def add(self, authorization: str) -> None:
        """Keep the key that signed."""
        self.keys.append(authorization.partition("Credential=")[2].partition("/")[0])


@pytest.fixture
def far() -> Iterator[Far]:
    state = Far(lambda body: (200, ASSUMED if b"AssumeRole" in body else EMPTY))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
            """Say nothing."""

        def do_POST(self) -> None:
            status, body = state.answer(self.rfile.read(int(self.headers["content-length"])))
            state.add(self.headers["Authorization"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of this machine."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def account(url: str, secrets: dict[str, Callable[[], str]] | None = None, **more: Any) -> Account:
    return aws.account(Options({"region": "eu-central-1", "endpoint_url": url, **more}), secrets or {})


def ask(known: Account, *, timeout: float = 20.0) -> dict[str, Any]:
    return known.asking(timeout=timeout)("autoscaling", "describe_auto_scaling_groups", what="groups")


def keys(**more: str) -> dict[str, Callable[[], str]]:
    given = {"access_key_id": "FROMSECRETS", "secret_access_key": "hunter2", **more}
    return {name: lambda value=value: value for name, value in given.items()}  # type: ignore[misc]


def answered(code: str, *, status: int = 400, words: str = "words", headers: dict[str, str] | None = None) -> ClientError:
    response = {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}}
    return ClientError(response, "TheAction")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        *((code, 400, Throttled) for code in sorted(aws.THROTTLED)),
        *((code, 403, NotPermitted) for code in sorted(aws.DENIED | aws.UNKNOWN_CREDENTIALS)),
        *((code, 400, NotPermitted) for code in sorted(aws.DENIED | aws.UNKNOWN_CREDENTIALS)),
        *((code, 400, TargetMissing) for code in sorted(aws.MISSING)),
        *((code, 400, OutcomeUnknown) for code in sorted(aws.UNSURE)),
        ("ThrottlingException", 503, Throttled), ("x", 429, Throttled), ("x", 404, TargetMissing), ("x", 401, NotPermitted),
        ("ValidationError", 400, Rejected), ("LimitExceededException", 400, Rejected), ("ScalingActivityInProgress", 400, Rejected),
        ("ServerException", 500, OutcomeUnknown), ("ServiceUnavailable", 503, OutcomeUnknown), ("RequestTimeout", 408, OutcomeUnknown),
        ("", 0, OutcomeUnknown),
    ],
)  # fmt: skip
def test_every_code_is_as_certain_as_it_is(code: str, status: int, expected: type[BackendError]) -> None:
    """Each of AWS's codes becomes exactly one error of the contract; a 5xx is never called certain, a throttled request is never unknown."""
    assert type(refused(answered(code, status=status), action="service:TheAction", what="thing")) is expected


def test_a_missing_thing_may_only_be_said_in_words() -> None:
    """Services that answer a missing target with a validation error are understood by their words."""
    found = refused(answered("ValidationException", words="Could not find endpoint 'arn:aws:x'."), action="a:B", what="endpoint x")
    assert (type(found), str(found)) == (TargetMissing, "AWS has no endpoint x: Could not find endpoint 'arn:aws:x'.")


def test_a_denial_names_what_to_allow() -> None:
    """The permission that is missing is named, as AWS names it, or else as the request is called."""
    words = "User: arn:aws:iam::1:user/x is not authorized to perform: ecs:UpdateService on resource: arn:aws:y"
    assert "do ecs:UpdateService. Allow it" in str(refused(answered("AccessDeniedException", words=words), action="a:B", what="x"))
    assert "do a:B. Allow it" in str(refused(answered("AccessDenied", words="no"), action="a:B", what="x"))


@pytest.mark.parametrize("code", sorted(aws.UNKNOWN_CREDENTIALS))
def test_s18_a_refused_signature_is_not_repeated(code: str) -> None:
    """AWS quotes the signed request, session token included; none of it reaches a person or a log."""
    words = "The Canonical String should have been 'POST\n/\nx-amz-security-token:FwoGZXIvYXdzEJr'"
    assert "FwoG" not in str(refused(answered(code, status=403, words=words), action="a:B", what="x"))


def test_a_page_of_html_is_no_reason() -> None:
    """What a proxy in between says in HTML is left out of the sentence."""
    assert str(refused(answered("500", status=500, words="<!doctype html><h1>x"), action="a:B", what="x")) == "AWS answers a:B with 500."


def test_a_wait_is_what_aws_asks_for() -> None:
    """The seconds of Retry-After are kept."""
    found = refused(answered("ThrottlingException", headers={"retry-after": "9"}), action="a:B", what="x")
    assert isinstance(found, Throttled)
    assert found.retry_after == 9.0


FOREIGN = [
    kind
    for kind in vars(botocore.exceptions).values()
    if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning) and kind.__module__ == "botocore.exceptions"
]


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_no_error_of_the_sdk_is_forgotten(kind: type[Exception]) -> None:
    """Every error that the SDK defines is among those translated, and becomes one of the contract's."""
    if issubclass(kind, SDK.refused):
        return
    assert issubclass(kind, SDK.failed)
    assert isinstance(failed(kind.__new__(kind), sdk=SDK), BackendError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EndpointConnectionError", Unreachable), ("ConnectTimeoutError", Unreachable), ("ProxyConnectionError", Unreachable),
        ("ReadTimeoutError", OutcomeUnknown), ("ConnectionClosedError", OutcomeUnknown), ("ResponseStreamingError", OutcomeUnknown),
        ("SSLError", OutcomeUnknown), ("IncompleteReadError", OutcomeUnknown), ("NoCredentialsError", NotPermitted),
        ("ProfileNotFound", NotPermitted), ("UnauthorizedSSOTokenError", NotPermitted), ("ParamValidationError", CallInvalid),
    ],
)  # fmt: skip
def test_never_sent_and_perhaps_sent_are_told_apart(name: str, expected: type[BackendError]) -> None:
    """What surely was not sent is certain, what may have arrived is not."""
    kind = getattr(botocore.exceptions, name)
    assert type(failed(kind.__new__(kind), sdk=SDK)) is expected


def test_s18_credentials_are_read_for_each_call(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that changed in the environment since the last call are the ones that sign, without a restart."""
    known = account(far.url)
    for key in ("FIRST", "SECOND"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        ask(known)
    assert far.keys == ["FIRST", "SECOND"]


def test_a_profile_and_secrets_go_before_the_environment(far: Far, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A named profile signs where it is configured; secrets of Muster's own sign before everything."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FROMENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    (tmp_path / "credentials").write_text("[ops]\naws_access_key_id = FROMPROFILE\naws_secret_access_key = s\n")
    ask(account(far.url, profile="ops"))
    ask(account(far.url, keys()))
    assert far.keys == ["FROMPROFILE", "FROMSECRETS"]


def test_without_credentials_nothing_is_sent(far: Far) -> None:
    """Where no credentials can be found, and where the profile is none, the sentence says where to look."""
    for known in (account(far.url), account(far.url, profile="nobody")):
        with pytest.raises(NotPermitted, match="Check profile, role and environment"):
            ask(known)
    assert far.keys == []


def test_a_role_is_assumed_once_for_each_call(far: Far) -> None:
    """The role's own session signs, and is asked for once however many requests a call makes."""
    asking = account(far.url, keys(), role="arn:aws:iam::1:role/muster").asking(timeout=20)
    for _ in range(2):
        asking("autoscaling", "describe_auto_scaling_groups", what="groups")
    assert far.keys == ["FROMSECRETS", "ASSUMED", "ASSUMED"]


def test_a_role_that_may_not_be_assumed_is_named(far: Far) -> None:
    """Without the role nothing is sent, and the sentence says which permission is missing."""
    far.answer = lambda _body: (403, DENIED)
    with pytest.raises(NotPermitted, match=r"do sts:AssumeRole\. Allow it"):
        ask(account(far.url, keys(), role="arn:aws:iam::1:role/muster"))


def test_an_unclear_answer_about_the_role_is_a_clear_one_about_the_change(far: Far) -> None:
    """Whatever happens while the role is assumed, it is certain that nothing else was sent."""
    far.answer = lambda _body: (500, b"")
    with pytest.raises(Unreachable, match="Nothing was sent but the question for credentials"):
        ask(account(far.url, keys(), role="arn:aws:iam::1:role/muster"))
    assert len(far.keys) == 1


@pytest.mark.parametrize(("answer", "expected"), [((403, DENIED), NotPermitted), ((500, b""), Unreachable)])
def test_a_role_that_a_profile_assumes_is_judged_alike(
    answer: tuple[int, bytes], expected: type[BackendError], far: Far, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile with a role of its own signs as that role; where it cannot be had, it is certain that nothing else was sent."""
    (tmp_path / "credentials").write_text("[base]\naws_access_key_id = FROMPROFILE\naws_secret_access_key = s\n")
    (tmp_path / "config").write_text("[profile ops]\nrole_arn = arn:aws:iam::1:role/ops\nsource_profile = base\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", far.url)
    ask(account(far.url, profile="ops"))
    assert far.keys == ["FROMPROFILE", "ASSUMED"]
    far.answer = lambda _body: answer
    with pytest.raises(expected):
        ask(account(far.url, profile="ops"))
    assert far.keys == ["FROMPROFILE", "ASSUMED", "FROMPROFILE"]


def test_nothing_is_tried_twice(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing request is sent once, whatever the machine's environment says about attempts."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    far.answer = lambda _body: (500, b"")
    with pytest.raises(OutcomeUnknown):
        ask(account(far.url, keys()))
    assert len(far.keys) == 1


def test_rubbish_is_no_answer(far: Far) -> None:
    """A 200 that cannot be read is not taken for success."""
    far.answer = lambda _body: (200, b"<not xml")
    with pytest.raises(OutcomeUnknown, match="no answer that can be read"):
        ask(account(far.url, keys()))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'"x"', b"\xff\xfe", b"<html>", b'{"services": [null]}', b'{"services": [{"status": "ACTIVE"}]}',
    b'{"Parameters": [{}]}', b'{"Parameters": 3}', b'{"EndpointName": 1}'])  # fmt: skip
@pytest.mark.parametrize("name", ["ecs", "ssm", "sagemaker", "autoscaling"])
def test_an_answer_of_another_shape_is_no_answer(name: str, body: bytes, far: Far) -> None:
    """Whatever stands in a 200, such as a proxy's page, a look ends with an error of the contract and a sentence."""
    far.answer = lambda _body: (200, body)
    kind: BackendKind = importlib.import_module(f"actions.backends.{name}").KIND
    more = {"below": ["/answers"]} if name == "ssm" else {}
    backend = kind.build(Options({"region": "eu-central-1", "environment": "production", "endpoint_url": far.url, **more}), keys())
    target = {"ecs": "production/answers", "ssm": "/answers/limit"}.get(name, "answers")
    with pytest.raises(OutcomeUnknown, match=r"can(not)? be read"):
        backend.read(Call(operation=backend.operations[0].name, target=target), timeout=20)


def test_a_secret_that_cannot_be_read_is_a_refusal(far: Far) -> None:
    """A secret whose place is empty ends in a sentence, not in a crash, and nothing is sent."""

    def missing() -> str:
        raise MusterError("The environment variable AWS_KEY is not set; set it to the secret and try again")

    with pytest.raises(NotPermitted, match="AWS_KEY is not set"):
        ask(account(far.url, {**keys(), "secret_access_key": missing}))
    assert far.keys == []


def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    """An endpoint whose certificate nobody here vouches for surely got nothing, and the sentence says why."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = contexts(tmp_path)[0].wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        with pytest.raises(Unreachable, match=r"endpoint is not trusted \(self.signed certificate\); nothing was sent"):
            ask(account(f"https://127.0.0.1:{server.server_address[1]}", keys()))
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_nobody_there_is_certain() -> None:
    """A refused connection says that nothing was sent."""
    with pytest.raises(Unreachable, match="nothing was sent"):
        ask(account("http://127.0.0.1:1", keys()))


def test_the_time_of_a_call_ends_for_all_of_its_requests(far: Far) -> None:
    """When the time is over, nothing more is sent."""
    asking = account(far.url, keys()).asking(timeout=-1)
    with pytest.raises(TimeUp):
        asking("autoscaling", "describe_auto_scaling_groups", what="groups")
    assert far.keys == []


@pytest.mark.parametrize("seconds", [0.3, 3.0, 25.0])
def test_time_limits_stay_within_what_is_left(seconds: float) -> None:
    """Connecting and reading together never take longer than what is left of the call, and there is one attempt."""
    config = SDK.config(seconds)
    assert 0 < config.connect_timeout + config.read_timeout <= seconds
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}


def test_s18_an_account_does_not_show_its_secrets() -> None:
    """Printing what was built shows no key."""
    assert "hunter2" not in repr(account("https://x.example", keys()))


@pytest.mark.parametrize(
    ("field", "given", "secrets"),
    [
        ("region", {"region": "Frankfurt"}, {}),
        ("region", {"region": "eu-central-1.evil.example/"}, {}),
        ("endpoint_url", {"endpoint_url": "http://aws.example"}, {}),
        ("endpoint_url", {"endpoint_url": "file:///etc/passwd"}, {}),
        ("endpoint_url", {"endpoint_url": "https://"}, {}),
        ("endpoint_url", {"endpoint_url": "https://[::1"}, {}),
        ("secrets", {}, {"access_key_id": lambda: "x"}),
        ("secrets", {}, {"token": lambda: "x"}),
    ],
)
def test_a_wrong_option_is_named(field: str, given: dict[str, Any], secrets: dict[str, Callable[[], str]]) -> None:
    """What cannot be meant stops the start and names the field."""
    with pytest.raises(SettingsInvalid, match=field):
        aws.account(Options({"region": "eu-central-1", **given}), secrets)


def test_a_missing_sdk_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the start stops with the command that installs it."""
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(SettingsInvalid, match=r"pip install muster\[aws\]"):
        KIND.build(Options({"region": "eu-central-1", "environment": "production"}), {})


def test_kinds_are_known_without_the_sdk() -> None:
    """Runbooks can be checked where the extra is not installed: importing the kinds does not load it."""
    modules = ", ".join(f"actions.backends.{name}" for name in ("sagemaker", "autoscaling", "ecs", "ssm", "mlflow"))
    said = f"import sys, {modules}; sys.exit(any(name.split('.')[0] in {{'boto3', 'botocore', 'mlflow'}} for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", said], check=False, timeout=60).returncode == 0


def test_a_target_of_another_form_is_not_repeated_whole() -> None:
    """The refusal says how a target is written; a long or secret one is cut and redacted."""
    call = Call(operation="cluster.scale", target="AKIAABCDEFGHIJKLMNOP:" + "x" * 300)
    with pytest.raises(CallInvalid, match="write a name") as raised:
        aws.target(call, aws._REGION, form="a name")
    assert "AKIA" not in str(raised.value)
    assert len(str(raised.value)) < 200
