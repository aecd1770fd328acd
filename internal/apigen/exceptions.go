package main

// Where the model is wrong for us, or silent. Every row has its reason, and a row
// that changes nothing fails the generation: the model has then become right.

// An exception names a member, an operation or a shape of a service.
type exception struct {
	Service string
	Name    string // "CreateRoleInput.Path", "ListDirectoryBuckets", "BucketLocationConstraint"
	Value   string
	Reason  string
}

// global services have one endpoint for all regions.
var global = []exception{
	{"iam", "", "", "credentials are scoped to us-east-1 whatever the caller's region"},
	{"organizations", "", "", "as iam: one endpoint, in us-east-1"},
}

// quiet services do not repeat the caller's value in ValidationError.
var quiet = []exception{
	{"iam", "", "", "recorded in 2026: Value at 'tags' failed to satisfy constraint"},
}

// capital services write an error's text into Message.
var capital = []exception{
	{"organizations", "", "", "the member of all its errors, beside Reason"},
	{"lambda", "", "", "seen with errors that the model does not list: AccessDeniedException"},
}

// reasons are the errors by which services that do not say ValidationException tell
// what is wrong with an input: the first fault, by a reason.
var reasons = []exception{
	{"organizations", "", "InvalidInputException", "seen: You provided a value that does not match the required pattern."},
}

// sentences are what IAM says of a value outside its pattern, by pattern or by
// member, where it does not print the pattern. They come after all other constraints.
var sentences = []exception{
	{"iam", `[\w+=,.@-]+`, "It must contain only alphanumeric characters and/or the following: +=,.@_-",
		"names of users, groups, roles, policies, profiles"},
	{"iam", `(\u002F)|(\u002F[\u0021-\u007E]+\u002F)`, "It must begin and end with / and contain only alphanumeric characters and/or / characters.",
		"recorded for paths"},
	{"iam", `((/[A-Za-z0-9\.,\+@=_-]+)*)/`, "It must begin and end with / and contain only alphanumeric characters and/or / characters.",
		"the stricter path of managed policies"},
	{"iam", `\u002F[\u0021-\u007F]*`, "It must begin with the / character and contain only alphanumeric characters and/or / characters.",
		"the PathPrefix of lists"},
	{"iam", "*.AccessKeyId", "It must contain only alphanumeric characters.", "seen for UpdateAccessKey"},
}

// elementNotNull lists print "Member must not be null" among what their elements must be.
var elementNotNull = []exception{
	{"iam", "*.TagKeys", "", "recorded for UntagRole and UntagPolicy, and not for the other lists"},
}

// missing members are reported absent with MissingParameter, not with ValidationError.
var missing = []exception{
	{"iam", "GetRoleInput.RoleName", "", "GetRole differs from the other operations here"},
}

// encoded shapes are percent-encoded (RFC 3986) in answers, so that handlers and the
// store keep them plain and none can be forgotten.
var encoded = []exception{
	{"iam", "policyDocumentType", "", "policy documents in answers; in requests they are plain"},
}

// secret members must not be recorded, though the model does not mark them sensitive.
var secret = []exception{
	{"sts", "Credentials.SessionToken", "", "CloudTrail prints it; a record of ours never holds what opens a session"},
	{"sts", "*.TokenCode", "", "a code that was refused may be a right one with a wrong serial number"},
	{"ssm", "*.TokenValue", "", "it opens a session, as a session token does"},
	{"iam", "*.AuthenticationCode1", "", "as TokenCode"},
	{"iam", "*.AuthenticationCode2", "", "as TokenCode"},
	{"cloudformation", "*.ParameterValue", "", "a parameter with NoEcho is a secret, and the call does not tell which have it"},
	{"cloudformation", "*.TemplateBody", "", "CloudTrail does not print it; templates may hold secrets"},
	{"codebuild", "EnvironmentVariable.value", "", plaintext},
	{"codebuild", "*.buildspec", "", "it has plaintext variables, too"},
	{"codebuild", "*.buildspecOverride", "", "as Buildspec"},
	{"codepipeline", "*.configuration", "", "tokens of source providers, parameters of stacks and variables of builds are in it"},
	{"codepipeline", "*.continuationToken", "", "what a function keeps in it is its own"},
	{"dynamodb", "*.Item", "", items},
	{"dynamodb", "*.ExpressionAttributeValues", "", items},
	{"dynamodb", "*.Expected", "", items},
	{"dynamodb", "*.AttributeUpdates", "", items},
	{"dynamodb", "*.KeyConditions", "", items},
	{"dynamodb", "*.QueryFilter", "", items},
	{"dynamodb", "*.ScanFilter", "", items},
	{"dynamodb", "*.Statement", "", items},
	{"dynamodb", "*.Parameters", "", items},
}

