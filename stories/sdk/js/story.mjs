// The story of AssumeRole with the AWS SDK for JavaScript v3; see ../README.md.
// Settings are in the environment.

import assert from "node:assert/strict";
import {
  IAMClient, AddUserToGroupCommand, CreateAccessKeyCommand, CreateRoleCommand, CreateUserCommand, DeleteUserCommand,
  DeleteUserPolicyCommand, DeleteConflictException, EntityAlreadyExistsException, GetRoleCommand, GetUserCommand,
  GetUserPolicyCommand, LimitExceededException, ListUsersCommand, MalformedPolicyDocumentException,
  NoSuchEntityException, PutRolePolicyCommand, PutUserPolicyCommand, paginateListUsers, waitUntilRoleExists,
  waitUntilUserExists,
} from "@aws-sdk/client-iam";
import {
  S3Client, BucketAlreadyOwnedByYou, CreateBucketCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command,
  NoSuchBucket, NoSuchKey, NotFound, PutObjectCommand, paginateListObjectsV2, waitUntilBucketExists,
  waitUntilObjectExists,
} from "@aws-sdk/client-s3";
import {
  STSClient, AssumeRoleCommand, GetCallerIdentityCommand,
  MalformedPolicyDocumentException as STSMalformedPolicyDocumentException,
} from "@aws-sdk/client-sts";
import { fromIni, fromTemporaryCredentials } from "@aws-sdk/credential-providers";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const A = "111122223333", B = "444455556666";
const ROLE = `arn:aws:iam::${A}:role/Reader`;

const allow = (action, resource) =>
  JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: action, Resource: resource }] });
const trust = (principal) =>
  JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Principal: { AWS: principal }, Action: "sts:AssumeRole" }] });

// The command must be refused under this name, as this class if one is given; returns the message.
async function refused(name, client, command, type) {
  const error = await client.send(command).then(
    (out) => assert.fail(`${command.constructor.name} is not refused: ${JSON.stringify(out)}`),
    (error) => error,
  );
  assert.equal(error.name, name, `${command.constructor.name}: ${error}`);
  if (type) assert.ok(error instanceof type, `${command.constructor.name}: ${error.constructor.name}`);
  assert.ok(error.$metadata.httpStatusCode >= 400 && error.$metadata.httpStatusCode < 500, `${error}`);
  return error.message;
}

const a = { credentials: fromIni({ profile: "root-" + A }) };
const b = { credentials: fromIni({ profile: "root-" + B }) };
const wait = (client) => ({ client, maxWaitTime: 30, minDelay: 1, maxDelay: 1 });

// The two halves: a bucket and a role in A that trusts B; a user of B.
const s3 = new S3Client(a);
await s3.send(new CreateBucketCommand({ Bucket: "reports" }));
await waitUntilBucketExists(wait(s3), { Bucket: "reports" });
await s3.send(new PutObjectCommand({ Bucket: "reports", Key: "q3.txt", Body: "all is well", Metadata: { team: "storage" } }));
await waitUntilObjectExists(wait(s3), { Bucket: "reports", Key: "q3.txt" });
const ours = new IAMClient(a);
await ours.send(new CreateRoleCommand({ RoleName: "Reader", AssumeRolePolicyDocument: trust(`arn:aws:iam::${B}:root`) }));
await waitUntilRoleExists(wait(ours), { RoleName: "Reader" });
await ours.send(new PutRolePolicyCommand({
  RoleName: "Reader", PolicyName: "read",
  PolicyDocument: allow(["s3:GetObject", "s3:ListBucket"], ["arn:aws:s3:::reports", "arn:aws:s3:::reports/*"]),
}));

