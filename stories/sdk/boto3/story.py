"""The story of AssumeRole with boto3; see ../README.md. Settings are in the environment."""

import datetime
import json
import os
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

A, B = "111122223333", "444455556666"
ROLE = f"arn:aws:iam::{A}:role/Reader"

a = boto3.Session(profile_name="root-" + A)
b = boto3.Session(profile_name="root-" + B)


def allow(action, resource):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})


def trust(principal):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}]})


def refused(code, error, operation, **parameters):
    """The call must raise this class with this code; returns the message."""
    try:
        got = operation(**parameters)
    except error as e:
        assert e.response["Error"]["Code"] == code, e
        return e.response["Error"]["Message"]
    raise AssertionError(f"not refused: {got}")


# The two halves: a bucket and a role in A that trusts B; a user of B.
s3 = a.client("s3")
s3.create_bucket(Bucket="reports")
s3.get_waiter("bucket_exists").wait(Bucket="reports")
s3.put_object(Bucket="reports", Key="q3.txt", Body=b"all is well", Metadata={"team": "storage"})
s3.get_waiter("object_exists").wait(Bucket="reports", Key="q3.txt")
a.client("iam").create_role(RoleName="Reader", AssumeRolePolicyDocument=trust(f"arn:aws:iam::{B}:root"))
a.client("iam").get_waiter("role_exists").wait(RoleName="Reader")
a.client("iam").put_role_policy(RoleName="Reader", PolicyName="read", PolicyDocument=allow(
    ["s3:GetObject", "s3:ListBucket"], ["arn:aws:s3:::reports", "arn:aws:s3:::reports/*"]))

iam = b.client("iam")
iam.create_user(UserName="alice", Path="/people/", Tags=[{"Key": "team", "Value": "störage"}])
iam.get_waiter("user_exists").wait(UserName="alice", WaiterConfig={"Delay": 0})
try:
    iam.get_waiter("user_exists").wait(UserName="nobody", WaiterConfig={"Delay": 0, "MaxAttempts": 2})
    raise AssertionError("the waiter finds nobody")
except WaiterError as e:
    assert "Max attempts exceeded" in str(e) and e.last_response["Error"]["Code"] == "NoSuchEntity", e
key = iam.create_access_key(UserName="alice")["AccessKey"]
alice = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
sts = alice.client("sts")
who = sts.get_caller_identity()
assert (who["Account"], who["Arn"]) == (B, f"arn:aws:iam::{B}:user/people/alice"), who

# Without B's half nothing goes.
assume = dict(RoleArn=ROLE, RoleSessionName="alice")
message = refused("AccessDenied", ClientError, sts.assume_role, **assume)
assert message == f"User: {who['Arn']} is not authorized to perform: sts:AssumeRole on resource: {ROLE}", message
refused("AccessDenied", ClientError, alice.client("s3").get_object, Bucket="reports", Key="q3.txt")
message = refused("AccessDenied", ClientError, alice.client("iam").list_users)
assert message.endswith(f"is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::{B}:user/ because no identity-based policy allows the iam:ListUsers action"), message