const plaintext = "a variable in plaintext may be a secret all the same"

const items = "CloudTrail's data events of DynamoDB hold keys and names of attributes, and no values"

// recorded members have another name in CloudTrail's records than in the model.
var recorded = []exception{
	{"s3", "*.Bucket", "bucketName", "as S3's data events have it"},
}

// An added member is one that newer clients know and our release of the models does not.
type addedMember struct {
	Service, Struct, After, Field, Reason string
}

const (
	newSTS       = "session token sizes, in aws-sdk-go-v2 service/sts v1.51"
	newSimulator = "service control policies and exclusions in simulations, in aws-sdk-go-v2 service/iam v1.64"
	newTemplates = "the role template that a role was made from, in aws-sdk-go-v2 service/iam v1.64"
)

var added = []addedMember{
	{"iam", "SimulateCustomPolicyInput", "PermissionsBoundaryPolicyInputList",
		"OrderedOrganizationPolicyInputList []struct{\nServiceControlPolicyInputList []string `emin:\"1\" emax:\"131072\"`\n}", newSimulator},
	{"iam", "SimulatePrincipalPolicyInput", "PermissionsBoundaryPolicyInputList",
		"PolicyExclusionList []struct{\nPolicyType string `enum:\"inline|aws-managed|user-managed|permission-boundary|scp|rcp\"`\nPolicyArn string\n" +
			"InlinePolicyIdentifier *struct{\nPolicyName string `wire:\",req\"`\nAttachmentType string `wire:\",req\" enum:\"user|group|role\"`\nAttachmentName string `wire:\",req\"`\n}\n}", newSimulator},
	{"iam", "Role", "RoleLastUsed", "SourceRoleTemplate *struct{\nTemplateArn string `wire:\",req\"`\nTemplateMinorVersion int32 `wire:\",always\"`\n}", newTemplates},
	{"sts", "AssumeRoleInput", "ExternalId", "MinimumSessionTokenSize *int32 `min:\"0\" max:\"4096\"`", newSTS},
	{"sts", "AssumeRoleWithSAMLInput", "DurationSeconds", "MinimumSessionTokenSize *int32 `min:\"0\" max:\"4096\"`", newSTS},
	{"sts", "AssumeRoleWithWebIdentityInput", "DurationSeconds", "MinimumSessionTokenSize *int32 `min:\"0\" max:\"4096\"`", newSTS},
	{"sts", "AssumeRootInput", "DurationSeconds", "MinimumSessionTokenSize *int32 `min:\"0\" max:\"4096\"`", newSTS},
	{"sts", "GetFederationTokenInput", "Tags", "MinimumSessionTokenSize *int32 `min:\"0\" max:\"4096\"`", newSTS},
	{"sts", "GetSessionTokenInput", "TokenCode", "MinimumSessionTokenSize *int32 `min:\"0\" max:\"4096\"`", newSTS},
	{"sts", "AssumeRootOutput", "SourceIdentity", "SessionTokenSize, SessionTokenUtilization int32", newSTS},
	{"sts", "GetFederationTokenOutput", "PackedPolicySize", "SessionTokenSize, SessionTokenUtilization int32", newSTS},
	{"sts", "GetSessionTokenOutput", "Credentials", "SessionTokenSize, SessionTokenUtilization int32", newSTS},
	{"sts", "AssumeRoleOutput", "PackedPolicySize", "SessionTokenSize, SessionTokenUtilization int32", newSTS},
	{"sts", "AssumeRoleWithSAMLOutput", "PackedPolicySize", "SessionTokenSize, SessionTokenUtilization int32", newSTS},
	{"sts", "AssumeRoleWithWebIdentityOutput", "PackedPolicySize", "SessionTokenSize, SessionTokenUtilization int32", newSTS},
}

