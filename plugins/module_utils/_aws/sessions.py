# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Clients of one account and region: the caller's own credentials, or a role assumed with them."""

from __future__ import annotations

import typing as t

try:
    from botocore.config import Config
except ImportError:
    Config = None  # get_aws_connection_info() says what is missing

from ansible_collections.amazon.aws.plugins.module_utils.botocore import boto3_inventory_conn, get_aws_connection_info

from .errors import AwsError, handled

#: Retries of a single call. botocore's standard mode backs off with jitter, at most 20 s a time.
_MAX_ATTEMPTS = 5


class Account(t.NamedTuple):
    """How to get into an account: `role_arn` None means the caller's own credentials."""

    role_arn: t.Optional[str] = None
    external_id: t.Optional[str] = None


OWN_ACCOUNT = Account()


class _Options:
    """What amazon.aws asks a module for, here for a plugin's options."""

    def __init__(self, params: dict[str, t.Any]) -> None:
        self.params = params

    def fail_json(self, msg: str, **details: t.Any) -> t.NoReturn:
        raise AwsError(msg)


class Sessions:
    """Makes clients; each role is assumed once. Not for sharing between threads while an account is new to it."""

    def __init__(self, options: dict[str, t.Any]) -> None:
        """`options` are amazon.aws's authentication options, by their long names (access_key, profile, ...)."""
        self.region: str | None
        self.region, self._endpoint, self._kwargs = get_aws_connection_info(_Options(dict(options)))
        self._roles: dict[Account, dict[str, t.Any]] = {}

    def client(self, service: str, account: Account = OWN_ACCOUNT, region: str | None = None) -> t.Any:
        """Return a boto3 client; without a region, of the region that the options or the environment name.

        Raises:
            AwsError: no region, no credentials, or the role cannot be assumed.
        """
        if account.role_arn and account not in self._roles:
            self._roles[account] = _assume_role(self._connect("sts", region, self._kwargs), account)
        return self._connect(service, region, self._roles.get(account, self._kwargs))

    @handled("connect to AWS")
    def _connect(self, service: str, region: str | None, kwargs: dict[str, t.Any]) -> t.Any:
        config = Config(
            retries={"mode": "standard", "max_attempts": _MAX_ATTEMPTS},
            connect_timeout=5,
            read_timeout=60,
            # botocore still presigns with version 2 in the oldest regions, which encrypted buckets refuse.
            signature_version="s3v4" if service == "s3" else None,
        )
        try:
            return boto3_inventory_conn(
                conn_type="client",
                resource=service,
                region=region or self.region,
                endpoint=self._endpoint,
                config=config,
                **kwargs,
            )
        except ValueError as error:
            raise AwsError("Failed to connect to AWS", error) from error


def _assume_role(sts: t.Any, account: Account) -> dict[str, t.Any]:
    request = {"RoleArn": account.role_arn, "RoleSessionName": "patchwave"}
    if account.external_id:
        request["ExternalId"] = account.external_id
    credentials = handled(f"assume role {account.role_arn}")(sts.assume_role)(**request)["Credentials"]
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


@handled("ask for the caller's identity")
def caller_account(sts: t.Any) -> str:
    """Return the 12-digit id of the account that the client's credentials belong to."""
    return str(sts.get_caller_identity()["Account"])
