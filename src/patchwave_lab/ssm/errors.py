"""Errors of Systems Manager, as the wire has them: a code and a message, HTTP 400."""

from moto.ssm.exceptions import SSMException


def error(code: str, message: str = "") -> Exception:
    """An exception that moto turns into the service's error response."""
    raised: Exception = SSMException(code, message)
    return raised