// pointer members are strings where absent and empty must be told apart.
var pointer = []exception{
	{"iam", "UpdateRoleInput.Description", "", "absent leaves the description, empty removes it"},
	{"lambda", "UpdateAliasInput.Description", "", "absent leaves the description, empty removes it"},
	{"lambda", "UpdateFunctionConfigurationInput.Description", "", "absent leaves the description, empty removes it"},
	{"organizations", "UpdatePolicyInput.Description", "", "absent leaves the description, empty removes it"},
	{"s3", "LifecycleRuleFilter.Prefix", "", "an empty prefix is a filter that matches everything"},
	{"s3", "LifecycleRule.Prefix", "", "the old form of the filter: present and empty is not absent"},
	{"s3", "ReplicationRuleFilter.Prefix", "", "an empty prefix is a filter that matches everything"},
	{"s3", "ReplicationRule.Prefix", "", "its presence makes the configuration one of the first version"},
}

// always members are written though zero. Required members are in any case.
var always = []exception{
	{"cloudformation", "Stack.DisableRollback", "", "false is written"},
	{"cloudformation", "TemplateParameter.NoEcho", "", "false is written"},
	{"cloudformation", "ParameterDeclaration.NoEcho", "", "false is written"},
	{"cloudformation", "DescribeChangeSetOutput.IncludeNestedStacks", "", "recorded: false is written"},
	{"cloudformation", "ChangeSetSummary.IncludeNestedStacks", "", "recorded: false is written"},
	{"iam", "*.IsTruncated", "", "recorded: every list answer has it"},
	{"iam", "DelegationRequest.OnlySendByOwner", "", "the API Reference's examples write false"},
	{"iam", "ListDelegationRequestsOutput.isTruncated", "", "the API Reference's example writes false"},
	{"iam", "RoleTemplateVersion.DefaultMinorVersion", "", "recorded: 0 is written"},
	{"iam", "RoleTemplateVersion.MinorVersion", "", "recorded: 0 is written"},
	{"iam", "ParameterDefinition.Immutable", "", "recorded: false is written"},
	{"iam", "ParameterDefinition.IsRequired", "", "recorded: false is written"},
	{"iam", "Policy.AttachmentCount", "", "recorded: 0 is written"},
	{"iam", "Policy.PermissionsBoundaryUsageCount", "", "recorded: 0 is written"},
	{"iam", "Policy.IsAttachable", "", "recorded with the counts"},
	{"iam", "ManagedPolicyDetail.AttachmentCount", "", "as in Policy"},
	{"iam", "ManagedPolicyDetail.PermissionsBoundaryUsageCount", "", "as in Policy"},
	{"iam", "ManagedPolicyDetail.IsAttachable", "", "as in Policy"},
	{"iam", "PolicyVersion.IsDefaultVersion", "", "recorded: false is written"},
	{"iam", "LoginProfile.PasswordResetRequired", "", "recorded: false is written"},
	{"iam", "PasswordPolicy.RequireSymbols", "", "recorded: false is written"},
	{"iam", "PasswordPolicy.RequireNumbers", "", "recorded: false is written"},
	{"iam", "PasswordPolicy.RequireUppercaseCharacters", "", "recorded: false is written"},
	{"iam", "PasswordPolicy.RequireLowercaseCharacters", "", "recorded: false is written"},
	{"iam", "PasswordPolicy.AllowUsersToChangePassword", "", "recorded: false is written"},
	{"iam", "PasswordPolicy.ExpirePasswords", "", "recorded: false is written"},
	{"iam", "ServiceLastAccessed.TotalAuthenticatedEntities", "", "0 is written for a service never used"},
	{"iam", "OrganizationsDecisionDetail.AllowedByOrganizations", "", "false is the point of it"},
	{"iam", "PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary", "", "false is the point of it"},
	{"lambda", "*.Description", "", "recorded: an empty one is written"},
	{"lambda", "AccountUsage.*", "", "0 is written"},
	{"lambda", "AccountLimit.*", "", "0 is written"},
	{"organizations", "PolicySummary.AwsManaged", "", "false is written"},
	{"sts", "GetFederationTokenOutput.PackedPolicySize", "", "federation answers always have it"},
	{"ecs", "Cluster.registeredContainerInstancesCount", "", "0 is written"},
	{"ecs", "Cluster.runningTasksCount", "", "0 is written"},
	{"ecs", "Cluster.pendingTasksCount", "", "0 is written"},
	{"ecs", "Cluster.activeServicesCount", "", "0 is written"},
	{"ecs", "Service.desiredCount", "", "0 is written: waiters compare the counts"},
	{"ecs", "Service.runningCount", "", "0 is written"},
	{"ecs", "Service.pendingCount", "", "0 is written"},
	{"ecs", "Deployment.desiredCount", "", "as of the service"},
	{"ecs", "Deployment.runningCount", "", "as of the service"},
	{"ecs", "Deployment.pendingCount", "", "as of the service"},
	{"ecs", "Deployment.failedTasks", "", "0 is written"},
	{"ecs", "KeyValuePair.value", "", "an empty value is a value"},
	{"ecs", "Tag.value", "", "an empty value is a value"},
	{"ec2", "AttributeBooleanValue.Value", "", "false is the answer"},
	{"ec2", "Instance.AmiLaunchIndex", "", "the first instance of a reservation has 0"},
	{"ec2", "Instance.EbsOptimized", "", "false is written"},
	{"ec2", "InstanceState.Code", "", "0 is pending"},
	{"ec2", "Tag.Value", "", "an empty value is a value"},
	{"ec2", "TagDescription.Value", "", "an empty value is a value"},
	{"ssm", "Command.TargetCount", "", "0 is a number of nodes, as the other counts"},
	{"ssm", "Command.CompletedCount", "", "as TargetCount"},
	{"ssm", "Command.ErrorCount", "", "as TargetCount"},
	{"ssm", "Command.DeliveryTimedOutCount", "", "as TargetCount"},
	{"ssm", "CommandPlugin.ResponseCode", "", "0 is success"},
	{"ssm", "GetCommandInvocationOutput.ResponseCode", "", "0 is success"},
	{"s3", "*.IsTruncated", "", "every list answer has it"},
	{"s3", "*.MaxKeys", "", "0 is a lawful page size and is echoed"},
	{"s3", "*.MaxUploads", "", "as MaxKeys"},
	{"s3", "*.MaxParts", "", "as MaxKeys"},
	{"s3", "*.KeyCount", "", "0 for an empty page"},
	{"s3", "ListObjectsOutput.Name", "", "the bucket is always named"},
	{"s3", "ListObjectsOutput.Prefix", "", "S3 writes an empty Prefix"},
	{"s3", "ListObjectsOutput.Marker", "", "S3 writes an empty Marker"},
	{"s3", "ListObjectsV2Output.Prefix", "", "S3 writes an empty Prefix"},
	{"s3", "ListObjectVersionsOutput.Prefix", "", "S3 writes an empty Prefix"},
	{"s3", "ListObjectVersionsOutput.KeyMarker", "", "S3 writes an empty KeyMarker"},
	{"s3", "ListObjectVersionsOutput.VersionIdMarker", "", "S3 writes an empty VersionIdMarker"},
	{"s3", "ListMultipartUploadsOutput.KeyMarker", "", "S3 writes an empty KeyMarker"},
	{"s3", "ListMultipartUploadsOutput.UploadIdMarker", "", "S3 writes an empty UploadIdMarker"},
	{"s3", "ListPartsOutput.PartNumberMarker", "", "S3 writes 0"},
	{"s3", "Object.Size", "", "empty objects have a size"},
	{"s3", "ObjectVersion.Size", "", "empty objects have a size"},
	{"s3", "ObjectVersion.IsLatest", "", "false is written"},
	{"s3", "DeleteMarkerEntry.IsLatest", "", "false is written"},
	{"s3", "Part.Size", "", "an empty last part has a size"},
	{"s3", "GetObjectOutput.ContentLength", "", "an empty object has a Content-Length"},
	{"s3", "HeadObjectOutput.ContentLength", "", "an empty object has a Content-Length"},
	{"s3", "PolicyStatus.IsPublic", "", "false is written"},
	{"s3", "PublicAccessBlockConfiguration.*", "", "all four are written, false too"},
}