const iam = new IAMClient(b);
await iam.send(new CreateUserCommand({ UserName: "alice", Path: "/people/", Tags: [{ Key: "team", Value: "störage" }] }));
await waitUntilUserExists(wait(iam), { UserName: "alice" });
await assert.rejects(waitUntilUserExists({ client: iam, maxWaitTime: 2, minDelay: 1, maxDelay: 1 }, { UserName: "nobody" }), { name: "TimeoutError" });
const { AccessKey: key } = await iam.send(new CreateAccessKeyCommand({ UserName: "alice" }));
const alice = { credentials: { accessKeyId: key.AccessKeyId, secretAccessKey: key.SecretAccessKey } };
const sts = new STSClient(alice);
const who = await sts.send(new GetCallerIdentityCommand({}));
assert.deepEqual([who.Account, who.Arn], [B, `arn:aws:iam::${B}:user/people/alice`]);

// Without B's half nothing goes.
const assume = { RoleArn: ROLE, RoleSessionName: "alice" };
assert.equal(await refused("AccessDenied", sts, new AssumeRoleCommand(assume)),
  `User: ${who.Arn} is not authorized to perform: sts:AssumeRole on resource: ${ROLE}`);
await refused("AccessDenied", new S3Client(alice), new GetObjectCommand({ Bucket: "reports", Key: "q3.txt" }));
assert.match(await refused("AccessDenied", new IAMClient(alice), new ListUsersCommand({})),
  /is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::444455556666:user\/ because no identity-based policy allows the iam:ListUsers action$/);

// With it, what the role's policy says. The SDK assumes the role by itself.
const may = { UserName: "alice", PolicyName: "may" };
await iam.send(new PutUserPolicyCommand({ ...may, PolicyDocument: allow("sts:AssumeRole", ROLE) }));
const session = { credentials: fromTemporaryCredentials({ masterCredentials: alice.credentials, params: { ...assume, DurationSeconds: 900 } }) };
const left = (await session.credentials()).expiration - Date.now();
assert.ok(left > 14 * 60_000 && left <= 15 * 60_000 + 5_000, `the session expires in ${left} ms`);
assert.equal((await new STSClient(session).send(new GetCallerIdentityCommand({}))).Arn, `arn:aws:sts::${A}:assumed-role/Reader/alice`);
const reader = new S3Client(session);
const got = await reader.send(new GetObjectCommand({ Bucket: "reports", Key: "q3.txt" }));
assert.deepEqual([await got.Body.transformToString(), got.Metadata], ["all is well", { team: "storage" }]);
await refused("AccessDenied", reader, new PutObjectCommand({ Bucket: "reports", Key: "q4.txt", Body: new Uint8Array() }));
await refused("AccessDenied", new IAMClient(session), new GetRoleCommand({ RoleName: "Reader" }));

// A session policy takes away, and a stale half ends it.
const narrow = new S3Client({ credentials: fromTemporaryCredentials({ masterCredentials: alice.credentials, params: { ...assume, Policy: allow("s3:ListBucket", "*") } }) });
await narrow.send(new ListObjectsV2Command({ Bucket: "reports" }));
await refused("AccessDenied", narrow, new GetObjectCommand({ Bucket: "reports", Key: "q3.txt" }));
await iam.send(new DeleteUserPolicyCommand(may));
await refused("AccessDenied", sts, new AssumeRoleCommand(assume));
await iam.send(new PutUserPolicyCommand({ ...may, PolicyDocument: allow("sts:AssumeRole", ROLE) }));
await sts.send(new AssumeRoleCommand(assume));

