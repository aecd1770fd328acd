package cloudformation

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	iam "github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// A kind is a resource type: a row of the table below.
//
// Calls are written as SERVICE:OPERATION FIELD=VALUE..., " ; " between several. A field is
// a path in the operation's input. A value is text, in which {Name} stands for a property,
// {Name.Member} for what is in it, {id} for the physical id, {name} for the name that the
// template or CloudFormation gives, {.} and {.Member} for the item of a list, and {account},
// {region}; {Name?text} is text where the property is there. FIELD alone is FIELD={FIELD}.
// Where what a value names is not there, the field is left out.
type kind struct {
	Type     string
	Name     string // the property that is the name; one that the template does not give is generated
	Longest  int    // such a name
	Lower    bool   // such names are in lower case
	Required string
	Taken    string // asked before Create, which would write over what is there: an answer means that it is ...
	Free     string // ... and one of these errors that it is not
	IsTaken  string // what is said then
	Create   string
	ID       string                                                                   // the physical id: a path in what Create answers after "=", or text; "" is {name}
	Attr     map[string]string                                                        // Fn::GetAtt: the same, or a path in what Tell answers
	Tell     string                                                                   // asked after Create, for attributes that its answer lacks
	Parts    []part                                                                   // in the order in which they are set
	Replace  string                                                                   // properties whose change makes a new resource
	Clear    func(ctx context.Context, s *Service, as *service.Call, id string) error // before the resource is deleted
	Delete   string
	Gone     string // the errors of what is not there
	Ready    string // asked after Create and after changes until ...
	IsReady  string // ... the answer has PATH=VALUE
	IsGone   string // and after Delete until it has this, or one of Gone
	Read     string // asks whether it is there, where a kill left that open ...
	MadeAt   string // ... and when it was made: a path in the answer
	Guess    string // the physical id that it would have; "" is {name}
	Secure   string // the property that may be a dynamic reference to a secure string, as "LoginProfile/Password": User Guide, "Resources that support dynamic parameter patterns for secure strings"
	Tags     bool   // takes the stack's tags
	TagMap   bool   // as an object, not as a list

	// Of a resource of IAM: CAPABILITY_IAM is demanded, and CAPABILITY_NAMED_IAM where the template gives the name.
	IAM, Named bool

	taken, create, tell, delete, ready, read []call
	known                                    map[string]bool
	replace                                  map[string]bool
}

// A part is some of a resource's properties, and the calls that follow their changes.
type part struct {
	Of     string                                                                   // the property; with others behind it, whose change counts too
	Each   string                                                                   // Of is a list, and Set and Unset are made for each item: "." for texts, or the member that tells items apart
	Made   bool                                                                     // Create does it for a new resource
	Undo   bool                                                                     // Unset is called before the resource is deleted
	Set    string                                                                   // called where it is there and new or changed
	Unset  string                                                                   // called where it is no more
	Change string                                                                   // called in the place of Set where it was there before
	Before func(ctx context.Context, s *Service, as *service.Call, id string) error // before Set

	of                 []string
	set, unset, change []call
}