// optional members are pointers in outputs too: whether they are written is the answer.
var optional = []exception{
	{"accessanalyzer", "PathElement.index", "", "an element of a path has one member, and 0 is an index"},
	{"lambda", "*.ReservedConcurrentExecutions", "", "none at all and 0 differ"},
	{"lambda", "*.MaximumRetryAttempts", "", "0 retries are said"},
	{"lambda", "*.MaximumEventAgeInSeconds", "", "absent where it was not given"},
	{"ecs", "Container.exitCode", "", "0 is an exit code, and a container that runs has none"},
	{"ecs", "ContainerDefinition.essential", "", "absent is true"},
	{"ecs", "DeploymentConfiguration.minimumHealthyPercent", "", "0 is a lawful value, absent is 100"},
	{"ecs", "DeploymentConfiguration.maximumPercent", "", "absent is 200"},
	{"s3", "GetObjectAttributesOutput.ObjectSize", "", "written only when asked for, and then even when 0"},
}

// retype members have another type than the model says.
var retype = []exception{
	{"s3", "Expires", "string", "S3 keeps and returns what the client sent, date or not"},
	{"lambda", "BlobStream", "[]byte", "the whole event of an invocation: it is small"},
}

// openEnum shapes are lists of values that grow without the model.
var openEnum = []exception{
	{"ec2", "InstanceType", "", "a list of a thousand to which every month adds"},
	{"lambda", "Runtime", "", "recorded: a runtime that is none is an InvalidParameterValueException"},
	{"s3", "BucketLocationConstraint", "", "regions: which are on is configuration"},
}

