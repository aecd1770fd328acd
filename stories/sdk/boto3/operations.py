"""Calls every operation of IAM, STS and Organizations that iamd serves through boto3,
and holds each answer against botocore's own model of it (see shapes.py); goes through
every list with the paginators, one item a page; and waits with the waiters.

    operations.py DECLINED...

The files name the operations that are not served, one a line. Whoever serves a new one
gives it a call here: an operation that is neither named nor called is a failure.
"""

import base64
import hmac
import json
import os
import struct
import sys
import time

import boto3
from botocore.exceptions import ClientError, WaiterError

from shapes import unknown, watch

MANAGEMENT, MEMBER = "111122223333", "444455556666"
FAST = {"Delay": 0, "MaxAttempts": 1}

# Served, and not to be called with success from here.
UNREACHED = {
    "AssumeRoleWithWebIdentity": "needs an issuer of tokens: see TestWebIdentity",
    "AssumeRoleWithSAML": "needs an identity provider that signs",
    "DecodeAuthorizationMessage": "no answer that boto3 sees has an encoded message; iamd explain has",
}

problems, called = [], {}


def client(service, session):
    c = session.client(service)
    watch(c, problems, called.setdefault(service, set()))
    return c


def check(what, truth, *seen):
    if not truth:
        problems.append(f"{what}: {seen}")


def refused(code, operation, **parameters):
    """The call must be refused with the code, as the class of the error that the client makes of it."""
    try:
        problems.append(f"{operation.__name__}({parameters}) is not refused: {operation(**parameters)}")
    except ClientError as e:
        if e.response["Error"]["Code"] != code:
            problems.append(f"{operation.__name__}({parameters}) is not {code}: {e}")


def policy(action, resource="*"):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})


def trust(principal):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"]}]})


def file(name):
    with open(os.path.join(os.path.dirname(__file__), "../../../examples/terraform/files", name)) as f:
        return f.read()


def arn(kind, name):
    return f"arn:aws:iam::{MANAGEMENT}:{kind}/{name}"


TAGS = [{"Key": "team", "Value": "störage"}, {"Key": "empty", "Value": ""}, {"Key": "a:b", "Value": "x = y @ +/-"}]
ACCOUNT = {"AWS": MANAGEMENT}
NAMES = ("ann", "ben", "cyd")
SERVICES = {"ann": "config", "ben": "guardduty"}


def everything(c, paginators):
    """Goes through the lists one item a page, and finds what one answer has."""
    size = {"organizations": "MaxResults"}.get(c.meta.service_model.service_name, "MaxItems")
    for name, parameters in paginators:
        operation = getattr(c, name)
        p = c.get_paginator(name)
        keys = [k.expression for k in p.result_keys]
        whole = operation(**parameters)
        pages = list(p.paginate(**parameters, PaginationConfig={"PageSize": 1}))
        items = 0
        for key in keys:
            got = [i for page in pages for i in page.get(key) or []]
            check(f"{name}: {key} in pages and at once", got == whole.get(key, []), got, whole)
            items += len(got)
        check(f"{name}: {items} items in {len(pages)} pages", 1 < items == len(pages), pages)
        check(f"{name}: all but the last page are truncated",
              all(page.get("IsTruncated", "NextToken" in page) == (page is not pages[-1]) for page in pages), pages)
        # The first item, and then the rest from the token that botocore makes.
        if len(keys) == 1:
            first = p.paginate(**parameters, PaginationConfig={"PageSize": 2, "MaxItems": 1}).build_full_result()
            rest = p.paginate(**parameters, PaginationConfig={"PageSize": 2, "StartingToken": first["NextToken"]}).build_full_result()
            check(f"{name}: one and then the rest", first[keys[0]] + rest[keys[0]] == whole[keys[0]], first, rest)
        left.discard(name)


def waiters(c, cases):
    """Each waiter finds what is there, and gives up on what is not."""
    for name, there, absent in cases:
        w = c.get_waiter(name)
        w.wait(**there, WaiterConfig=FAST)
        try:
            w.wait(**absent, WaiterConfig=FAST)
            problems.append(f"{name} finds {absent}")
        except WaiterError as e:
            check(f"{name}: the reason", "Max attempts exceeded" in str(e), e)