# With it, what the role's policy says.
iam.put_user_policy(UserName="alice", PolicyName="may", PolicyDocument=allow("sts:AssumeRole", ROLE))
out = sts.assume_role(**assume, DurationSeconds=900)
left = out["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
assert datetime.timedelta(minutes=14) < left <= datetime.timedelta(minutes=15, seconds=5), left
k = out["Credentials"]
session = boto3.Session(k["AccessKeyId"], k["SecretAccessKey"], k["SessionToken"])
assert session.client("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{A}:assumed-role/Reader/alice"
reader = session.client("s3")
got = reader.get_object(Bucket="reports", Key="q3.txt")
assert got["Body"].read() == b"all is well" and got["Metadata"] == {"team": "storage"}, got
refused("AccessDenied", ClientError, reader.put_object, Bucket="reports", Key="q4.txt", Body=b"")
refused("AccessDenied", ClientError, session.client("iam").get_role, RoleName="Reader")

# A session policy takes away, and a stale half ends it.
k = sts.assume_role(**assume, Policy=allow("s3:ListBucket", "*"))["Credentials"]
narrow = boto3.Session(k["AccessKeyId"], k["SecretAccessKey"], k["SessionToken"]).client("s3")
narrow.list_objects_v2(Bucket="reports")
refused("AccessDenied", ClientError, narrow.get_object, Bucket="reports", Key="q3.txt")
iam.delete_user_policy(UserName="alice", PolicyName="may")
refused("AccessDenied", ClientError, sts.assume_role, **assume)
iam.put_user_policy(UserName="alice", PolicyName="may", PolicyDocument=allow("sts:AssumeRole", ROLE))
sts.assume_role(**assume)

# Errors are the classes that boto3 documents.
e = iam.exceptions
refused("NoSuchEntity", e.NoSuchEntityException, iam.get_user, UserName="nobody")
refused("EntityAlreadyExists", e.EntityAlreadyExistsException, iam.create_user, UserName="Alice")
refused("DeleteConflict", e.DeleteConflictException, iam.delete_user, UserName="alice")
refused("MalformedPolicyDocument", e.MalformedPolicyDocumentException, iam.put_user_policy, UserName="alice", PolicyName="x", PolicyDocument="{}")
refused("LimitExceeded", e.LimitExceededException, lambda: [iam.create_access_key(UserName="alice") for _ in range(2)])
refused("ValidationError", ClientError, iam.create_user, UserName="no spaces")
refused("MalformedPolicyDocument", sts.exceptions.MalformedPolicyDocumentException, sts.assume_role, **assume, Policy="{}")
refused("NoSuchKey", s3.exceptions.NoSuchKey, s3.get_object, Bucket="reports", Key="absent")
refused("NoSuchBucket", s3.exceptions.NoSuchBucket, s3.list_objects_v2, Bucket="absent-" + A)
refused("BucketAlreadyOwnedByYou", s3.exceptions.BucketAlreadyOwnedByYou,
        a.client("s3", region_name="eu-west-1").create_bucket, Bucket="reports", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
refused("404", ClientError, s3.head_object, Bucket="reports", Key="absent")
refused("InvalidClientTokenId", ClientError, boto3.Session("AKIAIOSFODNN7EXAMPLE", "x").client("sts").get_caller_identity)
refused("SignatureDoesNotMatch", ClientError, boto3.Session(key["AccessKeyId"], "x").client("sts").get_caller_identity)
refused("InvalidClientTokenId", ClientError, boto3.Session(k["AccessKeyId"], k["SecretAccessKey"], k["SessionToken"][:-8] + "AAAAAAAA").client("sts").get_caller_identity)

# Pages, of users and of objects.
names = [f"page{i}" for i in range(5)]
for n in names:
    iam.create_user(UserName=n, Path="/pages/")
    s3.put_object(Bucket="reports", Key="pages/" + n, Body=b"")
pages = list(iam.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"PageSize": 2}))
assert [[u["UserName"] for u in p["Users"]] for p in pages] == [names[:2], names[2:4], names[4:]], pages
pages = list(reader.get_paginator("list_objects_v2").paginate(Bucket="reports", Prefix="pages/", PaginationConfig={"PageSize": 2}))
assert [[o["Key"] for o in p["Contents"]] for p in pages] == [["pages/" + n for n in names[i:i + 2]] for i in (0, 2, 4)], pages
first = iam.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"MaxItems": 3}).build_full_result()
rest = iam.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"StartingToken": first["NextToken"]}).build_full_result()
assert [u["UserName"] for u in first["Users"] + rest["Users"]] == names, (first, rest)

# Resources, boto3's own objects.
assert [t for t in b.resource("iam").User("alice").tags] == [{"Key": "team", "Value": "störage"}]
assert b.resource("iam").UserPolicy("alice", "may").policy_document["Statement"][0]["Resource"] == ROLE
bucket = session.resource("s3").Bucket("reports")
assert sorted(o.key for o in bucket.objects.filter(Prefix="pages/")) == sorted("pages/" + n for n in names)

# A URL that is enough by itself, for its object only.
url = session.client("s3", config=Config(signature_version="s3v4")).generate_presigned_url("get_object", Params={"Bucket": "reports", "Key": "q3.txt"}, ExpiresIn=60)
assert urllib.request.urlopen(url).read() == b"all is well"
try:
    urllib.request.urlopen(url.replace("q3.txt", "pages/page0"))
    raise AssertionError("a URL opens another object")
except urllib.error.HTTPError as e:
    assert e.code == 403, e

print("the story went as told, with boto3", boto3.__version__)