// regexps are the patterns that RE2 cannot say, or that the service does not mean.
var regexps = []exception{
	{"s3", `\/?.+\/.+`, `\/?.+(\/|%2[Ff]).+`, "the value is percent-encoded: Terraform encodes the slashes, too"},
	{"iam", `^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`, `^[a-z0-9]+(-[a-z0-9]+)*$`,
		"no lookahead in RE2; length is checked by itself"},
	{"lambda", `(?!^[0-9]+$)([a-zA-Z0-9-_]+)`, `[0-9]*[a-zA-Z-_][a-zA-Z0-9-_]*`, "no lookahead in RE2"},
	{"lambda", `[0-9A-Za-z\.\-_]*(?<!\.)`, `([0-9A-Za-z\.\-_]*[0-9A-Za-z\-_])?`, "no lookbehind in RE2"},
	{"ssm", `^(?!\s*$).+`, `\s*\S.*`, "no lookahead in RE2: not all of it is white space"},
	{"dynamodb", `\p{Print}+`, `[\x20-\x7e]+`, "Java's name of what ASCII can print"},
	{"dynamodb", `[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*`, `[\x{0020}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}\r\n\t]*`,
		"what UTF-16 says with surrogates"},
}

// noTypes are operations without structs: they can be named and refused, not served.
var noTypes = []exception{
	{"s3", "SelectObjectContent", "", "answers with an event stream"},
	{"s3", "WriteGetObjectResponse", "", "belongs to the object lambda endpoint"},
}

// noRoute are operations that another has the route of. S3's deprecated ones are always.
var noRoute = []exception{
	{"s3", "ListDirectoryBuckets", "", "the route of ListBuckets on the endpoint of S3 Express"},
	{"s3", "WriteGetObjectResponse", "", "belongs to the object lambda endpoint"},
}

