# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""What goes wrong between us and AWS, in one line a person can act on."""

from __future__ import annotations

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.errors import AWSErrorHandler
from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

#: botocore's exceptions for an endpoint that gives no answer.
_NO_ANSWER = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError")
#: botocore's exceptions for a call that never left this machine.
_NOT_SENT = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
)
#: S3's codes for a bucket that is in another region.
_ELSEWHERE = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


class AwsError(AnsibleAWSError):
    """An AWS call failed; str() is one line."""

    @property
    def code(self) -> str:
        """AWS's error code such as C(AccessDenied), or the empty string."""
        response = getattr(self.exception, "response", None) or {}
        return str(response.get("Error", {}).get("Code", ""))

    @property
    def no_answer(self) -> bool:
        """Say whether the region, rather than AWS's judgment of the call, is the reason."""
        metadata = (getattr(self.exception, "response", None) or {}).get("ResponseMetadata", {})
        return metadata.get("HTTPStatusCode", 0) >= 500 or type(self.exception).__name__ in _NO_ANSWER

    @property
    def not_sent(self) -> bool:
        """Say whether AWS certainly never saw the call."""
        return self.exception is None or type(self.exception).__name__ in _NOT_SENT

    def __str__(self) -> str:
        """Return what failed, AWS's word for it and, for what users meet most, what to do."""
        return " ".join(filter(None, (" ".join(super().__str__().split()), self._advice())))

    def _advice(self) -> str:
        if self.code in ("ExpiredToken", "ExpiredTokenException", "RequestExpired"):
            return "(renew the credentials and run again)"
        if type(self.exception).__name__ in _NO_ANSWER:
            return "(check the network, the region name and AWS_ENDPOINT_URL)"
        if self.code in ("AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId"):
            return "(check the credentials, and whether the region is enabled for the account)"
        if self.code in _ELSEWHERE:
            return "(the bucket is in another region than the call was made for; check the region and the bucket)"
        if type(self.exception).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            return "(set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        return ""


class ErrorHandler(AWSErrorHandler):
    """Decorators that turn botocore's exceptions into AwsError with a description of the call."""

    _CUSTOM_EXCEPTION = AwsError


handled: t.Callable[[str], t.Callable[[t.Callable[..., t.Any]], t.Callable[..., t.Any]]]
handled = ErrorHandler.common_error_handler
