# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.


"""Clients of one account and region: the caller's own credentials, or a role assumed with them."""

from __future__ import annotations

import functools
import threading
import typing as t

try:
    import boto3
    from botocore.config import Config
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import UnknownRegionError
    from botocore.session import Session as BotocoreSession
except ImportError:
    pass  # get_aws_connection_info() says what is missing

from ansible_collections.amazon.aws.plugins.module_utils.botocore import get_aws_connection_info

from . import s3 as s3_api
from .errors import AwsError, handled

#: Retries of a single call. botocore's standard mode backs off with jitter, at most 20 s a time.
_MAX_ATTEMPTS = 5
_ROLE_SESSION_NAME = "patchwave"
#: Two regions of each partition that are enabled for every account.
_ALWAYS = {
    "aws": ("us-east-1", "eu-west-1"),
    "aws-cn": ("cn-north-1", "cn-northwest-1"),
    "aws-us-gov": ("us-gov-west-1", "us-gov-east-1"),
}


class Account(t.NamedTuple):
    """How to get into an account. All None means the caller's own credentials.

    `profile` replaces the caller's credentials; the role, if any, is assumed with what the profile gives.
    """

    role_arn: t.Optional[str] = None
    external_id: t.Optional[str] = None
    session_name: t.Optional[str] = None
    profile: t.Optional[str] = None

    def __str__(self) -> str:
        """Return what a person knows the account by."""
        return self.role_arn or (f"profile {self.profile}" if self.profile else "the credentials")


OWN_ACCOUNT = Account()


class _Options:
    """What amazon.aws asks a module for, here for a plugin's options."""

    def __init__(self, params: dict[str, t.Any]) -> None:
        self.params = params

    def fail_json(self, msg: str, **details: t.Any) -> t.NoReturn:
        raise AwsError(msg)


