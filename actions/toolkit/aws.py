"""Amazon Web Services: every request with a deadline, sent once, signed at the moment of use, and every foreign error as the contract's.

The SDK comes with the extra `aws` and is loaded when a backend is built, so that runbooks can be checked without it. A client lives
for one request: a pooled connection that the far side closed meanwhile would turn a certain failure into an unknown one.

Credentials are AWS's own chain (environment, profile, container, instance), read anew for each call and kept nowhere (rule S18);
`profile` names one, `role` is assumed with them, and the secrets `access_key_id` and `secret_access_key` go before the chain.
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from actions.comparing import Comparing, TimeUp, afterwards, deadline
from actions.contract import BackendError, CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Throttled, Unreachable
from actions.kinds import Options, Secrets
from actions.redaction import redact
from actions.toolkit.understood import understood
from actions.toolkit.wire import MOST_REASON, retry_after
from runbooks.errors import MusterError
from runbooks.operation import Call, Reading
from runbooks.value import Json

OPTIONS = frozenset({"region", "environment", "profile", "role", "endpoint_url"})
WHO = "AWS"
SESSION_NAME = "muster"  # how an assumed role's session is called in CloudTrail
LONGEST_CONNECT = 5.0  # seconds; whoever does not accept a connection in that time does not within more
LAG = 4.0  # seconds after a change in which an answer may still show the state from before it
_PAUSE = 0.5  # seconds between two looks meanwhile

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
_LOCAL = {"127.0.0.1", "localhost", "::1"}
_ACTION = re.compile(r"not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9*]+)")

THROTTLED = frozenset(
    "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException TooManyRequestsException "
    "RequestLimitExceeded BandwidthLimitExceeded SlowDown EC2ThrottledException PriorRequestNotComplete TooManyUpdates "
    "ProvisionedThroughputExceededException LimitExceededForRequests".split()
)
DENIED = frozenset(
    "AccessDenied AccessDeniedException UnauthorizedOperation NotAuthorized UnauthorizedException OptInRequired "
    "AccountProblem Forbidden".split()
)
UNKNOWN_CREDENTIALS = frozenset(
    "AuthFailure ExpiredToken ExpiredTokenException InvalidClientTokenId UnrecognizedClientException SignatureDoesNotMatch "
    "IncompleteSignature IncompleteSignatureException InvalidSignatureException MissingAuthenticationToken "
    "MissingAuthenticationTokenException InvalidAccessKeyId RequestExpired InvalidIdentityToken NotSignedUp".split()
)
"""Refusals whose words may quote the signed request, its session token included: they are never repeated."""

MISSING = frozenset(
    "ParameterNotFound ParameterVersionNotFound ServiceNotFoundException ClusterNotFoundException ResourceNotFound "
    "ResourceNotFoundException ObjectNotFoundException".split()
)
UNSURE = frozenset(
    "InternalError InternalFailure InternalServerError InternalServerException InternalServiceError InternalServiceException "
    "RequestAborted RequestAbortedException RequestTimeout RequestTimeoutException ServerException ServiceFailureException "
    "ServiceUnavailable ServiceUnavailableException".split()
)
"""AWS broke off or failed by itself: some of these come with 400, which says nothing of what was done."""

_NOT_FOUND = re.compile(r"(?i)could not find|does not exist|name not found")


class Asking:
    """AWS for the length of one call: one session, one deadline over all of its requests."""

    def __init__(self, account: "Account", *, timeout: float) -> None:
        self._account, self.left = account, deadline(timeout)
        self._session: Any = None
        self._keys: dict[str, str] = {}

    def __call__(self, service: str, operation: str, /, *, what: str, **parameters: Json) -> dict[str, Any]:
        """Send one request, once. `what` is the target in words.

        Raises:
            BackendError: the subclass that says what is certain.
        """
        self._sign_in()
        return self._translated(_action(service, operation), what, lambda: self._sent(service, operation, self._keys, parameters))

    def every(self, service: str, operation: str, /, *, what: str, key: str, more: str, **parameters: Json) -> Iterator[Any]:
        """The entries of a list, page after page as they are asked for; a page may be empty and not the last.

        `key` names the entries in the answer, `more` what leads to the next page.
        """
        while True:
            answer = self(service, operation, what=what, **parameters)
            yield from answer[key]
            if not answer.get(more):
                return
            parameters = {**parameters, more: answer[more]}

    def _sent(self, service: str, operation: str, keys: Mapping[str, str], parameters: Mapping[str, Json]) -> dict[str, Any]:
        with closing(self._client(service, keys)) as client, understood(WHO):
            return dict(getattr(client, operation)(**parameters))

    def _sign_in(self) -> None:
        """Whatever goes wrong here, nothing was sent but the question who we are."""
        if self._keys:
            return
        try:
            keys = self._account.keys() or self._translated("sts:AssumeRole", "such role", self._chain)
            self._keys = keys if self._account.role is None else self._assumed(self._account.role, keys)
        except OutcomeUnknown as error:
            raise Unreachable(f"{error} Nothing was sent but the question for credentials.") from error
        except BackendError:
            raise
        except MusterError as error:  # a secret that cannot be read
            raise NotPermitted(f"The credentials for {WHO} cannot be read: {error}") from error

    def _chain(self) -> dict[str, str]:
        """What AWS's own chain finds; a profile may assume a role on the way."""
        account = self._account
        self._session = self._session or account.sdk.session(account.profile)
        self._session.set_default_client_config(account.sdk.config(self.left()))
        found = self._session.get_credentials()
        if found is None:
            raise account.sdk.exceptions.NoCredentialsError
        frozen = found.get_frozen_credentials()
        return _named(frozen.access_key, frozen.secret_key, frozen.token)

    def _assumed(self, role: str, keys: Mapping[str, str]) -> dict[str, str]:
        asked = {"RoleArn": role, "RoleSessionName": SESSION_NAME}
        answer = self._translated("sts:AssumeRole", f"role {role}", lambda: self._sent("sts", "assume_role", keys, asked))
        with understood(WHO):
            found = answer["Credentials"]
            return _named(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])

    def _translated(self, action: str, what: str, send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        sdk = self._account.sdk
        try:
            return send()
        except sdk.refused as error:
            raise refused(error, action=action, what=what) from error
        except sdk.failed as error:
            raise failed(error, sdk=sdk) from error

    def _client(self, service: str, keys: Mapping[str, str]) -> Any:
        account, sdk = self._account, self._account.sdk
        limits = sdk.config(self.left())
        self._session = self._session or sdk.session(account.profile)
        return self._session.create_client(service, region_name=account.region, endpoint_url=account.endpoint_url, config=limits, **keys)


class Lagging(Comparing):
    """Compare-and-set where an answer may still show the state from before our own change: it is looked at again for a few seconds.

    Many of AWS's services are eventually consistent, such as
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
    """

    pause: Callable[[float], None] = staticmethod(time.sleep)

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """As `Comparing.apply`; what is still seen as before after some seconds is answered as it is seen."""
        left = deadline(timeout)
        after = super().apply(call, value, expected=expected, key=key, timeout=timeout)
        looks = int(LAG / _PAUSE)
        while after.value != value and looks:
            looks -= 1
            self.pause(_PAUSE)
            try:
                seconds = left()
            except TimeUp:
                return after
            after = afterwards(lambda seconds=seconds: self.read(call, timeout=seconds))  # type: ignore[misc]
        return after


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How one backend reaches AWS. Keeps no credentials; safe to use from several threads."""

    region: str
    profile: str | None = None
    role: str | None = None
    endpoint_url: str | None = None
    secrets: Secrets = field(default_factory=dict, repr=False)
    sdk: "Sdk" = field(repr=False)

    def asking(self, *, timeout: float) -> Asking:
        """AWS for one call, `timeout` seconds over all of its requests."""
        return Asking(self, timeout=timeout)

    def keys(self) -> dict[str, str]:
        """The configured secrets, read now; empty for AWS's own chain."""
        if not self.secrets:
            return {}
        token = self.secrets.get("session_token")
        return _named(self.secrets["access_key_id"](), self.secrets["secret_access_key"](), token() if token else None)

    def probe(self, service: str, operation: str, *, timeout: float, reach: str, **parameters: Json) -> str:
        """Who we are to AWS, and that the one harmless question `operation` is answered; `reach` says what that shows.

        Raises:
            BackendError: it would not work; the text says what to do.
        """
        asking = self.asking(timeout=timeout)
        arn = asking("sts", "get_caller_identity", what="caller").get("Arn", "somebody")
        asking(service, operation, what=reach, **parameters)
        return f"Signed in as {redact(str(arn), limit=200)} in {self.region}; may see {reach}. What it may change only a change would show."


class Sdk:
    """The vendor's SDK, as far as it is used here; its service descriptions are read from disk once."""

    def __init__(self) -> None:
        """Raise `ImportError` where it is not installed."""
        import botocore.config  # noqa: PLC0415 - it comes with an extra
        import botocore.exceptions  # noqa: PLC0415
        import botocore.parsers  # noqa: PLC0415
        import botocore.session  # noqa: PLC0415

        self._config, self._session, self.exceptions = botocore.config.Config, botocore.session.Session, botocore.exceptions
        self.refused = botocore.exceptions.ClientError
        self.failed = (
            botocore.exceptions.BotoCoreError,
            botocore.exceptions.UndefinedModelAttributeError,
            botocore.parsers.ResponseParserError,
        )
        self._loader = self._session().get_component("data_loader")

    def session(self, profile: str | None) -> Any:
        """A fresh session: its credentials are those of this moment."""
        session = self._session(profile=profile)
        session.register_component("data_loader", self._loader)
        return session

    def config(self, seconds: float) -> Any:
        """Time limits that together stay within `seconds`; one attempt and no more."""
        connect = min(seconds / 3, LONGEST_CONNECT)
        retries = {"mode": "standard", "total_max_attempts": 1}
        return self._config(connect_timeout=connect, read_timeout=seconds - connect, retries=retries, user_agent_extra="muster")


def account(options: Options, secrets: Secrets) -> Account:
    """The account of one backend, from its options.

    Raises:
        SettingsInvalid: the SDK is missing, or an option cannot be meant.
    """
    region, url = options.text("region"), options.text("endpoint_url", None)
    if not _REGION.fullmatch(region):
        raise options.invalid("region", f"is {region!r}; write one such as eu-central-1")
    if url is not None and not _sound(url):
        raise options.invalid(
            "endpoint_url", "must begin with https:// (http:// only for this machine): signed requests carry a session token"
        )
    if (
        set(secrets) - {"access_key_id", "secret_access_key", "session_token"}
        or len({"access_key_id", "secret_access_key"} & set(secrets)) == 1
    ):
        raise options.invalid("secrets", "takes access_key_id and secret_access_key together, with session_token where there is one")
    try:
        sdk = Sdk()
    except ImportError as error:
        raise options.invalid("kind", "needs the AWS SDK: pip install muster[aws]") from error
    profile, role = options.text("profile", None), options.text("role", None)
    return Account(region=region, profile=profile, role=role, endpoint_url=url, secrets=secrets, sdk=sdk)


def refused(error: Any, *, action: str, what: str) -> BackendError:
    """The contract's error for an answer that is one. `action` is the IAM action, such as sagemaker:UpdateEndpoint.

    https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
    """
    answer = error.response.get("ResponseMetadata", {})
    status, headers = int(answer.get("HTTPStatusCode", 0)), answer.get("HTTPHeaders", {})
    code, words = str(error.response.get("Error", {}).get("Code", "")), str(error.response.get("Error", {}).get("Message", ""))
    if code in THROTTLED or status == 429:
        return Throttled(f"{WHO} asks to wait before {action}.", retry_after=retry_after(headers))
    if code in UNKNOWN_CREDENTIALS:
        return NotPermitted(f"{WHO} does not accept these credentials ({code}). Renew them, and check this machine's clock.")
    if code in DENIED or status in {401, 403}:
        named = _ACTION.search(words)
        return NotPermitted(f"{WHO} does not let these credentials do {named[1] if named else action}. Allow it in their policy.")
    said = _said(words)
    if code in UNSURE or status == 408 or status >= 500 or not status:
        return OutcomeUnknown(f"{WHO} answers {action} with {status}{said}.")
    if code in MISSING or status == 404 or (code.startswith("Validation") and _NOT_FOUND.search(words)):
        return TargetMissing(f"{WHO} has no {what}{said}.")
    return Rejected(f"{WHO} refuses {action} ({code or status}){said}.")


def failed(error: BaseException, *, sdk: Sdk) -> BackendError:
    """The contract's error for what kept an answer from coming: never sent, senseless, or sent and lost."""
    said = sdk.exceptions
    if isinstance(error, said.EndpointConnectionError | said.ConnectTimeoutError | said.ProxyConnectionError):
        return Unreachable(f"{WHO} cannot be reached; nothing was sent.")
    if isinstance(error, said.SSLError) and (reason := _untrusted(error)):
        return Unreachable(f"The certificate of {WHO}'s endpoint is not trusted ({reason}); nothing was sent. Check its authority.")
    if isinstance(error, said.ReadTimeoutError):
        return OutcomeUnknown(f"{WHO} did not answer in time.")
    if isinstance(error, said.HTTPClientError | said.ConnectionError):
        return OutcomeUnknown(f"{WHO} broke off without a whole answer.")
    if isinstance(error, _credentials(said)):
        return NotPermitted(f"No credentials for {WHO} can be read ({type(error).__name__}). Check profile, role and environment.")
    if isinstance(error, said.ParamValidationError | said.ValidationError | said.NoRegionError):
        return CallInvalid(f"{WHO}'s SDK refuses to send this ({type(error).__name__}).")
    return OutcomeUnknown(f"{WHO} gave no answer that can be read ({type(error).__name__}).")


def _untrusted(error: BaseException) -> str:
    """Why the certificate is not trusted; empty where something else is wrong with the connection."""
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, ssl.SSLCertVerificationError):
        reason = reason.__cause__ or reason.__context__
    return reason.verify_message if reason else ""