// roots are the root elements of S3's answers, which the model does not name.
var roots = []exception{
	{"s3", "ListBuckets", "ListAllMyBucketsResult", "S3's name"},
	{"s3", "ListObjects", "ListBucketResult", "S3's name"},
	{"s3", "ListObjectsV2", "ListBucketResult", "S3's name"},
	{"s3", "ListObjectVersions", "ListVersionsResult", "S3's name"},
	{"s3", "ListMultipartUploads", "ListMultipartUploadsResult", "S3's name"},
	{"s3", "ListParts", "ListPartsResult", "S3's name"},
	{"s3", "CreateMultipartUpload", "InitiateMultipartUploadResult", "S3's name"},
	{"s3", "CompleteMultipartUpload", "CompleteMultipartUploadResult", "S3's name"},
	{"s3", "DeleteObjects", "DeleteResult", "S3's name"},
	{"s3", "GetBucketAcl", "AccessControlPolicy", "S3's name"},
	{"s3", "GetObjectAcl", "AccessControlPolicy", "S3's name"},
	{"s3", "GetBucketTagging", "Tagging", "S3's name"},
	{"s3", "GetObjectTagging", "Tagging", "S3's name"},
	{"s3", "GetBucketVersioning", "VersioningConfiguration", "S3's name"},
	{"s3", "GetBucketLocation", "LocationConstraint", "S3's name"},
	{"s3", "GetBucketLogging", "BucketLoggingStatus", "S3's name"},
	{"s3", "GetBucketAccelerateConfiguration", "AccelerateConfiguration", "S3's name"},
	{"s3", "GetBucketRequestPayment", "RequestPaymentConfiguration", "S3's name"},
	{"s3", "GetBucketWebsite", "WebsiteConfiguration", "S3's name"},
	{"s3", "GetBucketCors", "CORSConfiguration", "S3's name"},
	{"s3", "GetBucketLifecycle", "LifecycleConfiguration", "S3's name"},
	{"s3", "GetBucketLifecycleConfiguration", "LifecycleConfiguration", "S3's name"},
	{"s3", "GetBucketNotificationConfiguration", "NotificationConfiguration", "S3's name"},
	{"s3", "GetObjectAttributes", "GetObjectAttributesResponse", "S3's name"},
	{"s3", "CopyObject", "CopyObjectResult", "S3's name"},
	{"s3", "UploadPartCopy", "CopyPartResult", "S3's name"},
}

// text members are the root element's own text.
var text = []exception{
	{"s3", "GetBucketLocationOutput.LocationConstraint", "", "the document is <LocationConstraint>us-west-2</LocationConstraint>"},
}

// A further error is one that a service sends and its model does not list.
type furtherError struct {
	Service, Code string
	Status        int
}

