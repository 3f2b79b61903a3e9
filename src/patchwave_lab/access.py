"""Who a caller is, and what stands in the way of a call: read-only labs, IAM, and faults of the service."""

import re
from dataclasses import dataclass

from moto.iam.access_control import IAMPolicy, PermissionResult, create_access_key
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from patchwave_lab.credentials import Caller, Refusal
from patchwave_lab.faults import Place
from patchwave_lab.world import World

#: Operations that change nothing. SendCommand is none of them, whatever its script does.
READS = re.compile(
    r"(Get|List|Describe|Head|BatchGet|Search|Lookup|Simulate|Filter|Select|Query|Scan|Test|Validate|Estimate|Preview)[A-Z]"
    r"|(AssumeRole|DecodeAuthorizationMessage)"
)
#: What check mode over Run Command needs besides: the truth is on the node, so it has to be asked.
CHECKS = {"ssm:SendCommand", "s3:PutObject", "s3:DeleteObject"}
#: Where in a bucket payloads lie; elsewhere check mode has nothing to write.
PAYLOADS = re.compile(r"/[^/]+/patchwave/")
#: Prefixes and actions of IAM that differ from the signing name and the operation (service authorization reference).
PREFIXES = {"tagging": "tag"}
ACTIONS = {
    "s3:DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "s3:DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListBucketInventoryConfigurations": "s3:GetInventoryConfiguration",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
#: Calls that share a token bucket; any other operation has its own.
FAMILIES = {
    **dict.fromkeys(("ListCommands", "ListCommandInvocations", "GetCommandInvocation"), "results"),
    **dict.fromkeys(("DescribeInstanceInformation", "DescribeInstanceProperties", "GetConnectionStatus"), "nodes"),
}
#: What a signature may be off, in seconds (Signature Version 4).
TOLERANCE = 300


@dataclass(frozen=True)
class Request:
    """One call: who asks which service for what, where."""

    who: Caller
    account: str
    service: str
    operation: str
    path: str = ""

    @property
    def place(self) -> Place:
        """Where it goes, for faults."""
        return Place(self.account, self.who.region)

    @property
    def action(self) -> str:
        """The operation as IAM calls it."""
        return action(self.service, self.operation)


def action(service: str, operation: str) -> str:
    """An operation of a service, by its signing name, as IAM calls it."""
    plain = f"{PREFIXES.get(service, service)}:{operation}"
    return ACTIONS.get(plain, plain)


def principal(request: Request) -> str:
    """The caller's ARN, empty for an unknown one."""
    key = request.who.access_key
    if not request.account:
        return ""
    if key.startswith("ASIA"):
        role = sts_backends[request.account]["aws"].get_assumed_role_from_access_key(key)
        return str(role.arn) if role else ""
    found = iam_backends[request.account]["aws"].access_keys.get(key)
    return f"arn:aws:iam::{request.account}:user/{found.user_name}" if found else ""


def expired(world: World, request: Request) -> bool:
    """Does the fault `token-expired` hit the caller's session token?"""
    return bool(request.who.token) and world.faults.hit("token-expired", request.place) is not None


def refusal(world: World, request: Request, arn: str) -> Refusal | None:
    """Why a call with good credentials is refused; None: it is not."""
    faults, place = world.faults, request.place
    if faults.hit("region-down", place):
        return Refusal(503, "ServiceUnavailable", "Service is unable to handle request.")
    skew = faults.hit("clock-skew", place)
    if skew and skew.numbers["seconds"] > TOLERANCE:
        return _skewed(request.service)
    if faults.throttled(place, f"{request.service}/{FAMILIES.get(request.operation, request.operation)}"):
        return _throttled(request.service)
    if not READS.match(request.operation):
        if world.read_only:
            return _denied(request, arn, "the lab is read-only")
        if world.check_only and not _of_a_check(request):
            return _denied(request, arn, "the lab is check-only")
    if world.enforce_iam and not _permitted(world, request):
        return _denied(request, arn, "no identity-based policy allows the action")
    return None


def _of_a_check(request: Request) -> bool:
    return request.action in CHECKS and (request.service != "s3" or PAYLOADS.match(request.path) is not None)


def _permitted(world: World, request: Request) -> bool:
    """Do the caller's policies allow the action? Resources and conditions are not looked at."""
    if request.who.access_key == world.access_key or request.action == "sts:GetCallerIdentity":
        return True
    headers = {"X-Amz-Security-Token": request.who.token} if request.who.token else {}
    try:
        policies = create_access_key(request.account, "aws", request.who.access_key, headers).collect_policies()
    except Exception:
        # A role that was never made has no policies.
        return False
    verdicts = {IAMPolicy(each).is_action_permitted(request.action) for each in policies}
    return PermissionResult.PERMITTED in verdicts and PermissionResult.DENIED not in verdicts


def _denied(request: Request, arn: str, why: str) -> Refusal:
    message = f"User: {arn} is not authorized to perform: {request.action} because {why}"
    if request.service == "ec2":
        return Refusal(403, "UnauthorizedOperation", f"You are not authorized to perform this operation. {message}")
    if request.service in ("s3", "sts", "iam", "sns", "elasticloadbalancing", "autoscaling"):
        return Refusal(403, "AccessDenied", message)
    return Refusal(400, "AccessDeniedException", message)


def _throttled(service: str) -> Refusal:
    if service == "ec2":
        return Refusal(503, "RequestLimitExceeded", "Request limit exceeded.")
    if service == "s3":
        return Refusal(503, "SlowDown", "Please reduce your request rate.")
    if service in ("sts", "iam", "sns", "elasticloadbalancing", "autoscaling"):
        return Refusal(400, "Throttling", "Rate exceeded")
    return Refusal(400, "ThrottlingException", "Rate exceeded")


def _skewed(service: str) -> Refusal:
    if service == "s3":
        text = "The difference between the request time and the current time is too large."
        return Refusal(403, "RequestTimeTooSkewed", text)
    if service == "ec2":
        return Refusal(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
    text = "Signature expired: the request is more than 5 minutes older than the current time."
    if service in ("sts", "iam", "sns", "elasticloadbalancing", "autoscaling"):
        return Refusal(403, "SignatureDoesNotMatch", text)
    return Refusal(400, "InvalidSignatureException", text)