class Sessions:
    """Makes clients; a role is assumed once and again before its credentials expire. Safe to share between threads.

    botocore reads its service models once for all of them: 0.2 s of CPU for EC2 alone, 0.02 s from then on.
    """

    def __init__(self, options: dict[str, t.Any]) -> None:
        """`options` are amazon.aws's authentication options, by their long names (access_key, profile, ...).

        Raises:
            AwsError: half of a pair of keys.
        """
        self.region: str | None
        self.region, self._endpoint, settings = get_aws_connection_info(_Options(dict(options)))
        if bool(settings.get("aws_access_key_id")) != bool(settings.get("aws_secret_access_key")):
            raise AwsError("credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together, and one is missing")
        self._profile = settings.pop("profile_name", None) or None
        self._client_settings = {"verify": settings.pop("verify", None)}
        self._config = settings.pop("aws_config", None)
        self._keys = settings
        self._sessions: dict[Account, t.Any] = {}
        #: Regions that clients were made for, in order; False for one whose token service gave no answer.
        self._regions: dict[str, bool] = {self.region: True} if self.region else {}
        self._lock = threading.Lock()
        self._ids: dict[Account, str] = {}
        self._buckets: dict[str, t.Any] = {}  # clients, each of the bucket's own region
        self._finding = threading.RLock()
        #: Calls made so far, each retry counted; not those that assume roles.
        self.api_calls = 0
        self._counting = threading.Lock()

    def _called(self, **dummy: t.Any) -> None:
        with self._counting:
            self.api_calls += 1

    def client(
        self, service: str, account: Account = OWN_ACCOUNT, region: str | None = None, retries: bool = True
    ) -> t.Any:
        """Return a boto3 client; without a region, of the region that the options or the environment name.

        Raises:
            AwsError: no region, or no such profile. Bad credentials show at the first call.
        """
        with self._lock:
            client = self._client(service, account, region or self.region, _MAX_ATTEMPTS if retries else 1)
        client.meta.events.register("before-send", self._called)
        return client

    def account_id(self, account: Account, region: str | None = None) -> str:
        """Return the 12-digit id of the account that is entered this way; a role says it itself, AWS is asked once.

        Raises:
            AwsError: AWS does not say it.
        """
        if account.role_arn:
            return (account.role_arn.split(":")[4:5] or [""])[0]
        with self._finding:
            if account not in self._ids:
                self._ids[account] = str(caller_account(self.client("sts", account, region, retries=False)))
            return self._ids[account]

    def s3(self, bucket: str) -> t.Any:
        """Return a client of S3 for a bucket or an access point, with the caller's own credentials.

        It is of the region where the bucket lies, which one call finds out. Where an endpoint is configured, that says
        where the bucket is, and the ARN of an access point says it itself: then nothing is asked.

        Raises:
            AwsError: there is no such bucket, or as client() does.
        """
        with self._finding:
            if bucket not in self._buckets:
                self._buckets[bucket] = self._s3(self._bucket_region(bucket))
            return self._buckets[bucket]

    def _s3(self, region: str | None) -> t.Any:
        client = self.client("s3", region=region)
        client.meta.events.register_first("before-endpoint-resolution.s3", _regional)
        return client

    def _bucket_region(self, bucket: str) -> str | None:
        if bucket.startswith("arn:"):
            return (bucket.split(":", 5)[3:4] or [""])[0] or self.region
        own = self._s3(self.region)
        return self.region if self._has_own_endpoint(own) else s3_api.bucket_region(own, bucket) or self.region

    @handled("connect to AWS")
    def _has_own_endpoint(self, client: t.Any) -> bool:
        """Say whether an option, the environment or a file names another endpoint than AWS's."""
        with self._lock:
            settings = self._settings("s3", self.region, 1)
            plain = settings["config"].merge(Config(ignore_configured_endpoint_urls=True))
            session = self._session(OWN_ACCOUNT)
            own = session.client("s3", **{**settings, "endpoint_url": None, "config": plain})
        return bool(client.meta.endpoint_url != own.meta.endpoint_url)

    @handled("connect to AWS")
    def partition(self, region: str | None) -> str:
        """Return the partition of a region, such as C(aws-cn); C(aws) where there is no such region."""
        with self._lock:
            return _partition(self._session(OWN_ACCOUNT), region)

    def neighbours(self, region: str | None) -> list[str]:
        """Return regions of one partition in which what every region knows can be asked, the given one first."""
        return list(dict.fromkeys(filter(None, (region, *_ALWAYS.get(self.partition(region), ())))))

    @handled("connect to AWS")
    def known_regions(self) -> set[str]:
        """Return the regions that botocore knows, of every partition; a region younger than botocore is not there."""
        with self._lock:
            session = self._session(OWN_ACCOUNT)
            partitions = session.get_available_partitions()
            return {name for one in partitions for name in session.get_available_regions("ec2", partition_name=one)}

    @handled("connect to AWS")
    def _client(self, service: str, account: Account, region: str | None, attempts: int) -> t.Any:
        if region:
            self._regions.setdefault(region, True)
        try:
            settings = self._settings(service, region, attempts)
            return self._session(account).client(service, **settings)
        except ValueError as error:
            raise AwsError("Failed to connect to AWS", error) from error

    def _settings(self, service: str, region: str | None, attempts: int) -> dict[str, t.Any]:
        retries = Config(retries={"mode": "standard", "total_max_attempts": attempts})
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            user_agent_extra="patchwave",
            # botocore still presigns with version 2 in the oldest regions, which encrypted buckets refuse.
            signature_version="s3v4" if service == "s3" else None,
            s3={"us_east_1_regional_endpoint": "regional"} if service == "s3" else None,
        )
        config = retries.merge(config).merge(self._config or Config())
        return {
            "region_name": region,
            "endpoint_url": self._endpoint,
            # What must not be retried is not retried whatever the options say.
            "config": config.merge(retries) if attempts == 1 else config,
            **self._client_settings,
        }

    def _session(self, account: Account) -> t.Any:
        if account not in self._sessions:
            if account.role_arn:
                self._sessions[account] = self._assumed(account)
            else:
                keys = {} if account.profile else self._keys
                session = boto3.session.Session(profile_name=account.profile or self._profile, **keys)
                self._sessions[account] = self._with_models(session)
        return self._sessions[account]

    def _assumed(self, account: Account) -> t.Any:
        source = self._session(Account(profile=account.profile))._session
        arguments = {"RoleSessionName": account.session_name or _ROLE_SESSION_NAME}
        if account.external_id:
            arguments["ExternalId"] = account.external_id

        def fetch(region: str) -> t.Any:
            settings = self._settings("sts", region, _MAX_ATTEMPTS)
            return AssumeRoleCredentialFetcher(
                client_creator=functools.partial(source.create_client, **settings),
                source_credentials=_credentials(source),
                role_arn=account.role_arn,
                extra_args=arguments,
            ).fetch_credentials()

        session = BotocoreSession()
        ask = functools.partial(self._from_any_region, fetch)
        session._credentials = DeferredRefreshableCredentials(ask, "assume-role")
        return self._with_models(boto3.session.Session(botocore_session=session))

    def _from_any_region(self, fetch: t.Callable[[str], t.Any]) -> t.Any:
        """Get credentials from a token service; any region's will do, so one that is down does not cost the others."""
        answering = sorted(list(self._regions), key=lambda name: not self._regions[name])
        first = (answering or ["us-east-1"])[0]
        near = _ALWAYS.get(_partition(next(iter(self._sessions.values())), first), ())
        second = next((name for name in (*answering, *near) if name != first), first)
        try:
            return fetch(first)
        except Exception as error:  # botocore's and amazon.aws's, told apart by what they say
            if first == second or not AwsError("", error).no_answer:
                raise
            self._regions[first] = False
            return fetch(second)

    def _with_models(self, session: t.Any) -> t.Any:
        """Let the session use the service models that the first one has read."""
        if self._sessions:
            first = next(iter(self._sessions.values()))._session
            session._session.register_component("data_loader", first.get_component("data_loader"))
        return session


def _credentials(session: t.Any) -> t.Any:
    found = session.get_credentials()
    if found is None:
        raise AwsError("Unable to locate credentials (set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)")
    return found


def _partition(session: t.Any, region: str | None) -> str:
    try:
        return str(session.get_partition_for_region(region)) if region else "aws"
    except UnknownRegionError:
        return "aws"


def _regional(builtins: dict[str, t.Any], context: dict[str, t.Any], **dummy: t.Any) -> None:
    """Keep botocore from presigning for S3's old global endpoint, which knows neither new regions nor new buckets."""
    context["use_global_endpoint"] = False


@handled("ask for the caller's identity")
def caller_account(sts: t.Any) -> str:
    """Return the 12-digit id of the account that the client's credentials belong to."""
    return str(sts.get_caller_identity()["Account"])


@handled("ask for the caller's identity")
def caller_partition(sts: t.Any) -> str:
    """Return the partition that the client's credentials belong to, such as C(aws-cn)."""
    return str(sts.get_caller_identity()["Arn"]).split(":")[1]