// kinds are the resource types that there are.
func kinds() map[string]*kind {
	attached := func(holder string) part {
		return part{Of: "ManagedPolicyArns", Each: ".", Undo: true,
			Set:   "iam:Attach" + holder + "Policy " + holder + "Name={id} PolicyArn={.}",
			Unset: "iam:Detach" + holder + "Policy " + holder + "Name={id} PolicyArn={.}"}
	}
	inline := func(holder string) part {
		return part{Of: "Policies", Each: "PolicyName", Undo: true,
			Set:   "iam:Put" + holder + "Policy " + holder + "Name={id} PolicyName={.PolicyName} PolicyDocument={.PolicyDocument}",
			Unset: "iam:Delete" + holder + "Policy " + holder + "Name={id} PolicyName={.PolicyName}"}
	}
	boundary := func(holder string) part {
		return part{Of: "PermissionsBoundary", Made: true,
			Set:   "iam:Put" + holder + "PermissionsBoundary " + holder + "Name={id} PermissionsBoundary",
			Unset: "iam:Delete" + holder + "PermissionsBoundary " + holder + "Name={id}"}
	}
	iamTags := func(what, field string) part {
		return part{Of: "Tags", Each: "Key", Made: true,
			Set:   "iam:Tag" + what + " " + field + "={id} Tags.0={.}",
			Unset: "iam:Untag" + what + " " + field + "={id} TagKeys.0={.Key}"}
	}
	// of is where a policy hangs on what a list names.
	of := func(list, holder, document string) part {
		return part{Of: list + " " + document, Each: ".", Undo: true,
			Set:   "iam:Put" + holder + "Policy " + holder + "Name={.} PolicyName PolicyDocument",
			Unset: "iam:Delete" + holder + "Policy " + holder + "Name={.} PolicyName"}
	}
	managed := func(list, holder string) part {
		return part{Of: list, Each: ".", Undo: true,
			Set:   "iam:Attach" + holder + "Policy " + holder + "Name={.} PolicyArn={id}",
			Unset: "iam:Detach" + holder + "Policy " + holder + "Name={.} PolicyArn={id}"}
	}
	inlineOf := func(holder string) kind {
		put := "iam:Put" + holder + "Policy " + holder + "Name PolicyName PolicyDocument"
		return kind{Type: "AWS::IAM::" + holder + "Policy", IAM: true, Required: "PolicyName " + holder + "Name", ID: "{PolicyName}|{" + holder + "Name}",
			Create: put, Delete: "iam:Delete" + holder + "Policy " + holder + "Name PolicyName", Gone: "NoSuchEntity",
			Replace: "PolicyName " + holder + "Name", Parts: []part{{Of: "PolicyDocument", Made: true, Set: put}}}
	}
	orgTags := part{Of: "Tags", Each: "Key", Made: true,
		Set: "organizations:TagResource ResourceId={id} Tags.0={.}", Unset: "organizations:UntagResource ResourceId={id} TagKeys.0={.Key}"}

	list := []kind{
		{Type: "AWS::S3::Bucket", Name: "BucketName", Longest: 63, Lower: true, Tags: true,
			Create: "s3:CreateBucket Bucket={name} CreateBucketConfiguration.LocationConstraint={elsewhere} ObjectLockEnabledForBucket={ObjectLockEnabled}",
			Attr: map[string]string{"Arn": "arn:aws:s3:::{id}", "DomainName": "{id}.s3.amazonaws.com", "RegionalDomainName": "{id}.s3.{region}.amazonaws.com",
				"DualStackDomainName": "{id}.s3.dualstack.{region}.amazonaws.com", "WebsiteURL": "http://{id}.s3-website-{region}.amazonaws.com"},
			Parts: []part{
				{Of: "VersioningConfiguration", Set: "s3:PutBucketVersioning Bucket={id} VersioningConfiguration",
					Unset: "s3:PutBucketVersioning Bucket={id} VersioningConfiguration.Status=Suspended"},
				{Of: "BucketEncryption", Unset: "s3:DeleteBucketEncryption Bucket={id}",
					Set: "s3:PutBucketEncryption Bucket={id} ServerSideEncryptionConfiguration.Rules.0.ApplyServerSideEncryptionByDefault={BucketEncryption.ServerSideEncryptionConfiguration.0.ServerSideEncryptionByDefault} ServerSideEncryptionConfiguration.Rules.0.BucketKeyEnabled={BucketEncryption.ServerSideEncryptionConfiguration.0.BucketKeyEnabled}"},
				{Of: "OwnershipControls", Set: "s3:PutBucketOwnershipControls Bucket={id} OwnershipControls", Unset: "s3:DeleteBucketOwnershipControls Bucket={id}"},
				{Of: "PublicAccessBlockConfiguration", Set: "s3:PutPublicAccessBlock Bucket={id} PublicAccessBlockConfiguration",
					Unset: "s3:DeletePublicAccessBlock Bucket={id}"},
				{Of: "Tags", Set: "s3:PutBucketTagging Bucket={id} Tagging.TagSet={Tags}", Unset: "s3:DeleteBucketTagging Bucket={id}"},
			},
			Replace: "BucketName ObjectLockEnabled", Delete: "s3:DeleteBucket Bucket={id}", Gone: "NoSuchBucket", Read: "s3:HeadBucket Bucket={id}"},
		{Type: "AWS::S3::BucketPolicy", Required: "Bucket PolicyDocument", ID: "{Bucket}",
			Taken: "s3:GetBucketPolicy Bucket", Free: "NoSuchBucketPolicy", IsTaken: "The bucket policy already exists on bucket {Bucket}.",
			Create: "s3:PutBucketPolicy Bucket Policy={PolicyDocument}", Replace: "Bucket",
			Parts:  []part{{Of: "PolicyDocument", Made: true, Set: "s3:PutBucketPolicy Bucket Policy={PolicyDocument}"}},
			Delete: "s3:DeleteBucketPolicy Bucket={id}", Gone: "NoSuchBucket"},

		{Type: "AWS::IAM::User", IAM: true, Named: true, Tags: true, Name: "UserName", Longest: 64, Secure: "LoginProfile/Password",
			Create: "iam:CreateUser UserName={name} Path PermissionsBoundary Tags", Attr: map[string]string{"Arn": "=User.Arn"},
			Parts: []part{
				{Of: "Path", Made: true, Set: "iam:UpdateUser UserName={id} NewPath={Path}", Unset: "iam:UpdateUser UserName={id} NewPath=/"},
				boundary("User"), inline("User"), attached("User"),
				{Of: "Groups", Each: ".", Undo: true, Set: "iam:AddUserToGroup UserName={id} GroupName={.}", Unset: "iam:RemoveUserFromGroup UserName={id} GroupName={.}"},
				{Of: "LoginProfile", Undo: true, Unset: "iam:DeleteLoginProfile UserName={id}",
					Set:    "iam:CreateLoginProfile UserName={id} Password={LoginProfile.Password} PasswordResetRequired={LoginProfile.PasswordResetRequired}",
					Change: "iam:UpdateLoginProfile UserName={id} Password={LoginProfile.Password} PasswordResetRequired={LoginProfile.PasswordResetRequired}"},
				iamTags("User", "UserName"),
			},
			Replace: "UserName", Delete: "iam:DeleteUser UserName={id}", Gone: "NoSuchEntity", Read: "iam:GetUser UserName={id}", MadeAt: "User.CreateDate"},
		{Type: "AWS::IAM::Group", IAM: true, Named: true, Name: "GroupName", Longest: 128,
			Create: "iam:CreateGroup GroupName={name} Path", Attr: map[string]string{"Arn": "=Group.Arn"},
			Parts: []part{
				{Of: "Path", Made: true, Set: "iam:UpdateGroup GroupName={id} NewPath={Path}", Unset: "iam:UpdateGroup GroupName={id} NewPath=/"},
				inline("Group"), attached("Group"),
			},
			Replace: "GroupName", Delete: "iam:DeleteGroup GroupName={id}", Gone: "NoSuchEntity", Read: "iam:GetGroup GroupName={id}", MadeAt: "Group.CreateDate"},
		{Type: "AWS::IAM::Role", IAM: true, Named: true, Tags: true, Name: "RoleName", Longest: 64, Required: "AssumeRolePolicyDocument",
			Create: "iam:CreateRole RoleName={name} AssumeRolePolicyDocument Path Description MaxSessionDuration PermissionsBoundary Tags",
			Attr:   map[string]string{"Arn": "=Role.Arn", "RoleId": "=Role.RoleId"},
			Parts: []part{
				{Of: "AssumeRolePolicyDocument", Made: true, Set: "iam:UpdateAssumeRolePolicy RoleName={id} PolicyDocument={AssumeRolePolicyDocument}"},
				{Of: "Description", Made: true, Set: "iam:UpdateRole RoleName={id} Description MaxSessionDuration", Unset: "iam:UpdateRole RoleName={id} Description="},
				{Of: "MaxSessionDuration", Made: true, Set: "iam:UpdateRole RoleName={id} Description MaxSessionDuration", Unset: "iam:UpdateRole RoleName={id} Description MaxSessionDuration=3600"},
				boundary("Role"), inline("Role"), attached("Role"), iamTags("Role", "RoleName"),
			},
			Replace: "RoleName Path", Delete: "iam:DeleteRole RoleName={id}", Gone: "NoSuchEntity", Read: "iam:GetRole RoleName={id}", MadeAt: "Role.CreateDate"},
		{Type: "AWS::IAM::Policy", IAM: true, Required: "PolicyName PolicyDocument", Replace: "PolicyName",
			Parts: []part{of("Groups", "Group", "PolicyDocument"), of("Roles", "Role", "PolicyDocument"), of("Users", "User", "PolicyDocument")}, Gone: "NoSuchEntity"},
		inlineOf("Role"), inlineOf("User"), inlineOf("Group"),
		{Type: "AWS::IAM::ManagedPolicy", IAM: true, Named: true, Name: "ManagedPolicyName", Longest: 128, Required: "PolicyDocument", Tags: true,
			Create: "iam:CreatePolicy PolicyName={name} PolicyDocument Path Description Tags", ID: "=Policy.Arn",
			Attr: map[string]string{"PolicyArn": "=Policy.Arn", "PolicyId": "=Policy.PolicyId"},
			Parts: []part{
				{Of: "PolicyDocument", Made: true, Set: "iam:CreatePolicyVersion PolicyArn={id} PolicyDocument SetAsDefault=true", Before: oldestVersion},
				managed("Groups", "Group"), managed("Roles", "Role"), managed("Users", "User"), iamTags("Policy", "PolicyArn"),
			},
			Replace: "ManagedPolicyName Path Description", Clear: allVersions, Delete: "iam:DeletePolicy PolicyArn={id}", Gone: "NoSuchEntity",
			Read: "iam:GetPolicy PolicyArn={id}", Guess: "arn:aws:iam::{account}:policy{Path}{name}", MadeAt: "Policy.CreateDate"},
		{Type: "AWS::IAM::InstanceProfile", IAM: true, Named: true, Name: "InstanceProfileName", Longest: 128, Required: "Roles",
			Create: "iam:CreateInstanceProfile InstanceProfileName={name} Path", Attr: map[string]string{"Arn": "=InstanceProfile.Arn"},
			Parts: []part{{Of: "Roles", Each: ".", Undo: true, Set: "iam:AddRoleToInstanceProfile InstanceProfileName={id} RoleName={.}",
				Unset: "iam:RemoveRoleFromInstanceProfile InstanceProfileName={id} RoleName={.}"}},
			Replace: "InstanceProfileName Path", Delete: "iam:DeleteInstanceProfile InstanceProfileName={id}", Gone: "NoSuchEntity",
			Read: "iam:GetInstanceProfile InstanceProfileName={id}", MadeAt: "InstanceProfile.CreateDate"},
		{Type: "AWS::IAM::AccessKey", IAM: true, Required: "UserName", Create: "iam:CreateAccessKey UserName", ID: "=AccessKey.AccessKeyId",
			Attr:    map[string]string{"SecretAccessKey": "=AccessKey.SecretAccessKey"},
			Parts:   []part{{Of: "Status", Set: "iam:UpdateAccessKey UserName AccessKeyId={id} Status", Unset: "iam:UpdateAccessKey UserName AccessKeyId={id} Status=Active"}},
			Replace: "UserName Serial", Delete: "iam:DeleteAccessKey UserName AccessKeyId={id}", Gone: "NoSuchEntity"},
		{Type: "AWS::IAM::UserToGroupAddition", IAM: true, Required: "GroupName Users", Replace: "GroupName", Gone: "NoSuchEntity",
			Parts: []part{{Of: "Users", Each: ".", Undo: true, Set: "iam:AddUserToGroup GroupName UserName={.}", Unset: "iam:RemoveUserFromGroup GroupName UserName={.}"}}},
		{Type: "AWS::IAM::OIDCProvider", Tags: true, Required: "Url", ID: "=OpenIDConnectProviderArn", Attr: map[string]string{"Arn": "{id}"},
			Create: "iam:CreateOpenIDConnectProvider Url ClientIDList={ClientIdList} ThumbprintList Tags",
			Parts: []part{
				{Of: "ClientIdList", Each: ".", Made: true, Set: "iam:AddClientIDToOpenIDConnectProvider OpenIDConnectProviderArn={id} ClientID={.}",
					Unset: "iam:RemoveClientIDFromOpenIDConnectProvider OpenIDConnectProviderArn={id} ClientID={.}"},
				{Of: "ThumbprintList", Made: true, Set: "iam:UpdateOpenIDConnectProviderThumbprint OpenIDConnectProviderArn={id} ThumbprintList"},
				iamTags("OpenIDConnectProvider", "OpenIDConnectProviderArn"),
			},
			Replace: "Url", Delete: "iam:DeleteOpenIDConnectProvider OpenIDConnectProviderArn={id}", Gone: "NoSuchEntity"},
		{Type: "AWS::IAM::SAMLProvider", Tags: true, Name: "Name", Longest: 128, Required: "SamlMetadataDocument", ID: "=SAMLProviderArn", Attr: map[string]string{"Arn": "{id}"},
			Create: "iam:CreateSAMLProvider Name={name} SAMLMetadataDocument={SamlMetadataDocument} Tags",
			Parts: []part{
				{Of: "SamlMetadataDocument", Made: true, Set: "iam:UpdateSAMLProvider SAMLProviderArn={id} SAMLMetadataDocument={SamlMetadataDocument}"},
				iamTags("SAMLProvider", "SAMLProviderArn"),
			},
			Replace: "Name", Delete: "iam:DeleteSAMLProvider SAMLProviderArn={id}", Gone: "NoSuchEntity"},
		{Type: "AWS::IAM::ServiceLinkedRole", Create: "iam:CreateServiceLinkedRole AWSServiceName CustomSuffix Description", Required: "AWSServiceName", ID: "=Role.RoleName",
			Attr:    map[string]string{"RoleName": "=Role.RoleName"},
			Parts:   []part{{Of: "Description", Made: true, Set: "iam:UpdateRole RoleName={id} Description", Unset: "iam:UpdateRole RoleName={id} Description="}},
			Replace: "AWSServiceName CustomSuffix", Delete: "iam:DeleteServiceLinkedRole RoleName={id}", Gone: "NoSuchEntity"},
		{Type: "AWS::IAM::ServerCertificate", Tags: true, Name: "ServerCertificateName", Longest: 128,
			Create: "iam:UploadServerCertificate ServerCertificateName={name} Path CertificateBody CertificateChain PrivateKey Tags",
			Attr:   map[string]string{"Arn": "=ServerCertificateMetadata.Arn"},
			Parts: []part{
				{Of: "Path", Made: true, Set: "iam:UpdateServerCertificate ServerCertificateName={id} NewPath={Path}", Unset: "iam:UpdateServerCertificate ServerCertificateName={id} NewPath=/"},
				iamTags("ServerCertificate", "ServerCertificateName"),
			},
			Replace: "ServerCertificateName CertificateBody CertificateChain PrivateKey", Delete: "iam:DeleteServerCertificate ServerCertificateName={id}", Gone: "NoSuchEntity"},
		{Type: "AWS::IAM::VirtualMFADevice", Tags: true, Name: "VirtualMfaDeviceName", Longest: 226,
			Create: "iam:CreateVirtualMFADevice VirtualMFADeviceName={name} Path Tags", ID: "=VirtualMFADevice.SerialNumber", Attr: map[string]string{"SerialNumber": "{id}"},
			Parts:   []part{iamTags("MFADevice", "SerialNumber")},
			Replace: "VirtualMfaDeviceName Path", Delete: "iam:DeleteVirtualMFADevice SerialNumber={id}", Gone: "NoSuchEntity"},

		{Type: "AWS::DynamoDB::Table", Name: "TableName", Longest: 255, Required: "KeySchema", Tags: true,
			Create: "dynamodb:CreateTable TableName={name} AttributeDefinitions KeySchema BillingMode ProvisionedThroughput OnDemandThroughput LocalSecondaryIndexes GlobalSecondaryIndexes " +
				"StreamSpecification.StreamEnabled={StreamSpecification?true} StreamSpecification.StreamViewType={StreamSpecification.StreamViewType} " +
				"SSESpecification.Enabled={SSESpecification.SSEEnabled} SSESpecification.SSEType={SSESpecification.SSEType} SSESpecification.KMSMasterKeyId={SSESpecification.KMSMasterKeyId} " +
				"TableClass DeletionProtectionEnabled ResourcePolicy={ResourcePolicy.PolicyDocument} Tags",
			Attr: map[string]string{"Arn": "=TableDescription.TableArn", "StreamArn": "=TableDescription.LatestStreamArn", "TableId": "=TableDescription.TableId"},
			Parts: []part{
				{Of: "BillingMode ProvisionedThroughput OnDemandThroughput", Made: true, Set: "dynamodb:UpdateTable TableName={id} BillingMode ProvisionedThroughput OnDemandThroughput"},
				{Of: "TableClass", Made: true, Set: "dynamodb:UpdateTable TableName={id} TableClass", Unset: "dynamodb:UpdateTable TableName={id} TableClass=STANDARD"},
				{Of: "DeletionProtectionEnabled", Made: true, Set: "dynamodb:UpdateTable TableName={id} DeletionProtectionEnabled", Unset: "dynamodb:UpdateTable TableName={id} DeletionProtectionEnabled=false"},
				{Of: "TimeToLiveSpecification", Set: "dynamodb:UpdateTimeToLive TableName={id} TimeToLiveSpecification"},
				{Of: "PointInTimeRecoverySpecification", Set: "dynamodb:UpdateContinuousBackups TableName={id} PointInTimeRecoverySpecification"},
				{Of: "ResourcePolicy", Made: true, Set: "dynamodb:PutResourcePolicy ResourceArn=arn:aws:dynamodb:{region}:{account}:table/{id} Policy={ResourcePolicy.PolicyDocument}",
					Unset: "dynamodb:DeleteResourcePolicy ResourceArn=arn:aws:dynamodb:{region}:{account}:table/{id}"},
				{Of: "Tags", Each: "Key", Made: true, Set: "dynamodb:TagResource ResourceArn=arn:aws:dynamodb:{region}:{account}:table/{id} Tags.0={.}",
					Unset: "dynamodb:UntagResource ResourceArn=arn:aws:dynamodb:{region}:{account}:table/{id} TagKeys.0={.Key}"},
			},
			Replace: "TableName AttributeDefinitions KeySchema LocalSecondaryIndexes GlobalSecondaryIndexes StreamSpecification SSESpecification",
			Delete:  "dynamodb:DeleteTable TableName={id}", Gone: "ResourceNotFoundException",
			Ready: "dynamodb:DescribeTable TableName={id}", IsReady: "Table.TableStatus=ACTIVE", Read: "dynamodb:DescribeTable TableName={id}"},

		{Type: "AWS::Organizations::Organization", Create: "organizations:CreateOrganization FeatureSet", ID: "=Organization.Id",
			Attr: map[string]string{"Arn": "=Organization.Arn", "Id": "{id}", "ManagementAccountArn": "=Organization.MasterAccountArn",
				"ManagementAccountEmail": "=Organization.MasterAccountEmail", "ManagementAccountId": "=Organization.MasterAccountId", "RootId": "=Roots.0.Id"},
			Tell:   "organizations:ListRoots",
			Delete: "organizations:DeleteOrganization", Gone: "AWSOrganizationsNotInUseException"},
		{Type: "AWS::Organizations::ResourcePolicy", Required: "Content", Tags: true,
			Taken: "organizations:DescribeResourcePolicy", Free: "ResourcePolicyNotFoundException", IsTaken: "There is already a ResourcePolicy in the Organization!",
			Create: "organizations:PutResourcePolicy Content Tags",
			ID:     "=ResourcePolicy.ResourcePolicySummary.Id", Attr: map[string]string{"Arn": "=ResourcePolicy.ResourcePolicySummary.Arn", "Id": "{id}"},
			Parts:  []part{{Of: "Content", Made: true, Set: "organizations:PutResourcePolicy Content"}, orgTags},
			Delete: "organizations:DeleteResourcePolicy", Gone: "ResourcePolicyNotFoundException"},
		{Type: "AWS::Organizations::OrganizationalUnit", Required: "Name ParentId", Tags: true, Create: "organizations:CreateOrganizationalUnit Name ParentId Tags",
			ID: "=OrganizationalUnit.Id", Attr: map[string]string{"Arn": "=OrganizationalUnit.Arn", "Id": "{id}"},
			Parts:   []part{{Of: "Name", Made: true, Set: "organizations:UpdateOrganizationalUnit OrganizationalUnitId={id} Name"}, orgTags},
			Replace: "ParentId", Delete: "organizations:DeleteOrganizationalUnit OrganizationalUnitId={id}", Gone: "OrganizationalUnitNotFoundException"},
		{Type: "AWS::Organizations::Policy", Required: "Content Name Type", Tags: true, Create: "organizations:CreatePolicy Content Name Type Description={Description} Tags",
			ID: "=Policy.PolicySummary.Id", Attr: map[string]string{"Arn": "=Policy.PolicySummary.Arn", "Id": "{id}", "AwsManaged": "false"},
			Parts: []part{
				{Of: "Content Name Description", Made: true, Set: "organizations:UpdatePolicy PolicyId={id} Content Name Description"},
				{Of: "TargetIds", Each: ".", Undo: true, Set: "organizations:AttachPolicy PolicyId={id} TargetId={.}", Unset: "organizations:DetachPolicy PolicyId={id} TargetId={.}"},
				orgTags,
			},
			Replace: "Type", Delete: "organizations:DeletePolicy PolicyId={id}", Gone: "PolicyNotFoundException"},
		{Type: "AWS::Organizations::Account", Required: "AccountName Email", Tags: true, Create: "organizations:CreateAccount AccountName Email RoleName Tags",
			ID: "=CreateAccountStatus.AccountId", Attr: map[string]string{"AccountId": "{id}"},
			Parts: []part{orgTags}, Replace: "AccountName Email RoleName", Delete: "organizations:CloseAccount AccountId={id}", Gone: "AccountNotFoundException"},

		{Type: "AWS::SSM::Parameter", Name: "Name", Longest: 1011, Required: "Type Value", Tags: true, TagMap: true,
			Create: "ssm:PutParameter Name={name} Type Value Description AllowedPattern Tier DataType Policies Tags={taglist}",
			Attr:   map[string]string{"Type": "{Type}", "Value": "{Value}"},
			Parts: []part{
				{Of: "Value Type Description AllowedPattern Tier DataType Policies", Made: true,
					Set: "ssm:PutParameter Name={id} Type Value Description AllowedPattern Tier DataType Policies Overwrite=true"},
				{Of: "Tags", Each: "Key", Made: true, Set: "ssm:AddTagsToResource ResourceType=Parameter ResourceId={id} Tags.0={.}",
					Unset: "ssm:RemoveTagsFromResource ResourceType=Parameter ResourceId={id} TagKeys.0={.Key}"},
			},
			Replace: "Name", Delete: "ssm:DeleteParameter Name={id}", Gone: "ParameterNotFound", Read: "ssm:GetParameter Name={id}", MadeAt: "Parameter.LastModifiedDate"},

		{Type: "AWS::Lambda::Function", Name: "FunctionName", Longest: 64, Required: "Code Role", Tags: true,
			Create: "lambda:CreateFunction FunctionName={name} Runtime Role Handler Code.ZipFile={zip} Code.S3Bucket={Code.S3Bucket} Code.S3Key={Code.S3Key} Code.S3ObjectVersion={Code.S3ObjectVersion} " +
				"Description Timeout MemorySize PackageType DeadLetterConfig Environment Architectures Tags={tagmap}",
			Attr: map[string]string{"Arn": "=FunctionArn"},
			Parts: []part{
				{Of: "Code Architectures", Made: true, Set: "lambda:UpdateFunctionCode FunctionName={id} ZipFile={zip} S3Bucket={Code.S3Bucket} S3Key={Code.S3Key} S3ObjectVersion={Code.S3ObjectVersion} Architectures"},
				{Of: "Role Handler Runtime Description Timeout MemorySize DeadLetterConfig Environment", Made: true,
					Set: "lambda:UpdateFunctionConfiguration FunctionName={id} Role Handler Runtime Description Timeout MemorySize DeadLetterConfig Environment"},
				{Of: "ReservedConcurrentExecutions", Set: "lambda:PutFunctionConcurrency FunctionName={id} ReservedConcurrentExecutions", Unset: "lambda:DeleteFunctionConcurrency FunctionName={id}"},
				{Of: "Tags", Each: "Key", Made: true, Unset: "lambda:UntagResource Resource=arn:aws:lambda:{region}:{account}:function:{id} TagKeys.0={.Key}"},
				{Of: "Tags", Made: true, Set: "lambda:TagResource Resource=arn:aws:lambda:{region}:{account}:function:{id} Tags={tagmap}"},
			},
			Replace: "FunctionName PackageType", Delete: "lambda:DeleteFunction FunctionName={id}", Gone: "ResourceNotFoundException",
			Ready: "lambda:GetFunction FunctionName={id}", IsReady: "Configuration.State=Active", Read: "lambda:GetFunction FunctionName={id}"},
		{Type: "AWS::Lambda::Permission", Required: "Action FunctionName Principal",
			Create: "lambda:AddPermission FunctionName StatementId={name} Action Principal SourceArn SourceAccount EventSourceToken PrincipalOrgID",
			Delete: "lambda:RemovePermission FunctionName StatementId={id}", Gone: "ResourceNotFoundException", Longest: 100},
		{Type: "AWS::Lambda::Version", Required: "FunctionName", Create: "lambda:PublishVersion FunctionName CodeSha256 Description", ID: "=FunctionArn",
			Attr: map[string]string{"FunctionArn": "=FunctionArn", "Version": "=Version"}, Delete: "lambda:DeleteFunction FunctionName={id}", Gone: "ResourceNotFoundException"},
		{Type: "AWS::Lambda::Alias", Required: "FunctionName FunctionVersion Name", Create: "lambda:CreateAlias FunctionName Name FunctionVersion Description RoutingConfig", ID: "=AliasArn",
			Attr:    map[string]string{"AliasArn": "=AliasArn"},
			Parts:   []part{{Of: "FunctionVersion Description RoutingConfig", Made: true, Set: "lambda:UpdateAlias FunctionName Name FunctionVersion Description RoutingConfig"}},
			Replace: "FunctionName Name", Delete: "lambda:DeleteAlias FunctionName Name", Gone: "ResourceNotFoundException"},
		{Type: "AWS::Lambda::EventInvokeConfig", Required: "FunctionName Qualifier", ID: "{FunctionName}|{Qualifier}",
			Create: "lambda:PutFunctionEventInvokeConfig FunctionName Qualifier MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig",
			Parts: []part{{Of: "MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig", Made: true,
				Set: "lambda:PutFunctionEventInvokeConfig FunctionName Qualifier MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig"}},
			Replace: "FunctionName Qualifier", Delete: "lambda:DeleteFunctionEventInvokeConfig FunctionName Qualifier", Gone: "ResourceNotFoundException"},

		{Type: "AWS::CodeBuild::Project", Name: "Name", Longest: 150, Required: "Artifacts Environment ServiceRole Source", Tags: true,
			Create: "codebuild:CreateProject Name={name} Description Source SecondarySources SourceVersion Artifacts SecondaryArtifacts Cache Environment ServiceRole TimeoutInMinutes QueuedTimeoutInMinutes EncryptionKey LogsConfig ConcurrentBuildLimit Tags",
			Attr:   map[string]string{"Arn": "=Project.Arn"},
			Parts: []part{{Of: "Description Source SecondarySources SourceVersion Artifacts SecondaryArtifacts Cache Environment ServiceRole TimeoutInMinutes QueuedTimeoutInMinutes EncryptionKey LogsConfig ConcurrentBuildLimit Tags", Made: true,
				Set: "codebuild:UpdateProject Name={id} Description Source SecondarySources SourceVersion Artifacts SecondaryArtifacts Cache Environment ServiceRole TimeoutInMinutes QueuedTimeoutInMinutes EncryptionKey LogsConfig ConcurrentBuildLimit Tags"}},
			Replace: "Name", Delete: "codebuild:DeleteProject Name={id}", Gone: "ResourceNotFoundException"},

		{Type: "AWS::EC2::Instance", Required: "ImageId", Tags: true,
			Create: "ec2:RunInstances ImageId InstanceType IamInstanceProfile.Name={IamInstanceProfile} UserData MetadataOptions KeyName " +
				"TagSpecifications.0.ResourceType={Tags?instance} TagSpecifications.0.Tags={Tags} MinCount=1 MaxCount=1",
			ID:    "=Instances.0.InstanceId",
			Attr:  map[string]string{"InstanceId": "=Instances.0.InstanceId", "PrivateIp": "=Instances.0.PrivateIpAddress", "PrivateDnsName": "=Instances.0.PrivateDnsName", "AvailabilityZone": "=Instances.0.Placement.AvailabilityZone"},
			Ready: "ec2:DescribeInstances InstanceIds.0={id}", IsReady: "Reservations.0.Instances.0.State.Name=running", IsGone: "Reservations.0.Instances.0.State.Name=terminated",
			Parts: []part{{Of: "Tags", Each: "Key", Made: true, Set: "ec2:CreateTags Resources.0={id} Tags.0={.}", Unset: "ec2:DeleteTags Resources.0={id} Tags.0.Key={.Key}"}},
			// In AWS a stopped instance takes some of these: here it is a new one.
			Replace: "ImageId InstanceType IamInstanceProfile UserData MetadataOptions KeyName",
			Delete:  "ec2:TerminateInstances InstanceIds.0={id}", Gone: "InvalidInstanceID.NotFound"},

		{Type: "AWS::ECS::Cluster", Name: "ClusterName", Longest: 255, Tags: true,
			Create: "ecs:CreateCluster ClusterName={name} Tags", Attr: map[string]string{"Arn": "=Cluster.ClusterArn"},
			Parts:   []part{{Of: "Tags", Each: "Key", Made: true, Set: "ecs:TagResource ResourceArn=arn:aws:ecs:{region}:{account}:cluster/{id} Tags.0={.}", Unset: "ecs:UntagResource ResourceArn=arn:aws:ecs:{region}:{account}:cluster/{id} TagKeys.0={.Key}"}},
			Replace: "ClusterName", Delete: "ecs:DeleteCluster Cluster={id}", Gone: "ClusterNotFoundException"},
		{Type: "AWS::ECS::TaskDefinition", Name: "Family", Longest: 255, Tags: true,
			Create: "ecs:RegisterTaskDefinition Family={name} TaskRoleArn ExecutionRoleArn NetworkMode ContainerDefinitions RequiresCompatibilities Cpu Memory RuntimePlatform Tags",
			ID:     "=TaskDefinition.TaskDefinitionArn", Attr: map[string]string{"TaskDefinitionArn": "=TaskDefinition.TaskDefinitionArn"},
			Parts:   []part{{Of: "Tags", Each: "Key", Made: true, Set: "ecs:TagResource ResourceArn={id} Tags.0={.}", Unset: "ecs:UntagResource ResourceArn={id} TagKeys.0={.Key}"}},
			Replace: "Family TaskRoleArn ExecutionRoleArn NetworkMode ContainerDefinitions RequiresCompatibilities Cpu Memory RuntimePlatform",
			Delete:  "ecs:DeregisterTaskDefinition TaskDefinition={id}", Gone: "ClientException"},
		{Type: "AWS::ECS::Service", Name: "ServiceName", Longest: 255, Tags: true,
			Create: "ecs:CreateService ServiceName={name} Cluster TaskDefinition DesiredCount LaunchType DeploymentConfiguration NetworkConfiguration PropagateTags Tags",
			ID:     "=Service.ServiceArn", Attr: map[string]string{"ServiceArn": "=Service.ServiceArn", "Name": "=Service.ServiceName"},
			Ready: "ecs:DescribeServices Cluster Services.0={id}", IsReady: "Services.0.Deployments.0.RolloutState=COMPLETED", IsGone: "Services.0.Status=INACTIVE",
			Parts: []part{
				{Of: "TaskDefinition DesiredCount DeploymentConfiguration NetworkConfiguration", Made: true,
					Set: "ecs:UpdateService Cluster Service={id} TaskDefinition DesiredCount DeploymentConfiguration NetworkConfiguration"},
				{Of: "Tags", Each: "Key", Made: true, Set: "ecs:TagResource ResourceArn={id} Tags.0={.}", Unset: "ecs:UntagResource ResourceArn={id} TagKeys.0={.Key}"}},
			Replace: "ServiceName Cluster LaunchType", Delete: "ecs:DeleteService Cluster Service={id} Force=true", Gone: "ServiceNotFoundException ServiceNotActiveException ClusterNotFoundException"},

		{Type: "AWS::CodePipeline::Pipeline", Name: "Name", Longest: 100, Required: "RoleArn Stages", Tags: true,
			Create: "codepipeline:CreatePipeline Pipeline.Name={name} Pipeline.RoleArn={RoleArn} Pipeline.Stages={Stages} Pipeline.ArtifactStore={ArtifactStore} Pipeline.PipelineType={PipelineType} Pipeline.ExecutionMode={ExecutionMode} Pipeline.Variables={Variables} Tags",
			Attr:   map[string]string{"Version": "=Pipeline.Version"},
			Parts: []part{
				{Of: "RoleArn Stages ArtifactStore PipelineType ExecutionMode Variables", Made: true,
					Set: "codepipeline:UpdatePipeline Pipeline.Name={id} Pipeline.RoleArn={RoleArn} Pipeline.Stages={Stages} Pipeline.ArtifactStore={ArtifactStore} Pipeline.PipelineType={PipelineType} Pipeline.ExecutionMode={ExecutionMode} Pipeline.Variables={Variables}"},
				{Of: "Tags", Each: "Key", Made: true, Set: "codepipeline:TagResource ResourceArn=arn:aws:codepipeline:{region}:{account}:{id} Tags.0={.}", Unset: "codepipeline:UntagResource ResourceArn=arn:aws:codepipeline:{region}:{account}:{id} TagKeys.0={.Key}"}},
			Replace: "Name", Delete: "codepipeline:DeletePipeline Name={id}", Gone: "PipelineNotFoundException"},

		{Type: "AWS::CloudFormation::WaitConditionHandle", ID: "https://cloudformation-waitcondition-{region}.s3.{region}.amazonaws.com/{name}"},
		{Type: stackType, IAM: true, Required: "TemplateURL", Tags: true},
	}
	all := map[string]*kind{}
	for _, k := range list {
		k.compile()
		all[k.Type] = &k
	}
	return all
}