def _credentials(said: Any) -> tuple[type[BaseException], ...]:
    return (
        said.NoCredentialsError, said.PartialCredentialsError, said.CredentialRetrievalError, said.ProfileNotFound, said.ConfigNotFound,
        said.ConfigParseError, said.TokenRetrievalError, said.NoAuthTokenError, said.SSOError, said.LoginError, said.UnknownCredentialError,
        said.MetadataRetrievalError, said.InvalidConfigError, said.RefreshWithMFAUnsupportedError, said.UnknownTokenProviderError,
    )  # fmt: skip


def target(call: Call, pattern: re.Pattern[str], *, form: str) -> Callable[[int], str]:
    """The parts of the call's target; what is not of the form never leaves this machine.

    Raises:
        CallInvalid: it is none; `form` says how one is written.
    """
    found = pattern.fullmatch(call.target or "")
    if found is None:
        raise CallInvalid(f"{redact(call.target or '', limit=100)!r} cannot be meant; write {form}.")
    return lambda number: found[number]


def tags(listed: Json) -> dict[str, str]:
    """Tags as a mapping; services spell the keys of a tag in two ways."""
    return {str(one.get("Key", one.get("key"))): str(one.get("Value", one.get("value", ""))) for one in listed or ()}


def _said(words: str) -> str:
    """AWS's own words, to stand before a full stop; a page of HTML is none."""
    words = "" if words.lstrip().startswith("<") else redact(words, limit=MOST_REASON).strip().rstrip(".")
    return f": {words}" if words else ""


def _named(key: str, secret: str, token: str | None) -> dict[str, str]:
    named = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    return {**named, "aws_session_token": token} if token else named


def _action(service: str, operation: str) -> str:
    return f"{service}:{''.join(part.capitalize() for part in operation.split('_'))}"


def _sound(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL))