// Errors are the classes that the SDK documents.
await refused("NoSuchEntityException", iam, new GetUserCommand({ UserName: "nobody" }), NoSuchEntityException);
await refused("NoSuchEntityException", iam, new AddUserToGroupCommand({ UserName: "alice", GroupName: "none" }), NoSuchEntityException);
await refused("EntityAlreadyExistsException", iam, new CreateUserCommand({ UserName: "Alice" }), EntityAlreadyExistsException);
await refused("DeleteConflictException", iam, new DeleteUserCommand({ UserName: "alice" }), DeleteConflictException);
await refused("MalformedPolicyDocumentException", iam, new PutUserPolicyCommand({ ...may, PolicyDocument: "{}" }), MalformedPolicyDocumentException);
await iam.send(new CreateAccessKeyCommand({ UserName: "alice" }));
await refused("LimitExceededException", iam, new CreateAccessKeyCommand({ UserName: "alice" }), LimitExceededException);
await refused("ValidationError", iam, new CreateUserCommand({ UserName: "no spaces" }));
await refused("MalformedPolicyDocumentException", sts, new AssumeRoleCommand({ ...assume, Policy: "{}" }), STSMalformedPolicyDocumentException);
await refused("NoSuchKey", s3, new GetObjectCommand({ Bucket: "reports", Key: "absent" }), NoSuchKey);
await refused("NoSuchBucket", s3, new ListObjectsV2Command({ Bucket: "absent-" + A }), NoSuchBucket);
await refused("BucketAlreadyOwnedByYou", new S3Client({ ...a, region: "eu-west-1" }),
  new CreateBucketCommand({ Bucket: "reports", CreateBucketConfiguration: { LocationConstraint: "eu-west-1" } }), BucketAlreadyOwnedByYou);
await refused("NotFound", s3, new HeadObjectCommand({ Bucket: "reports", Key: "absent" }), NotFound);
const k = (await sts.send(new AssumeRoleCommand(assume))).Credentials;
for (const [name, accessKeyId, secretAccessKey, sessionToken] of [
  ["InvalidClientTokenId", "AKIAIOSFODNN7EXAMPLE", "x"],
  ["SignatureDoesNotMatch", key.AccessKeyId, "x"],
  ["InvalidClientTokenId", k.AccessKeyId, k.SecretAccessKey, k.SessionToken.slice(0, -8) + "AAAAAAAA"],
]) {
  await refused(name, new STSClient({ credentials: { accessKeyId, secretAccessKey, sessionToken } }), new GetCallerIdentityCommand({}));
}

// Pages, of users and of objects.
const names = [0, 1, 2, 3, 4].map((i) => "page" + i);
for (const name of names) {
  await iam.send(new CreateUserCommand({ UserName: name, Path: "/pages/" }));
  await s3.send(new PutObjectCommand({ Bucket: "reports", Key: "pages/" + name, Body: new Uint8Array() }));
}
let pages = [];
for await (const page of paginateListUsers({ client: iam, pageSize: 2 }, { PathPrefix: "/pages/" })) pages.push(page.Users.map((u) => u.UserName));
assert.deepEqual(pages, [names.slice(0, 2), names.slice(2, 4), names.slice(4)]);
pages = [];
for await (const page of paginateListObjectsV2({ client: reader, pageSize: 2 }, { Bucket: "reports", Prefix: "pages/" })) pages.push(page.Contents.map((o) => o.Key.slice(6)));
assert.deepEqual(pages, [names.slice(0, 2), names.slice(2, 4), names.slice(4)]);

// Documents come percent-encoded, tags and times as they are.
const { PolicyDocument: document } = await iam.send(new GetUserPolicyCommand(may));
assert.equal(decodeURIComponent(document), allow("sts:AssumeRole", ROLE));
const { User: user } = await iam.send(new GetUserCommand({ UserName: "alice" }));
assert.deepEqual(user.Tags, [{ Key: "team", Value: "störage" }]);
assert.ok(Math.abs(user.CreateDate - Date.now()) < 600_000, `made ${user.CreateDate}`);

// A URL that is enough by itself, for its object only.
const url = await getSignedUrl(reader, new GetObjectCommand({ Bucket: "reports", Key: "q3.txt" }), { expiresIn: 60 });
assert.equal(await (await fetch(url)).text(), "all is well");
assert.equal((await fetch(url.replace("q3.txt", "pages/page0"))).status, 403);

console.log("the story went as told, with the AWS SDK for JavaScript v3 on Node.js", process.version);