def users(c):
    for n in NAMES:
        c.create_user(UserName=n, Path="/staff/", Tags=TAGS)
        c.put_user_policy(UserName="ann", PolicyName=n, PolicyDocument=policy("s3:GetObject"))
        c.create_group(GroupName=n, Path="/teams/")
        c.put_group_policy(GroupName="ann", PolicyName=n, PolicyDocument=policy("s3:GetObject"))
        c.add_user_to_group(UserName="ann", GroupName=n)
        if n != "ann":
            c.add_user_to_group(UserName=n, GroupName="ann")
        c.create_policy(PolicyName=n, Path="/docs/", Description="<a> & 'b' \"c\"", PolicyDocument=policy("s3:GetObject"), Tags=TAGS)
        c.attach_user_policy(UserName="ann", PolicyArn=arn("policy/docs", n))
        c.attach_group_policy(GroupName="ann", PolicyArn=arn("policy/docs", n))
    for n in ("ann", "ben"):
        c.create_access_key(UserName="ann")
        c.create_policy_version(PolicyArn=arn("policy/docs", "ann"), PolicyDocument=policy("s3:" + n), SetAsDefault=n == "ben")
    c.tag_user(UserName="ann", Tags=[{"Key": "more", "Value": "x"}])
    c.untag_user(UserName="ann", TagKeys=["more"])
    c.put_user_permissions_boundary(UserName="ann", PermissionsBoundary=arn("policy/docs", "ben"))
    u = c.get_user(UserName="ann")["User"]
    check("the tags of a user", u["Tags"] == TAGS, u)
    check("the boundary", u["PermissionsBoundary"] == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn("policy/docs", "ben")}, u)
    check("the document", c.get_user_policy(UserName="ann", PolicyName="ann")["PolicyDocument"] == json.loads(policy("s3:GetObject")))
    check("the document", c.get_group_policy(GroupName="ann", PolicyName="ann")["PolicyDocument"] == json.loads(policy("s3:GetObject")))
    key = c.list_access_keys(UserName="ann")["AccessKeyMetadata"][0]["AccessKeyId"]
    c.update_access_key(UserName="ann", AccessKeyId=key, Status="Inactive")
    c.get_access_key_last_used(AccessKeyId=key)
    c.tag_policy(PolicyArn=arn("policy/docs", "ann"), Tags=[{"Key": "more", "Value": "x"}])
    c.untag_policy(PolicyArn=arn("policy/docs", "ann"), TagKeys=["more"])
    c.get_policy(PolicyArn=arn("policy/docs", "ann"))
    c.set_default_policy_version(PolicyArn=arn("policy/docs", "ann"), VersionId="v1")
    v = c.get_policy_version(PolicyArn=arn("policy/docs", "ann"), VersionId="v2")["PolicyVersion"]
    check("the second version", v["Document"] == json.loads(policy("s3:ann")) and not v["IsDefaultVersion"], v)
    refused("NoSuchEntity", c.get_user, UserName="nobody")
    refused("EntityAlreadyExists", c.create_user, UserName="ann")
    refused("DeleteConflict", c.delete_user, UserName="ann")
    refused("MalformedPolicyDocument", c.put_user_policy, UserName="ann", PolicyName="x", PolicyDocument="{}")
    refused("DeleteConflict", c.delete_policy_version, PolicyArn=arn("policy/docs", "ann"), VersionId="v1")


def roles(c):
    for n in NAMES:
        c.create_role(RoleName=n, Path="/robots/", Description="Ünïcode", AssumeRolePolicyDocument=trust(ACCOUNT), Tags=TAGS)
        c.put_role_policy(RoleName="ann", PolicyName=n, PolicyDocument=policy("s3:GetObject"))
        c.attach_role_policy(RoleName="ann", PolicyArn=arn("policy/docs", n))
        c.attach_role_policy(RoleName=n, PolicyArn=arn("policy/docs", "ann"))
        c.create_instance_profile(InstanceProfileName=n, Path="/machines/", Tags=TAGS)
        c.add_role_to_instance_profile(InstanceProfileName=n, RoleName="ann")
    c.tag_role(RoleName="ann", Tags=[{"Key": "more", "Value": "x"}])
    c.untag_role(RoleName="ann", TagKeys=["more"])
    c.tag_instance_profile(InstanceProfileName="ann", Tags=[{"Key": "more", "Value": "x"}])
    c.untag_instance_profile(InstanceProfileName="ann", TagKeys=["more"])
    c.put_role_permissions_boundary(RoleName="ann", PermissionsBoundary=arn("policy/docs", "ben"))
    c.update_role(RoleName="ann", Description="", MaxSessionDuration=7200)
    c.update_role_description(RoleName="ann", Description="again")
    c.update_assume_role_policy(RoleName="ann", PolicyDocument=trust({"Service": "ec2.amazonaws.com", "AWS": "*"}))
    r = c.get_role(RoleName="ann")["Role"]
    check("the role", (r["Description"], r["MaxSessionDuration"], r["Tags"]) == ("again", 7200, TAGS), r)
    check("the document", c.get_role_policy(RoleName="ann", PolicyName="ann")["PolicyDocument"] == json.loads(policy("s3:GetObject")))
    c.get_instance_profile(InstanceProfileName="ann")
    refused("MalformedPolicyDocument", c.create_role, RoleName="x", AssumeRolePolicyDocument=policy("s3:*"))
    refused("DeleteConflict", c.delete_role, RoleName="ann")
    refused("LimitExceeded", c.add_role_to_instance_profile, InstanceProfileName="ann", RoleName="ben")
    c.create_service_linked_role(AWSServiceName="elasticbeanstalk.amazonaws.com", Description="beans")
    task = c.delete_service_linked_role(RoleName="AWSServiceRoleForElasticBeanstalk")["DeletionTaskId"]
    check("the deletion", c.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] in ("SUCCEEDED", "IN_PROGRESS", "NOT_STARTED"))