var inBraces = regexp.MustCompile(`\{([A-Z][A-Za-z]*)`)

// compile reads what the row says in text, and panics where it names what there is not.
func (k *kind) compile() {
	k.taken, k.create, k.tell, k.delete, k.ready, k.read = mustParse(k.Taken), mustParse(k.Create), mustParse(k.Tell), mustParse(k.Delete), mustParse(k.Ready), mustParse(k.Read)
	k.known, k.replace = map[string]bool{}, map[string]bool{}
	know := func(names string) {
		for _, name := range strings.Fields(names) {
			k.known[name] = true
		}
	}
	know(k.Name + " " + k.Required + " " + k.Replace)
	for _, name := range strings.Fields(k.Replace) {
		k.replace[name] = true
	}
	for _, c := range k.create {
		for _, w := range c.words {
			for _, m := range inBraces.FindAllStringSubmatch(w.value, -1) {
				know(m[1])
			}
		}
	}
	for i := range k.Parts {
		p := &k.Parts[i]
		p.of = strings.Fields(p.Of)
		know(p.Of)
		p.set, p.unset, p.change = mustParse(p.Set), mustParse(p.Unset), mustParse(p.Change)
		if p.change == nil {
			p.change = p.set
		}
	}
	if k.Type == stackType {
		know("TemplateURL Parameters Tags")
	}
	// What changes and has no part of its own makes a new resource: nothing is forgotten.
	parts := map[string]bool{}
	for _, p := range k.Parts {
		for _, name := range p.of {
			parts[name] = true
		}
	}
	for name := range k.known {
		if !parts[name] && k.Type != stackType {
			k.replace[name] = true
		}
	}
}

