"""What went wrong with a request to an object store. The one place that understands obstore's errors.

obstore says little by its classes: status and S3's error code are read from the first lines of the text. The rest of the
text (the body of the answer, headers) is never shown: S3 repeats parts of the signature there.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from converter.errors import Denied, OutputFailed, Unanswered, Unreachable, Unusable
from drivers.errors import Unreadable

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_DENIED = {
    "AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired",
}  # fmt: skip
"""Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html that come with 400 or 403."""
_ON_THE_WAY = {"BadDigest", "IncompleteBody", "InvalidDigest", "RequestTimeout", "XAmzContentChecksumMismatch",
               "XAmzContentSHA256Mismatch"}  # fmt: skip
"""Codes that come with 400 where bytes were lost or changed on the way: sending them again helps."""
_INSTANCE = "169.254."
"""Where clouds tell their machines credentials: asked when the environment names none."""
_ADVICE = (
    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and the rights to list, get, put, delete"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`status` is None where no answer came. `transient`: the same request may succeed in a moment."""

    status: int | None
    code: str
    denied: bool
    transient: bool
    config: bool = False


def fault_of(error: BaseException) -> Fault:
    """What an error of obstore, or a time limit of ours, means."""
    text = str(error).partition("Debug source")[0]
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    code = found[1] if (found := _CODE.search(text)) else ""
    name = type(error).__name__
    denied = status in (401, 403) or code in _DENIED or name in ("PermissionDeniedError", "UnauthenticatedError")
    if denied or _INSTANCE in text:
        return Fault(status, code, denied=True, transient=False)
    if status is None:
        config = "Config error" in text or "builder error" in text or isinstance(error, ValueError)
        return Fault(None, code, denied=False, transient=not config, config=config)
    transient = status in (408, 409, 429) or (status >= 500 and status != 501) or code in _ON_THE_WAY
    return Fault(status, code, denied=False, transient=transient)


def failure(where: str, error: BaseException) -> OutputFailed:
    """The error to raise where a request has failed for good; one line, nothing of the answer but status and code."""
    fault = fault_of(error)
    said = f"the object store answers {fault.status} {fault.code}".strip()
    if fault.denied:
        refused = said if fault.status is not None else "there are no credentials"
        return Denied(f"{where}: access is refused ({refused}); {_ADVICE}")
    if fault.config:
        return Unusable(f"{where}: the AWS settings of the environment make no client; {_ADVICE}")
    if fault.status is None:
        return Unanswered(f"{where}: the object store does not answer; check AWS_ENDPOINT_URL and the network, and try again")
    if fault.transient:
        return Unreachable(f"{where}: {said} again and again; try again later")
    if fault.status == 501:
        return Unusable(f"{where}: {said}: it does not know conditional puts or checksums, which safe publishing needs")
    return Unusable(f"{where}: {said}; check bucket and prefix")


@contextmanager
def reaching(where: str) -> Generator[None]:
    """What cannot be read because the object store does not answer or refuses, is its fault and not that of the store."""
    try:
        yield
    except Unreadable as error:
        cause: BaseException | None = error
        while cause is not None and not type(cause).__module__.startswith("obstore"):
            cause = cause.__cause__
        if cause is None:
            raise
        raise failure(where, cause) from None