def code(seed, later):
    """The code of RFC 6238 that a device shows so many half minutes later."""
    digest = hmac.digest(base64.b32decode(seed), struct.pack(">Q", int(time.time() // 30) + later), "sha1")
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1000000:06}"


def devices(c):
    seeds = {}
    for n in NAMES:
        device = c.create_virtual_mfa_device(VirtualMFADeviceName=n, Path="/phones/", Tags=TAGS)["VirtualMFADevice"]
        check("the picture of the seed", device["QRCodePNG"].startswith(b"\x89PNG"), device)
        serial, seeds[n] = device["SerialNumber"], device["Base32StringSeed"]
        refused("InvalidAuthenticationCode", c.enable_mfa_device, UserName="ann", SerialNumber=serial, AuthenticationCode1="123456", AuthenticationCode2="123456")
        c.enable_mfa_device(UserName="ann", SerialNumber=serial, AuthenticationCode1=code(seeds[n], -1), AuthenticationCode2=code(seeds[n], 0))
        c.get_mfa_device(UserName="ann", SerialNumber=serial)
    ann = arn("mfa/phones", "ann")
    c.resync_mfa_device(UserName="ann", SerialNumber=ann, AuthenticationCode1=code(seeds["ann"], 1), AuthenticationCode2=code(seeds["ann"], 2))
    c.tag_mfa_device(SerialNumber=ann, Tags=[{"Key": "more", "Value": "x"}])
    c.untag_mfa_device(SerialNumber=ann, TagKeys=["more"])
    everything(c, [
        ("list_mfa_devices", dict(UserName="ann")),
        ("list_mfa_device_tags", dict(SerialNumber=ann)),
        ("list_virtual_mfa_devices", dict(AssignmentStatus="Assigned")),
    ])
    refused("DeleteConflict", c.delete_virtual_mfa_device, SerialNumber=ann)
    for n in NAMES:
        c.deactivate_mfa_device(UserName="ann", SerialNumber=arn("mfa/phones", n))
        c.delete_virtual_mfa_device(SerialNumber=arn("mfa/phones", n))


def ssh_key():
    """A public key that nobody has the private one of."""
    blob = b""
    for part in (b"ssh-rsa", b"\1\0\1", b"\0\xff" + os.urandom(254) + b"\xff"):
        blob += struct.pack(">I", len(part)) + part
    return "ssh-rsa " + base64.b64encode(blob).decode()


def certificates(c):
    """Keys and certificates of ann, those of the example for Terraform and one more of each."""
    for body in (file("ssh.pub"), ssh_key()):
        c.upload_ssh_public_key(UserName="ann", SSHPublicKeyBody=body)
    key = c.list_ssh_public_keys(UserName="ann")["SSHPublicKeys"][0]["SSHPublicKeyId"]
    c.get_ssh_public_key(UserName="ann", SSHPublicKeyId=key, Encoding="PEM")
    c.update_ssh_public_key(UserName="ann", SSHPublicKeyId=key, Status="Inactive")
    refused("InvalidPublicKey", c.upload_ssh_public_key, UserName="ann", SSHPublicKeyBody="ssh-rsa AAAA")
    for body in ("signing.pem", "server.pem"):
        c.upload_signing_certificate(UserName="ann", CertificateBody=file(body))
    certificate = c.list_signing_certificates(UserName="ann")["Certificates"][0]["CertificateId"]
    c.update_signing_certificate(UserName="ann", CertificateId=certificate, Status="Inactive")
    refused("MalformedCertificate", c.upload_signing_certificate, UserName="ann", CertificateBody="x")
    for n in NAMES:
        c.upload_server_certificate(ServerCertificateName=n, Path="/cloudfront/", CertificateBody=file("server.pem"), PrivateKey=file("server.key"), Tags=TAGS)
    c.update_server_certificate(ServerCertificateName="cyd", NewServerCertificateName="Cyd", NewPath="/")
    c.get_server_certificate(ServerCertificateName="ann")
    c.tag_server_certificate(ServerCertificateName="ann", Tags=[{"Key": "more", "Value": "x"}])
    c.untag_server_certificate(ServerCertificateName="ann", TagKeys=["more"])
    for service in ("codecommit.amazonaws.com", "cassandra.amazonaws.com"):
        c.create_service_specific_credential(UserName="ann", ServiceName=service)
    credentials = c.list_service_specific_credentials(UserName="ann")["ServiceSpecificCredentials"]
    credential = dict(UserName="ann", ServiceSpecificCredentialId=credentials[0]["ServiceSpecificCredentialId"])
    c.update_service_specific_credential(**credential, Status="Inactive")
    c.reset_service_specific_credential(**credential)
    everything(c, [
        ("list_ssh_public_keys", dict(UserName="ann")),
        ("list_signing_certificates", dict(UserName="ann")),
        ("list_server_certificates", {}),
        ("list_server_certificate_tags", dict(ServerCertificateName="ann")),
    ])
    for key in c.list_ssh_public_keys(UserName="ann")["SSHPublicKeys"]:
        c.delete_ssh_public_key(UserName="ann", SSHPublicKeyId=key["SSHPublicKeyId"])
    for certificate in c.list_signing_certificates(UserName="ann")["Certificates"]:
        c.delete_signing_certificate(UserName="ann", CertificateId=certificate["CertificateId"])
    for certificate in c.list_server_certificates()["ServerCertificateMetadataList"]:
        c.delete_server_certificate(ServerCertificateName=certificate["ServerCertificateName"])
    for credential in credentials:
        c.delete_service_specific_credential(UserName="ann", ServiceSpecificCredentialId=credential["ServiceSpecificCredentialId"])


def passwords(c):
    refused("NoSuchEntity", c.get_account_password_policy)
    c.update_account_password_policy(MinimumPasswordLength=12, RequireNumbers=True, MaxPasswordAge=90, PasswordReusePrevention=2, AllowUsersToChangePassword=True)
    check("the policy", c.get_account_password_policy()["PasswordPolicy"]["ExpirePasswords"])
    refused("PasswordPolicyViolation", c.create_login_profile, UserName="ann", Password="too-short-1")
    check("the profile", c.create_login_profile(UserName="ann", Password="correct horse 1", PasswordResetRequired=True)["LoginProfile"]["PasswordResetRequired"])
    c.update_login_profile(UserName="ann", Password="correct horse 2", PasswordResetRequired=False)
    check("the profile", not c.get_login_profile(UserName="ann")["LoginProfile"]["PasswordResetRequired"])
    refused("EntityAlreadyExists", c.create_login_profile, UserName="ann", Password="correct horse 3")
    c.create_login_profile(UserName="ben", Password="battery staple 1")
    key = c.create_access_key(UserName="ben")["AccessKey"]
    c.put_user_policy(UserName="ben", PolicyName="own", PolicyDocument=policy("iam:ChangePassword"))
    ben = client("iam", boto3.Session(key["AccessKeyId"], key["SecretAccessKey"]))
    ben.change_password(OldPassword="battery staple 1", NewPassword="battery staple 2")
    refused("AccessDenied", ben.change_password, OldPassword="battery staple 1", NewPassword="battery staple 3")
    c.delete_user_policy(UserName="ben", PolicyName="own")
    c.delete_access_key(UserName="ben", AccessKeyId=key["AccessKeyId"])
    for n in ("ann", "ben"):
        c.delete_login_profile(UserName=n)
    refused("NoSuchEntity", c.get_login_profile, UserName="ann")
    c.delete_account_password_policy()


def account(c):
    c.create_account_alias(AccountAlias="storage-team")
    check("the alias", c.list_account_aliases()["AccountAliases"] == ["storage-team"])
    check("the alias, page by page", [a for page in c.get_paginator("list_account_aliases").paginate() for a in page["AccountAliases"]] == ["storage-team"])
    left.discard("list_account_aliases")  # there is at most one
    c.delete_account_alias(AccountAlias="storage-team")


def providers(c):
    c.create_open_id_connect_provider(Url="https://oidc.example.com/a", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40], Tags=TAGS)
    oidc = dict(OpenIDConnectProviderArn=arn("oidc-provider", "oidc.example.com/a"))
    c.add_client_id_to_open_id_connect_provider(**oidc, ClientID="more")
    c.remove_client_id_from_open_id_connect_provider(**oidc, ClientID="sts.amazonaws.com")
    c.update_open_id_connect_provider_thumbprint(**oidc, ThumbprintList=["b" * 40])
    c.tag_open_id_connect_provider(**oidc, Tags=[{"Key": "more", "Value": "x"}])
    c.untag_open_id_connect_provider(**oidc, TagKeys=["more"])
    p = c.get_open_id_connect_provider(**oidc)
    check("the provider", (p["ClientIDList"], p["ThumbprintList"], p["Tags"]) == (["more"], ["b" * 40], TAGS), p)
    check("the providers", c.list_open_id_connect_providers()["OpenIDConnectProviderList"] == [{"Arn": oidc["OpenIDConnectProviderArn"]}])
    everything(c, [("list_open_id_connect_provider_tags", oidc)])
    refused("EntityAlreadyExists", c.create_open_id_connect_provider, Url="https://oidc.example.com/a")
    c.delete_open_id_connect_provider(**oidc)
    refused("NoSuchEntity", c.get_open_id_connect_provider, **oidc)


def saml(c):
    saml = dict(SAMLProviderArn=c.create_saml_provider(Name="company", SAMLMetadataDocument=file("idp.xml"), Tags=TAGS)["SAMLProviderArn"])
    check("the provider", c.get_saml_provider(**saml)["SAMLMetadataDocument"] == file("idp.xml"))
    c.update_saml_provider(**saml, SAMLMetadataDocument=file("idp.xml"))
    c.tag_saml_provider(**saml, Tags=[{"Key": "more", "Value": "x"}])
    c.untag_saml_provider(**saml, TagKeys=["more"])
    check("the providers", [p["Arn"] for p in c.list_saml_providers()["SAMLProviderList"]] == [saml["SAMLProviderArn"]])
    everything(c, [("list_saml_provider_tags", saml)])
    refused("InvalidInput", c.create_saml_provider, Name="other", SAMLMetadataDocument="x" * 1000)
    c.delete_saml_provider(**saml)


def reports(c):
    user = arn("user/staff", "ann")
    job = c.generate_service_last_accessed_details(Arn=user, Granularity="ACTION_LEVEL")["JobId"]
    check("the services", [s["ServiceNamespace"] for s in c.get_service_last_accessed_details(JobId=job)["ServicesLastAccessed"]] == ["s3"])
    job = c.generate_service_last_accessed_details(Arn=user)["JobId"]
    c.get_service_last_accessed_details_with_entities(JobId=job, ServiceNamespace="s3")
    check("the policies", c.list_policies_granting_service_access(Arn=user, ServiceNamespaces=["s3"])["PoliciesGrantingServiceAccess"][0]["Policies"])
    c.get_account_summary()
    simulation = dict(ActionNames=["s3:GetObject", "s3:PutObject", "iam:GetUser"], ResourceArns=["arn:aws:s3:::b/k"])
    c.get_context_keys_for_custom_policy(PolicyInputList=[policy("s3:*", "arn:aws:s3:::${aws:username}")])
    c.get_context_keys_for_principal_policy(PolicySourceArn=arn("user/staff", "ann"))
    check("a deny", c.simulate_custom_policy(PolicyInputList=[policy("s3:Get*")], **simulation)["EvaluationResults"][1]["EvalDecision"] == "implicitDeny")
    everything(c, [
        ("simulate_custom_policy", dict(PolicyInputList=[policy("s3:Get*")], **simulation)),
        ("simulate_principal_policy", dict(PolicySourceArn=arn("user/staff", "ann"), **simulation)),
    ])


def lists(c):
    ann = arn("policy/docs", "ann")
    everything(c, [
        ("get_account_authorization_details", dict(Filter=["User", "Role", "Group", "LocalManagedPolicy"])),
        ("get_group", dict(GroupName="ann")),
        ("list_access_keys", dict(UserName="ann")),
        ("list_attached_group_policies", dict(GroupName="ann")),
        ("list_attached_role_policies", dict(RoleName="ann")),
        ("list_attached_user_policies", dict(UserName="ann")),
        ("list_entities_for_policy", dict(PolicyArn=ann)),
        ("list_group_policies", dict(GroupName="ann")),
        ("list_groups", dict(PathPrefix="/teams/")),
        ("list_groups_for_user", dict(UserName="ann")),
        ("list_instance_profiles", {}),
        ("list_instance_profiles_for_role", dict(RoleName="ann")),
        ("list_policies", dict(Scope="Local")),
        ("list_policy_versions", dict(PolicyArn=ann)),
        ("list_role_policies", dict(RoleName="ann")),
        ("list_roles", dict(PathPrefix="/robots/")),
        ("list_user_policies", dict(UserName="ann")),
        ("list_users", dict(PathPrefix="/staff/")),
        ("list_user_tags", dict(UserName="ann")),
        ("list_role_tags", dict(RoleName="ann")),
        ("list_policy_tags", dict(PolicyArn=ann)),
        ("list_instance_profile_tags", dict(InstanceProfileName="ann")),
    ])
    check("AWS's policies", len([p for page in c.get_paginator("list_policies").paginate(Scope="AWS") for p in page["Policies"]]) > 1000)
    waiters(c, [
        ("user_exists", dict(UserName="ann"), dict(UserName="nobody")),
        ("role_exists", dict(RoleName="ann"), dict(RoleName="nobody")),
        ("policy_exists", dict(PolicyArn=ann), dict(PolicyArn=ann + "x")),
        ("instance_profile_exists", dict(InstanceProfileName="ann"), dict(InstanceProfileName="nobody")),
    ])


def sessions(sts, iam):
    check("the caller", sts.get_caller_identity()["Arn"] == arn("user", "admin"))
    check("the account", sts.get_access_key_info(AccessKeyId=key["AccessKeyId"])["Account"] == MANAGEMENT)
    sts.get_session_token(DurationSeconds=900)
    sts.get_federation_token(Name="fed", Policy=policy("s3:*"), Tags=[{"Key": "a", "Value": "b"}])
    out = sts.assume_role(RoleArn=arn("role/robots", "ben"), RoleSessionName="me", SourceIdentity="me", Policy=policy("s3:*"))
    check("the session", out["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{MANAGEMENT}:assumed-role/ben/me" and out["SourceIdentity"] == "me" and out["PackedPolicySize"] > 0, out)
    k = out["Credentials"]
    session = boto3.Session(k["AccessKeyId"], k["SecretAccessKey"], k["SessionToken"]).client("iam")
    try:
        session.create_user(UserName="x")
        problems.append("a session may do more than its role")
    except ClientError as e:
        check("the refusal", e.response["Error"]["Code"] == "AccessDenied", e)
    refused("AccessDenied", sts.assume_role, RoleArn=arn("role", "nobody"), RoleSessionName="me")
    refused("MalformedPolicyDocument", sts.assume_role, RoleArn=arn("role/robots", "ben"), RoleSessionName="me", Policy="{}")
    refused("InvalidAuthorizationMessageException", sts.decode_authorization_message, EncodedMessage="x")


def organization(c, member, iam, sts):
    """An organisation with the accounts that there are and new ones."""
    refused("AWSOrganizationsNotInUseException", c.describe_organization)
    c.create_organization(FeatureSet="ALL")
    o = c.describe_organization()["Organization"]
    check("the organisation", (o["MasterAccountId"], o["FeatureSet"]) == (MANAGEMENT, "ALL"), o)
    root = c.list_roots()["Roots"][0]["Id"]
    refused("AlreadyInOrganizationException", c.create_organization)

    # Units and accounts.
    units = [c.create_organizational_unit(ParentId=root, Name=n, Tags=TAGS)["OrganizationalUnit"]["Id"] for n in NAMES]
    c.update_organizational_unit(OrganizationalUnitId=units[0], Name="Ann")
    c.describe_organizational_unit(OrganizationalUnitId=units[0])
    for n in NAMES:
        status = c.create_account(Email=n + "@example.com", AccountName=n, Tags=TAGS)["CreateAccountStatus"]
        c.describe_create_account_status(CreateAccountRequestId=status["Id"])
    made = [a["Id"] for page in c.get_paginator("list_accounts").paginate() for a in page["Accounts"] if a["Name"] in NAMES]
    check("the accounts", len(made) == 3, made)
    for account in made:
        c.move_account(AccountId=account, SourceParentId=root, DestinationParentId=units[0])
    c.describe_account(AccountId=made[0])
    check("the parent", c.list_parents(ChildId=made[0])["Parents"] == [{"Id": units[0], "Type": "ORGANIZATIONAL_UNIT"}])
    refused("OrganizationalUnitNotEmptyException", c.delete_organizational_unit, OrganizationalUnitId=units[0])

    # Invitations: one taken back, one declined, one accepted.
    invite = lambda: c.invite_account_to_organization(Target={"Type": "ACCOUNT", "Id": MEMBER}, Notes="come")["Handshake"]["Id"]
    c.cancel_handshake(HandshakeId=invite())
    member.decline_handshake(HandshakeId=invite())
    invitation = invite()
    member.describe_handshake(HandshakeId=invitation)
    member.accept_handshake(HandshakeId=invitation)
    check("the member", member.describe_organization()["Organization"]["Id"] == o["Id"])

    # Policies.
    for kind in ("SERVICE_CONTROL_POLICY", "RESOURCE_CONTROL_POLICY", "TAG_POLICY"):
        c.enable_policy_type(RootId=root, PolicyType=kind)
    c.disable_policy_type(RootId=root, PolicyType="RESOURCE_CONTROL_POLICY")
    deny = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "*"}]})
    policies = [c.create_policy(Name=n, Description="<&>", Type="SERVICE_CONTROL_POLICY", Content=deny, Tags=TAGS)["Policy"]["PolicySummary"]["Id"] for n in NAMES]
    c.describe_policy(PolicyId=policies[0])
    c.update_policy(PolicyId=policies[0], Description="again")
    for i, n in enumerate(NAMES):
        c.attach_policy(PolicyId=policies[0], TargetId=units[i])
        if i:
            c.attach_policy(PolicyId=policies[i], TargetId=units[0])
    refused("DuplicatePolicyAttachmentException", c.attach_policy, PolicyId=policies[0], TargetId=units[0])
    refused("PolicyInUseException", c.delete_policy, PolicyId=policies[0])
    refused("MalformedPolicyDocumentException", c.create_policy, Name="x", Description="", Type="SERVICE_CONTROL_POLICY", Content="{}")
    tags = c.create_policy(Name="tags", Description="", Type="TAG_POLICY", Content=json.dumps({"tags": {"team": {"tag_key": {"@@assign": "Team"}}}}))["Policy"]["PolicySummary"]["Id"]
    c.attach_policy(PolicyId=tags, TargetId=units[0])
    c.describe_effective_policy(PolicyType="TAG_POLICY", TargetId=made[0])
    c.list_accounts_with_invalid_effective_policy(PolicyType="TAG_POLICY")
    c.list_effective_policy_validation_errors(AccountId=made[0], PolicyType="TAG_POLICY")
    for name in ("list_accounts_with_invalid_effective_policy", "list_effective_policy_validation_errors"):
        left.discard(name)  # what is invalid is refused when it is written

    # Services and those who administer them.
    for n in NAMES[:2]:
        c.enable_aws_service_access(ServicePrincipal=f"{SERVICES[n]}.amazonaws.com")
        for account in made[:2]:
            c.register_delegated_administrator(AccountId=account, ServicePrincipal=f"{SERVICES[n]}.amazonaws.com")
    c.put_resource_policy(Content=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{MEMBER}:root"}, "Action": "organizations:ListAccounts", "Resource": "*"}]}), Tags=TAGS)
    c.describe_resource_policy()
    member.list_accounts()
    c.tag_resource(ResourceId=made[0], Tags=[{"Key": "more", "Value": "x"}])
    c.untag_resource(ResourceId=made[0], TagKeys=["more"])
    check("the tags", c.list_tags_for_resource(ResourceId=made[0])["Tags"] == TAGS)

    scp = dict(Filter="SERVICE_CONTROL_POLICY")
    everything(c, [
        ("list_accounts", {}),
        ("list_accounts_for_parent", dict(ParentId=units[0])),
        ("list_children", dict(ParentId=root, ChildType="ORGANIZATIONAL_UNIT")),
        ("list_create_account_status", {}),
        ("list_handshakes_for_organization", {}),
        ("list_organizational_units_for_parent", dict(ParentId=root)),
        ("list_policies", scp),
        ("list_targets_for_policy", dict(PolicyId=policies[0])),
        ("list_aws_service_access_for_organization", {}),
        ("list_delegated_administrators", {}),
        ("list_delegated_services_for_account", dict(AccountId=made[0])),
    ])
    everything(member, [("list_handshakes_for_account", {})])
    for name, parameters in (("list_parents", dict(ChildId=made[0])), ("list_policies_for_target", dict(TargetId=units[0], **scp)), ("list_roots", {}), ("list_tags_for_resource", dict(ResourceId=made[0]))):
        # One page, always.
        check(name, len(list(c.get_paginator(name).paginate(**parameters))) == 1)
        left.discard(name)

    job = iam.generate_organizations_access_report(EntityPath=f"{o['Id']}/{root}")["JobId"]
    iam.get_organizations_access_report(JobId=job)
    refused("NoSuchEntity", iam.get_organizations_access_report, JobId="0" * 36)
    root_access(c, iam, sts)

    # And away.
    c.delete_resource_policy()
    for n in NAMES[:2]:
        for account in made[:2]:
            c.deregister_delegated_administrator(AccountId=account, ServicePrincipal=f"{SERVICES[n]}.amazonaws.com")
        c.disable_aws_service_access(ServicePrincipal=f"{SERVICES[n]}.amazonaws.com")
    c.detach_policy(PolicyId=tags, TargetId=units[0])
    c.delete_policy(PolicyId=tags)
    for i, p in enumerate(policies):
        c.detach_policy(PolicyId=policies[0], TargetId=units[i])
        if i:
            c.detach_policy(PolicyId=p, TargetId=units[0])
    for p in policies:
        c.delete_policy(PolicyId=p)
    c.close_account(AccountId=made[0])
    for account in made[1:]:
        c.remove_account_from_organization(AccountId=account)
    member.leave_organization()
    for u in units[1:]:
        c.delete_organizational_unit(OrganizationalUnitId=u)
    refused("OrganizationNotEmptyException", c.delete_organization)  # the closed account stays

    # Another one begins with less, and gets the rest.
    member.create_organization(FeatureSet="CONSOLIDATED_BILLING")
    member.enable_all_features()
    member.delete_organization()


def root_access(c, iam, sts):
    """The root users of members, in the hands of the organisation."""
    c.enable_aws_service_access(ServicePrincipal="iam.amazonaws.com")
    iam.enable_organizations_root_credentials_management()
    iam.enable_organizations_root_sessions()
    check("the features", sorted(iam.list_organizations_features()["EnabledFeatures"]) == ["RootCredentialsManagement", "RootSessions"])
    sts.assume_root(TargetPrincipal=MEMBER, TaskPolicyArn={"arn": "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials"}, DurationSeconds=900)
    refused("ValidationError", sts.assume_root, TargetPrincipal=MEMBER, TaskPolicyArn={"arn": "arn:aws:iam::aws:policy/AdministratorAccess"})
    iam.disable_organizations_root_sessions()
    iam.disable_organizations_root_credentials_management()
    c.disable_aws_service_access(ServicePrincipal="iam.amazonaws.com")


def credential_report(c):
    refused("ReportNotPresent", c.get_credential_report)
    while c.generate_credential_report()["State"] != "COMPLETE":
        pass
    report = c.get_credential_report()
    check("the report", report["Content"].startswith(b"user,arn,user_creation_time,"), report)


def outbound(c, sts):
    check("the issuer", c.enable_outbound_web_identity_federation()["IssuerIdentifier"].startswith("http"))
    check("the switch", c.get_outbound_web_identity_federation_info()["JwtVendingEnabled"])
    token = sts.get_web_identity_token(Audience=["api"], SigningAlgorithm="ES384")["WebIdentityToken"]
    check("the token", token.count(".") == 2, token)
    c.disable_outbound_web_identity_federation()


def preferences(c):
    c.list_delegation_requests()
    c.set_security_token_service_preferences(GlobalEndpointTokenVersion="v2Token")
    check("the version", c.get_account_summary()["SummaryMap"]["GlobalEndpointTokenVersion"] == 2)
    c.set_security_token_service_preferences(GlobalEndpointTokenVersion="v1Token")


def delegation(c, sts, told):
    """A request of the product provider that this account is, approved by itself."""
    def ask(workflow):
        return c.create_delegation_request(
            OwnerAccountId=MANAGEMENT, Description="Setup", RequestorWorkflowId=workflow, SessionDuration=3600,
            NotificationChannel=f"arn:aws:sns:us-east-1:{MANAGEMENT}:delegations", RedirectUrl="https://example.com/back",
            Permissions={"PolicyTemplateArn": "arn:aws:iam:::delegation-template/setup",
                         "Parameters": [{"Name": "prefix", "Type": "string", "Values": ["team-"]}]})["DelegationRequestId"]

    one, two = ask("workflow-1"), ask("workflow-2")
    refused("EntityAlreadyExists", c.create_delegation_request, Description="Setup", RequestorWorkflowId="workflow-1", SessionDuration=3600,
            NotificationChannel=f"arn:aws:sns:us-east-1:{MANAGEMENT}:delegations",
            Permissions={"PolicyTemplateArn": "arn:aws:iam:::delegation-template/setup", "Parameters": [{"Name": "prefix", "Type": "string", "Values": ["x"]}]})
    for n in (one, two):
        c.associate_delegation_request(DelegationRequestId=n)
    c.update_delegation_request(DelegationRequestId=two, Notes="see to it")
    c.reject_delegation_request(DelegationRequestId=two, Notes="no")
    got = c.get_delegation_request(DelegationRequestId=one, DelegationPermissionCheck=True)
    check("the permission check", got["PermissionCheckResult"] == "ALLOWED", got)
    check("the policy", "team-*" in got["DelegationRequest"]["PermissionPolicy"], got)
    summary = c.get_human_readable_summary(EntityArn=arn("delegation-request", one))
    check("the summary", "iam:GetUser" in summary["SummaryContent"], summary)
    c.accept_delegation_request(DelegationRequestId=one)
    c.send_delegation_token(DelegationRequestId=one)
    states = {r["DelegationRequestId"]: r["State"] for r in c.list_delegation_requests()["DelegationRequests"]}
    check("the states", states == {one: "FINALIZED", two: "REJECTED"}, states)
    with open(told) as f:
        messages = [json.loads(json.loads(line)["Message"]) for line in f]
    token = next(m["ExchangeToken"] for m in messages if m["Type"] == "ExchangeToken")
    got = sts.get_delegated_access_token(TradeInToken=token)
    k = got["Credentials"]
    delegate = boto3.Session(k["AccessKeyId"], k["SecretAccessKey"], k["SessionToken"]).client("iam")
    refused("NoSuchEntity", delegate.get_user, UserName="team-nobody")
    refused("AccessDenied", delegate.get_user, UserName="admin")


def gone(c):
    """Deletes what the others made, which needs everything to come off first."""
    for n in NAMES:
        c.remove_role_from_instance_profile(InstanceProfileName=n, RoleName="ann")
        c.delete_instance_profile(InstanceProfileName=n)
        c.detach_role_policy(RoleName="ann", PolicyArn=arn("policy/docs", n))
        if n != "ann":
            c.detach_role_policy(RoleName=n, PolicyArn=arn("policy/docs", "ann"))
        c.delete_role_policy(RoleName="ann", PolicyName=n)
        c.delete_user_policy(UserName="ann", PolicyName=n)
        c.delete_group_policy(GroupName="ann", PolicyName=n)
        c.remove_user_from_group(UserName="ann", GroupName=n)
        if n != "ann":
            c.remove_user_from_group(UserName=n, GroupName="ann")
        c.detach_user_policy(UserName="ann", PolicyArn=arn("policy/docs", n))
        c.detach_group_policy(GroupName="ann", PolicyArn=arn("policy/docs", n))
    for key in c.list_access_keys(UserName="ann")["AccessKeyMetadata"]:
        c.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
    c.delete_user_permissions_boundary(UserName="ann")
    c.delete_role_permissions_boundary(RoleName="ann")
    for version in ("v2", "v3"):
        c.delete_policy_version(PolicyArn=arn("policy/docs", "ann"), VersionId=version)
    c.update_user(UserName="cyd", NewUserName="Cyd", NewPath="/")
    c.update_group(GroupName="cyd", NewGroupName="Cyd", NewPath="/")
    check("the renamed", c.get_user(UserName="Cyd")["User"]["Path"] == "/")
    for n in NAMES:
        c.delete_role(RoleName=n)
        c.delete_user(UserName=n if n != "cyd" else "Cyd")
        c.delete_group(GroupName=n if n != "cyd" else "Cyd")
        c.delete_policy(PolicyArn=arn("policy/docs", n))


root = boto3.Session(profile_name="root-" + MANAGEMENT)
iam = client("iam", root)
iam.create_user(UserName="admin")
iam.attach_user_policy(UserName="admin", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
key = iam.create_access_key(UserName="admin")["AccessKey"]
admin = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
iam, sts, organizations = client("iam", admin), client("sts", admin), client("organizations", admin)

# The paginators that are still to be gone through, of operations that are served.
declined = {line.split()[0] for file in sys.argv[1:-1] for line in open(file) if line.strip() and not line.startswith("#")}
left = {xform for c in (iam, sts, organizations) for name, xform in ((c.meta.method_to_api_mapping[m], m) for m in c.meta.method_to_api_mapping)
        if c.can_paginate(xform) and name not in declined}


def serves(operation):
    return operation not in declined


for part in (users, roles):
    part(iam)
lists(iam)
devices(iam)
certificates(iam)
passwords(iam)
account(iam)
providers(iam)
saml(iam)
credential_report(iam)
if serves("GetOutboundWebIdentityFederationInfo"):
    outbound(iam, sts)
if serves("SetSecurityTokenServicePreferences"):
    preferences(iam)
delegation(iam, sts, sys.argv[-1])
reports(iam)
sessions(sts, iam)
organization(organizations, client("organizations", boto3.Session(profile_name="root-" + MEMBER)), iam, sts)
gone(iam)

for c in (iam, sts, organizations):
    service = c.meta.service_model.service_name
    for name in sorted(set(c.meta.service_model.operation_names) - declined - called[service] - set(UNREACHED)):
        problems.append(f"{service} {name} is served and was never called with success")
for name in sorted(left):
    problems.append(f"the paginator {name} was not gone through")

problems = unknown(problems)
for p in problems:
    print(p)
print(sum(len(c) for c in called.values()), "operations were called,", len(problems), "problems")
sys.exit(bool(problems))