var furtherErrors = []furtherError{
	{"iam", "AccessDenied", 403},
	{"iam", "ValidationError", 400},
	{"iam", "InvalidParameterValue", 400},
	{"iam", "MissingParameter", 400},
	{"iam", "InvalidParameterCombination", 400},
	{"iam", "ServiceUnavailable", 503},
	{"sts", "AccessDenied", 403},
	{"sts", "ValidationError", 400},
	{"sts", "InvalidParameterValue", 400},
	{"sts", "MissingParameter", 400},
	{"sts", "InvalidParameterCombination", 400},
	{"sts", "ServiceUnavailable", 503},
	{"dynamodb", "ValidationException", 400},
	{"dynamodbstreams", "ValidationException", 400},
	{"ec2messages", "AccessDeniedException", 400},
	{"ec2messages", "ValidationException", 400},
	{"ec2", "DryRunOperation", 412},
	{"ec2", "IdempotentParameterMismatch", 400},
	{"ec2", "IncorrectInstanceState", 400},
	{"ec2", "IncorrectState", 400},
	{"ec2", "InstanceLimitExceeded", 400},
	{"ec2", "InvalidAMIID.Malformed", 400},
	{"ec2", "InvalidAMIID.NotFound", 400},
	{"ec2", "InvalidAssociationID.NotFound", 400},
	{"ec2", "InvalidGroup.NotFound", 400},
	{"ec2", "InvalidID", 400},
	{"ec2", "InvalidInstanceID.Malformed", 400},
	{"ec2", "InvalidInstanceID.NotFound", 400},
	{"ec2", "InvalidKeyPair.NotFound", 400},
	{"ec2", "InvalidNextToken", 400},
	{"ec2", "InvalidParameterCombination", 400},
	{"ec2", "InvalidParameterValue", 400},
	{"ec2", "InvalidSubnetID.NotFound", 400},
	{"ec2", "InvalidUserData.Malformed", 400},
	{"ec2", "MissingParameter", 400},
	{"ec2", "OperationNotPermitted", 400},
	{"ec2", "TagLimitExceeded", 400},
	{"ec2", "Unsupported", 400},
	{"ec2", "UnsupportedOperation", 400},
	{"ec2", "InvalidZone.NotFound", 400},
	{"ec2", "InvalidLaunchTemplateId.NotFound", 400},
	{"ec2", "InvalidLaunchTemplateName.NotFoundException", 400},
	{"lambda", "AccessDeniedException", 403},
	{"lambda", "RequestEntityTooLargeException", 413},
	{"lambda", "ValidationException", 400},
	{"s3", "AccessControlListNotSupported", 400},
	{"s3", "AuthorizationHeaderMalformed", 400},
	{"s3", "AuthorizationQueryParametersError", 400},
	{"s3", "BadDigest", 400},
	{"s3", "BucketNotEmpty", 409},
	{"s3", "ConditionalRequestConflict", 409},
	{"s3", "EntityTooLarge", 400},
	{"s3", "EntityTooSmall", 400},
	{"s3", "IllegalLocationConstraintException", 400},
	{"s3", "IllegalVersioningConfigurationException", 400},
	{"s3", "IncompleteBody", 400},
	{"s3", "InternalError", 500},
	{"s3", "InvalidArgument", 400},
	{"s3", "InvalidBucketAclWithObjectOwnership", 400},
	{"s3", "InvalidBucketName", 400},
	{"s3", "InvalidBucketState", 409},
	{"s3", "InvalidDigest", 400},
	{"s3", "InvalidEncryptionAlgorithmError", 400},
	{"s3", "InvalidLocationConstraint", 400},
	{"s3", "InvalidPart", 400},
	{"s3", "InvalidPartOrder", 400},
	{"s3", "InvalidPolicyDocument", 400},
	{"s3", "InvalidRange", 416},
	{"s3", "InvalidStorageClass", 400},
	{"s3", "InvalidTag", 400},
	{"s3", "InvalidURI", 400},
	{"s3", "KeyTooLongError", 400},
	{"s3", "MalformedACLError", 400},
	{"s3", "MalformedPolicy", 400},
	{"s3", "MalformedXML", 400},
	{"s3", "MetadataTooLarge", 400},
	{"s3", "MethodNotAllowed", 405},
	{"s3", "MissingContentLength", 411},
	{"s3", "MissingRequestBodyError", 400},
	{"s3", "NoSuchBucketPolicy", 404},
	{"s3", "NoSuchCORSConfiguration", 404},
	{"s3", "NoSuchLifecycleConfiguration", 404},
	{"s3", "NoSuchObjectLockConfiguration", 404},
	{"s3", "NoSuchPublicAccessBlockConfiguration", 404},
	{"s3", "NoSuchTagSet", 404},
	{"s3", "NoSuchVersion", 404},
	{"s3", "NoSuchWebsiteConfiguration", 404},
	{"s3", "NotImplemented", 501},
	{"s3", "NotModified", 304},
	{"s3", "ObjectLockConfigurationNotFoundError", 404},
	{"s3", "OperationAborted", 409},
	{"s3", "OwnershipControlsNotFoundError", 404},
	{"s3", "PermanentRedirect", 301},
	{"s3", "PreconditionFailed", 412},
	{"s3", "ReplicationConfigurationNotFoundError", 404},
	{"s3", "ServerSideEncryptionConfigurationNotFoundError", 404},
	{"s3", "ServiceUnavailable", 503},
	{"s3", "SlowDown", 503},
	{"s3", "TooManyBuckets", 400},
	{"s3", "UnexpectedContent", 400},
	{"s3", "XAmzContentSHA256Mismatch", 400},
}