// check sees that properties are those of the kind.
func (k *kind) check(logical string, properties map[string]any) error {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if !k.known[name] {
			faults = append(faults, "#: extraneous key ["+name+"] is not permitted")
		}
	}
	for name := range strings.FieldsSeq(k.Required) {
		if _, ok := properties[name]; !ok {
			faults = append(faults, "#: required key ["+name+"] not found")
		}
	}
	if faults != nil {
		return invalid("Properties validation failed for resource %s with message:\n[%s]", logical, strings.Join(faults, ", "))
	}
	return nil
}

// generated is a name as CloudFormation makes them: STACK-LOGICALID-RANDOM.
func (k *kind) generated(stack, logical string) string {
	const behind = 12
	longest := k.Longest
	if longest == 0 {
		longest = 128
	}
	room := longest - behind - 2
	if len(stack)+len(logical) > room { // each keeps its share, the stack at least half
		stack = stack[:min(len(stack), max(room-len(logical), room/2))]
		logical = logical[:min(len(logical), room-len(stack))]
	}
	name := stack + "-" + logical + "-" + random(behind)
	if k.Lower {
		name = strings.ToLower(name)
	}
	return name
}

// oldestVersion deletes the oldest version of a managed policy that has as many as there may be.
func oldestVersion(ctx context.Context, s *Service, as *service.Call, id string) error {
	out, err := service.Invoke[iam.ListPolicyVersionsOutput](ctx, s.Invoker, as, "iam", &iam.ListPolicyVersionsInput{PolicyArn: id})
	if err != nil || len(out.Versions) < 5 {
		return err
	}
	oldest := ""
	for _, v := range out.Versions { // the newest first
		if !v.IsDefaultVersion {
			oldest = v.VersionId
		}
	}
	_, err = s.Invoker.Invoke(ctx, as, "iam", "DeletePolicyVersion", &iam.DeletePolicyVersionInput{PolicyArn: id, VersionId: oldest})
	return err
}

// allVersions deletes the versions of a managed policy but the default one.
func allVersions(ctx context.Context, s *Service, as *service.Call, id string) error {
	out, err := service.Invoke[iam.ListPolicyVersionsOutput](ctx, s.Invoker, as, "iam", &iam.ListPolicyVersionsInput{PolicyArn: id})
	if err != nil {
		return err
	}
	for _, v := range out.Versions {
		if v.IsDefaultVersion {
			continue
		}
		if _, err := s.Invoker.Invoke(ctx, as, "iam", "DeletePolicyVersion", &iam.DeletePolicyVersionInput{PolicyArn: id, VersionId: v.VersionId}); err != nil {
			return err
		}
	}
	return nil
}
