package policy

import (
	"slices"
	"strconv"
	"strings"
)

// The types of findings, from the gravest.
const (
	TypeError           = "ERROR"            // a part of the policy does not work
	TypeSecurityWarning = "SECURITY_WARNING" // the policy allows more than it should
	TypeWarning         = "WARNING"          // the policy may not do what its author thinks
	TypeSuggestion      = "SUGGESTION"       // style: access stays the same
)

// A Finding is something that the author of a policy should know, in the terms of
// IAM Access Analyzer's policy validation.
type Finding struct {
	Type string // "ERROR", "SECURITY_WARNING", "WARNING" or "SUGGESTION"
	Code string // "INVALID_ACTION"; see Rules
	Text string
	Location
	More []Location // where else, when there is more than one place: further redundant actions
}

// A Location is a part of a policy document. When the policy was not read from
// text, it has a Path alone.
type Location struct {
	Path []Step
	Line, Column,
	EndLine, EndColumn int // counted from 1; columns are characters; the end is behind the last one
	Offset, EndOffset int // in bytes, from 0
}

// A Step leads from a part of a document into it: to the member of an object, or to
// an item of a list.
type Step struct {
	Name  string // of a member; "" for an item
	Index int
}

// Where is the path as people write it: "Statement[0].Action[1]".
func (l *Location) Where() string {
	var b strings.Builder
	for i, s := range l.Path {
		switch {
		case s.Name == "":
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		case i > 0:
			b.WriteString("." + s.Name)
		default:
			b.WriteString(s.Name)
		}
	}
	return b.String()
}

// A Reference knows what services, actions, resources and condition keys there are.
// A nil function is not asked: what would need it is not looked at.
type Reference struct {
	// Prefixes gives the prefixes of all services: "s3".
	Prefixes func() []string

	// Service gives what is known of the service with that prefix, in lower case;
	// nil when there is none. It is asked often and should remember.
	Service func(prefix string) *ReferenceService

	// Global gives the condition keys that exist for every service.
	Global func() []ReferenceKey
}

// A ReferenceService is what is known of a service.
type ReferenceService struct {
	Prefix          string
	ControlPolicies bool // resource control policies reach it
	Actions         []ReferenceAction
	Resources       []ReferenceResource
	Keys            []ReferenceKey
}

// A ReferenceAction is an action of a service.
type ReferenceAction struct {
	Name      string   // "GetObject"
	Resources []string // ARN patterns of the resources that it can be restricted to; none when it is authorised on "*"
	Keys      []string // names of the condition keys that hold for it, whatever the resource
}

// A ReferenceResource is a type of resource.
type ReferenceResource struct {
	Name string // "object"
	ARN  string // "arn:${Partition}:s3:::${BucketName}/${ObjectName}"
}

// A ReferenceKey is a condition key.
type ReferenceKey struct {
	Name string // "aws:RequestTag/${TagKey}"
	Type string // "String", "ARN", "Bool", "Numeric", "Date", "IPAddress"; "ArrayOf..." when multivalued
}

// A Rule is something that policy validation looks for.
type Rule struct {
	Type string
	Code string
	Text string // of the finding, with {names} where its particulars stand

	// Missing says why Validate never reports the check; "" when it does.
	Missing string
}

// Ours says whether the rule is none of AWS's: its code then begins with IAMD_.
func (r *Rule) Ours() bool { return strings.HasPrefix(r.Code, "IAMD_") }

// Rules gives all rules: those that AWS publishes, in its order, then our own.
func Rules() []Rule { return slices.Clone(rules) }

// ruleOf gives the rule of that code.
func ruleOf(code string) *Rule {
	for i := range rules {
		if rules[i].Code == code {
			return &rules[i]
		}
	}
	panic("policy: no rule " + code)
}

const (
	specifyARNs      = " We recommend that you specify resource ARNs instead."
	specifyOrPass    = " We recommend that you specify resource ARNs or add the iam:PassedToService condition key to your statement."
	unintendedSLR    = " can allow creation of unintended service-linked roles"
	granularPolicies = " We recommend that you use multiple granular policies."
	nullInstead      = " is missing from the request context. To determine if the request context is empty, we recommend that you use the Null condition operator with the value of true instead."
	sensitiveList    = " Refer to https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html for the list of sensitive keys."
)

// rules has the codes and texts of the IAM User Guide's page "IAM policy validation
// check reference" (access-analyzer-reference-policy-checks), as of 2026. The texts
// are what ValidatePolicy answers.
var rules = []Rule{
	{TypeError, "ARN_ACCOUNT_NOT_ALLOWED", "The service {service} does not support specifying an account ID in the resource ARN.", ""},
	{TypeError, "ARN_REGION_NOT_ALLOWED", "The service {service} does not support specifying a Region in the resource ARN.", ""},
	{TypeError, "DATA_TYPE_MISMATCH", "The text does not match the expected JSON data type {data_type}.", ""},
	{TypeError, "DUPLICATE_KEYS_WITH_DIFFERENT_CASE", "The condition key {key} appears more than once with different capitalization in the same condition block. Remove the duplicate condition keys.", ""},
	{TypeError, "INVALID_ACTION", "The action {action} does not exist.", ""},
	{TypeError, "INVALID_ARN_ACCOUNT", "The resource ARN account ID {account} is not valid. Provide a 12-digit account ID.", ""},
	{TypeError, "INVALID_ARN_PREFIX", "Add the required prefix (arn) to the resource ARN.", ""},
	{TypeError, "INVALID_ARN_REGION", "The Region {region} is not valid for this resource. Update the resource ARN to include a supported Region.", ""},
	{TypeError, "INVALID_ARN_RESOURCE", "Resource ARN does not match the expected ARN format. Update the resource portion of the ARN.", ""},
	{TypeError, "INVALID_ARN_SERVICE_CASE", "Update the service name {service} in the resource ARN to use all lowercase letters.", ""},
	{TypeError, "INVALID_CONDITION_DATA_TYPE", "The condition value data types do not match. Use condition values of the same JSON data type.", ""},
	{TypeError, "INVALID_CONDITION_KEY_FORMAT", "The condition key format is not valid. Use the format service:keyname.", ""},
	{TypeError, "INVALID_CONDITION_MULTIPLE_BOOLEAN", "The condition key does not support multiple Boolean values. Use a single Boolean value.", ""},
	{TypeError, "INVALID_CONDITION_OPERATOR", "The condition operator {operator} is not valid. Use a valid condition operator.", ""},
	{TypeError, "INVALID_EFFECT", "The effect {effect} is not valid. Use Allow or Deny.", ""},
	{TypeError, "INVALID_GLOBAL_CONDITION_KEY", "The condition key {key} does not exist. Use a valid condition key.", ""},
	{TypeError, "INVALID_PARTITION", "The resource ARN for the service {service} does not support the partition {partition}. Use the supported values: {partitions}", ""},
	{TypeError, "INVALID_POLICY_ELEMENT", "The policy element {element} is not valid.", ""},
	{TypeError, "INVALID_PRINCIPAL_FORMAT", "The Principal element contents are not valid. Specify a key-value pair in the Principal element.", ""},
	{TypeError, "INVALID_PRINCIPAL_KEY", "The principal key {principal-key} is not valid.", ""},
	{TypeError, "INVALID_REGION", "The Region {region} is not valid. Update the condition value to a supported Region.", ""},
	{TypeError, "INVALID_SERVICE", "The service {service} does not exist. Use a valid service name.", ""},
	{TypeError, "INVALID_SERVICE_CONDITION_KEY", "The condition key {key} does not exist in the service {service}. Use a valid condition key.", ""},
	{TypeError, "INVALID_SERVICE_IN_ACTION", "The service {service} specified in the action does not exist.", ""},
	{TypeError, "INVALID_VARIABLE_FOR_OPERATOR", "Policy variables can only be used with String and ARN operators.", ""},
	{TypeError, "INVALID_VERSION", "The version {version} is not valid. Use one of the following versions: 2012-10-17, 2008-10-17", ""},
	{TypeError, "JSON_SYNTAX_ERROR", "Fix the JSON syntax error at index {index} line {line} column {column}.", ""},
	{TypeError, "MISSING_ACTION", "Add an Action or NotAction element to the policy statement.", ""},
	{TypeError, "MISSING_ARN_FIELD", "Resource ARNs must include at least {fields} fields in the following structure: arn:partition:service:region:account:resource", ""},
	{TypeError, "MISSING_ARN_REGION", "Add a Region to the {service} resource ARN.", ""},
	{TypeError, "MISSING_EFFECT", "Add an Effect element to the policy statement with a value of Allow or Deny.", ""},
	{TypeError, "MISSING_PRINCIPAL", "Add a Principal element to the policy statement.", ""},
	{TypeError, "MISSING_QUALIFIER", "The request context key {key} has multiple values. Use the ForAllValues or ForAnyValue condition key qualifiers in your policy.", ""},
	{TypeError, "MISSING_RESOURCE", "Add a Resource or NotResource element to the policy statement.", ""},
	{TypeError, "MISSING_STATEMENT", "Add a statement to the policy", ""},
	{TypeError, "NULL_WITH_IF_EXISTS", "The Null condition operator cannot be used with the IfExists suffix. Update the operator or the suffix.", ""},
	{TypeError, "SCP_SYNTAX_ERROR_ACTION_WILDCARD", "SCP actions can include wildcards (*) only at the end of a string. Update {action}.",
		"Organizations takes wildcards anywhere in an action since September 2025, as its page on SCP syntax says."},
	{TypeError, "SCP_SYNTAX_ERROR_PRINCIPAL", "SCPs do not support specifying principals. Remove the Principal or NotPrincipal element.", ""},
	{TypeError, "UNIQUE_SIDS_REQUIRED", "Duplicate statement IDs are not supported for this policy type. Update the Sid value.", ""},
	{TypeError, "UNSUPPORTED_ACTION_IN_POLICY", "The action {action} is not supported for the resource-based policy attached to the resource type {resourceType}.", ""},
	{TypeError, "UNSUPPORTED_ELEMENT_COMBINATION", "The policy elements {element1} and {element2} can not be used in the same statement. Remove one of these elements.", ""},
	{TypeError, "UNSUPPORTED_GLOBAL_CONDITION_KEY", "The condition key aws:ARN is not supported. Use aws:PrincipalArn or aws:SourceArn instead.", ""},
	{TypeError, "UNSUPPORTED_PRINCIPAL", "The policy type {policy_type} does not support the Principal element. Remove the Principal element.", ""},
	{TypeError, "UNSUPPORTED_RESOURCE_ARN_IN_POLICY", "The resource ARN is not supported for the resource-based policy attached to the resource type {resourceType}.", ""},
	{TypeError, "UNSUPPORTED_SID", "Update the characters in the Sid element to use one of the following character types: [a-z, A-Z, 0-9]", ""},
	{TypeError, "UNSUPPORTED_WILDCARD_IN_PRINCIPAL", "Wildcards (*, ?) are not supported with the principal key {principal_key}. Replace the wildcard with a valid principal value.", ""},
	{TypeError, "MISSING_BRACE_IN_VARIABLE", "The policy variable is missing a closing curly brace. Add } after the variable text.", ""},
	{TypeError, "MISSING_QUOTE_IN_VARIABLE", "The policy variable default value must begin and end with a single quote. Add the missing quote.", ""},
	{TypeError, "UNSUPPORTED_SPACE_IN_VARIABLE", "A space is not supported within the policy variable text. Remove the space.", ""},
	{TypeError, "EMPTY_VARIABLE", "Empty policy variable. Remove the ${ } variable structure or provide a variable within the structure.", ""},
	{TypeError, "VARIABLE_UNSUPPORTED_IN_ELEMENT", "Policy variables are supported in the Resource and Condition elements. Remove the policy variable {variable} from this element.", ""},
	{TypeError, "VARIABLE_UNSUPPORTED_IN_VERSION", "To include variables in your policy, use the policy version 2012-10-17 or later.", ""},
	{TypeError, "PRIVATE_IP_ADDRESS", "aws:SourceIp works only for public IP address ranges. The values for condition key aws:SourceIp include only private IP addresses and will not have the desired effect. Update the value to include only public IP addresses.", ""},
	{TypeError, "PRIVATE_NOT_IP_ADDRESS", "The values for condition key aws:SourceIp include only private IP addresses and has no effect. aws:SourceIp works only for public IP address ranges. Update the value to include only public IP addresses.", ""},
	{TypeError, "POLICY_SIZE_EXCEEDS_SCP_QUOTA", "The {policySize} characters in the service control policy (SCP) exceed the {policySizeQuota} character maximum for SCPs." + granularPolicies, ""},
	{TypeError, "INVALID_SERVICE_PRINCIPAL_FORMAT", "The service principal does not match the expected format. Use the format {expectedFormat}.", ""},
	{TypeError, "MISSING_TAG_KEY_IN_CONDITION", "The condition key {conditionKeyName} must include a tag key to control access based on tags. Use the format {conditionKeyName}tag-key and specify a key name for tag-key.", ""},
	{TypeError, "INVALID_VPC_FORMAT", "The VPC identifier in the condition key value is not valid. Use the prefix 'vpc-' followed by 8 or 17 alphanumeric characters.", ""},
	{TypeError, "INVALID_VPCE_FORMAT", "The VPCE identifier in the condition key value is not valid.  Use the prefix 'vpce-' followed by 8 or 17 alphanumeric characters.", ""},
	{TypeError, "FEDERATED_PRINCIPAL_NOT_SUPPORTED", "The policy type does not support a federated identity provider in the principal element. Use a supported principal.", ""},
	{TypeError, "UNSUPPORTED_ACTION_FOR_CONDITION_KEY", "The following actions: {actions} are not supported by the condition key {key}. The condition will not be evaluated for these actions. We recommend that you move these actions to a different statement without this condition key.", ""},
	{TypeError, "UNSUPPORTED_CONDITION_KEY_FOR_SERVICE_PRINCIPAL", "The following condition keys are not supported when used with the service principal: {conditionKeys}.", ""},
	{TypeError, "ROLE_TRUST_POLICY_SYNTAX_ERROR_NOTPRINCIPAL", "Role trust policies do not support NotPrincipal. Update the policy to use a Principal element instead.", ""},
	{TypeError, "ROLE_TRUST_POLICY_UNSUPPORTED_WILDCARD_IN_PRINCIPAL", `"Principal:" "*" is not supported in the principal element of a role trust policy. Replace the wildcard with a valid principal value.`, ""},
	{TypeError, "ROLE_TRUST_POLICY_SYNTAX_ERROR_RESOURCE", "Role trust policies apply to the role that they are attached to. You cannot specify a resource. Remove the Resource or NotResource element.", ""},
	{TypeError, "TYPE_MISMATCH_IP_RANGE", "The condition operator {operator} is used with an invalid IP range value. Specify the IP range in standard CIDR format.", ""},
	{TypeError, "MISSING_ACTION_FOR_CONDITION_KEY", "The {actionName} action must be in the action block to allow setting values for the condition key {keyName}. Add {actionName} to the action block.", ""},
	{TypeError, "INVALID_FEDERATED_PRINCIPAL_SYNTAX_IN_ROLE_TRUST_POLICY", "The principal value specifies a federated principal that does not match the expected format. Update the federated principal to a domain name or a SAML metadata ARN.", ""},
	{TypeError, "MISMATCHED_ACTION_FOR_PRINCIPAL", "The {actionName} action is invalid with the following principal(s): {principalNames}. Use a SAML provider principal with the sts:AssumeRoleWithSAML action or use an OIDC provider principal with the sts:AssumeRoleWithWebIdentity action. Ensure the provider is Federated if you use either of the two options.", ""},
	{TypeError, "MISSING_ACTION_FOR_ROLES_ANYWHERE_TRUST_POLICY", "The rolesanywhere.amazonaws.com service principal requires the sts:AssumeRole, sts:SetSourceIdentity, and sts:TagSession permissions to assume a role. Add the missing permissions to the policy.", ""},
	{TypeError, "POLICY_SIZE_EXCEEDS_RCP_QUOTA", "The {policySize} characters in the resource control policy (RCP) exceed the {policySizeQuota} character maximum for RCPs." + granularPolicies, ""},
	{TypeError, "RCP_SYNTAX_ERROR_PRINCIPAL", `The Principal element contents are not valid. RCPs only support specifying all principals ("*") in the Principal element. The NotPrincipal element is not supported for RCPs.`, ""},
	{TypeError, "RCP_SYNTAX_ERROR_ALLOW", `RCPs only support specifying all principals ("*") in the Principal element, all resources ("*") in the Resource element, and no Condition element with an effect of Allow.`, ""},
	{TypeError, "RCP_SYNTAX_ERROR_NOTACTION", "RCPs do not support the NotAction element. Update to use the Action element.", ""},
	{TypeError, "RCP_SYNTAX_ERROR_ACTION", "RCPs only support specifying select service prefixes in the Action element. Learn more here.", ""},
	{TypeError, "MISSING_ARN_ACCOUNT", "The resource {resourceName} in the arn is missing an account id. Please provide a 12 digit account id.", ""},
	{TypeError, "INVALID_KMS_KEY_VALUE", "The {key} condition key value must be a valid KMS key ARN.", ""},
	{TypeError, "VARIABLE_USAGE_TOO_PERMISSIVE", "The policy variable is not allowed in the condition key {key}. We consider the key to be sensitive and policy variables can be evaluated as effective wildcards. Therefore policy variables are not allowed to be used with sensitive keys." + sensitiveList, ""},
	{TypeError, "WILDCARD_USAGE_TOO_PERMISSIVE", "The wildcard is not allowed in the condition key {key}. We consider the key to be sensitive and wildcards are not allowed to be used with sensitive keys." + sensitiveList, ""},

	{TypeWarning, "CREATE_SLR_WITH_NOT_RESOURCE", "Using the iam:CreateServiceLinkedRole action with NotResource" + unintendedSLR + " for multiple resources." + specifyARNs, ""},
	{TypeWarning, "CREATE_SLR_WITH_STAR_IN_ACTION_AND_NOT_RESOURCE", "Using an action with a wildcard(*) and NotResource" + unintendedSLR + " because it can allow iam:CreateServiceLinkedRole permissions on multiple resources." + specifyARNs, ""},
	{TypeWarning, "CREATE_SLR_WITH_NOT_ACTION_AND_NOT_RESOURCE", "Using NotAction with NotResource" + unintendedSLR + " because it allows iam:CreateServiceLinkedRole permissions on multiple resources." + specifyARNs, ""},
	{TypeWarning, "CREATE_SLR_WITH_STAR_IN_RESOURCE", "Using the iam:CreateServiceLinkedRole action with wildcards (*) in the resource" + unintendedSLR + "." + specifyARNs, ""},
	{TypeWarning, "CREATE_SLR_WITH_STAR_IN_ACTION_AND_RESOURCE", "Using wildcards (*) in the action and the resource" + unintendedSLR + " because it allows iam:CreateServiceLinkedRole permissions on all resources." + specifyARNs, ""},
	{TypeWarning, "CREATE_SLR_WITH_STAR_IN_RESOURCE_AND_NOT_ACTION", "Using a resource with wildcards (*) and NotAction" + unintendedSLR + " because it allows iam:CreateServiceLinkedRole permissions on all resources." + specifyARNs, ""},
	{TypeWarning, "DEPRECATED_GLOBAL_CONDITION_KEY", "We recommend that you update aws:ARN to use the newer condition key aws:PrincipalArn.",
		"AWS publishes two checks of the key aws:ARN and does not say which holds when: the error UNSUPPORTED_GLOBAL_CONDITION_KEY is reported."},
	{TypeWarning, "INVALID_DATE_VALUE", "The date {date} might not resolve as expected. We recommend that you use the YYYY-MM-DD format.", ""},
	{TypeWarning, "INVALID_ROLE_REFERENCE", "The Principal element includes the IAM role ID {roleid}. We recommend that you use a role ARN instead.", ""},
	{TypeWarning, "INVALID_USER_REFERENCE", "The Principal element includes the IAM user ID {userid}. We recommend that you use a user ARN instead.", ""},
	{TypeWarning, "MISSING_VERSION", "We recommend that you specify the Version element to help you with debugging permission issues.", ""},
	{TypeWarning, "UNIQUE_SIDS_RECOMMENDED", "We recommend that you use statement IDs that are unique to your policy. Update the Sid value.", ""},
	{TypeWarning, "WILDCARD_WITHOUT_LIKE_OPERATOR", "Your condition value includes a * or ? character. If you meant to use a wildcard (*, ?), update the condition operator to include Like.", ""},
	{TypeWarning, "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA", "The {policySize} characters in the identity policy, excluding whitespace, exceed the {policySizeQuota} character maximum for inline and managed policies." + granularPolicies, ""},
	{TypeWarning, "POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA", "The {policySize} characters in the resource policy exceed the {policySizeQuota} character maximum for resource policies." + granularPolicies, ""},
	{TypeWarning, "TYPE_MISMATCH", "Use the operator type {allowed} instead of operator {operator} for the condition key {key}.", ""},
	{TypeWarning, "TYPE_MISMATCH_BOOLEAN", "Add a valid Boolean value (true or false) for the condition operator {operator}.", ""},
	{TypeWarning, "TYPE_MISMATCH_DATE", "The date condition operator is used with an invalid value. Specify a valid date using YYYY-MM-DD or other ISO 8601 date/time format.", ""},
	{TypeWarning, "TYPE_MISMATCH_NUMBER", "Add a valid numeric value for the condition operator {operator}.", ""},
	{TypeWarning, "TYPE_MISMATCH_STRING", "Add a valid base64-encoded string value for the condition operator {operator}.", ""},
	{TypeWarning, "SPECIFIC_GITHUB_REPO_AND_BRANCH_RECOMMENDED", "Using a wildcard (*) in token.actions.githubusercontent.com:sub can allow requests from more sources than you intended. Specify the value of token.actions.githubusercontent.com:sub with the repository and branch name. If the subject claim does not include the branch, specify it in a token.actions.githubusercontent.com:ref condition key.", ""},
	{TypeWarning, "POLICY_SIZE_EXCEEDS_ROLE_TRUST_POLICY_QUOTA", "The characters in the role trust policy, excluding whitespace, exceed the character maximum. We recommend that you request a role trust policy length quota increase using Service Quotas and AWS Support Center. If the quotas have already been increased, then you can ignore this warning.", ""},
	{TypeWarning, "RCP_MISSING_RELATED_PRINCIPAL_CONDITION_KEY", `RCPs impact IAM roles, users, and AWS service principals. To prevent unintended impact to services acting on your behalf using a service principal, an additional statement should be added to the Condition block "BoolIfExists": { "aws:PrincipalIsAWSService": "false"} whenever a principal key {conditionKeyName} is used.`, ""},
	{TypeWarning, "RCP_MISSING_RELATED_SERVICE_PRINCIPAL_CONDITION_KEY", `RCPs impact IAM roles, users, and AWS service principals. To prevent unintended impact to your principals, an additional statement should be added to the Condition block "BoolIfExists": { "aws:PrincipalIsAWSService": "true"} whenever the key {conditionKeyName} is used.`, ""},
	{TypeWarning, "RCP_MISSING_SERVICE_CONDITION_KEY_NULL_CHECK", `The specified service may have a service integration that does not require the use of the {conditionKeyName} condition key. To prevent unintended impact to services acting on your behalf using a service principal, an additional statement should be added to the Condition block "Null": { "aws:SourceAccount": "false"} or "Null": { "aws:SourceArn": "false"} whenever the key {conditionKeyName} is used.`, ""},
	{TypeWarning, "USE_CONDITION_KEY_ONLY_WITH_SUPPORTED_SERVICES", "The condition key {key} works only with specific AWS services and must be scoped to supported services in your policies.", ""},

	{TypeSecurityWarning, "UNTRUSTWORTHY_CONDITION_KEY", "The {key} condition key is not recommended for access control as it can be spoofed/manipulated by the caller.", ""},
	{TypeSecurityWarning, "ALLOW_WITH_NOT_PRINCIPAL", "Using Allow with NotPrincipal can be overly permissive. We recommend that you use Principal instead.", ""},
	{TypeSecurityWarning, "FORALLVALUES_WITH_SINGLE_VALUED_KEY", "Using ForAllValues qualifier with the single-valued condition key {key} can be overly permissive. We recommend that you remove ForAllValues:.", ""},
	{TypeSecurityWarning, "PASS_ROLE_WITH_NOT_RESOURCE", "Using the iam:PassRole action with NotResource can be overly permissive because it can allow iam:PassRole permissions on multiple resources." + specifyARNs, ""},
	{TypeSecurityWarning, "PASS_ROLE_WITH_STAR_IN_ACTION_AND_NOT_RESOURCE", "Using an action with a wildcard (*) and NotResource can be overly permissive because it can allow iam:PassRole permissions on multiple resources." + specifyARNs, ""},
	{TypeSecurityWarning, "PASS_ROLE_WITH_NOT_ACTION_AND_NOT_RESOURCE", "Using NotAction with NotResource can be overly permissive because it can allow iam:PassRole permissions on multiple resources.." + specifyARNs, ""},
	{TypeSecurityWarning, "PASS_ROLE_WITH_STAR_IN_RESOURCE", "Using the iam:PassRole action with wildcards (*) in the resource can be overly permissive because it allows iam:PassRole permissions on multiple resources." + specifyOrPass, ""},
	{TypeSecurityWarning, "PASS_ROLE_WITH_STAR_IN_ACTION_AND_RESOURCE", "Using wildcards (*) in the action and the resource can be overly permissive because it allows iam:PassRole permissions on all resources." + specifyOrPass, ""},
	{TypeSecurityWarning, "PASS_ROLE_WITH_STAR_IN_RESOURCE_AND_NOT_ACTION", "Using a resource with wildcards (*) and NotAction can be overly permissive because it allows iam:PassRole permissions on all resources." + specifyOrPass, ""},
	{TypeSecurityWarning, "MISSING_PAIRED_CONDITION_KEYS", "Using the condition key {conditionKeyName} can be overly permissive without also using the following condition keys: {recommendedKeys}. Condition keys like this one are more secure when paired with a related key. We recommend that you add the related condition keys to the same condition block.", ""},
	{TypeSecurityWarning, "DENY_WITH_UNSUPPORTED_TAG_CONDITION_KEY_FOR_SERVICE", "Using the effect Deny with the tag condition key {conditionKeyName} and actions for services with the following prefixes can be overly permissive: {serviceNames}. Actions for the listed services are not denied by this statement. We recommend that you move these actions to a different statement without this condition key.", ""},
	{TypeSecurityWarning, "DENY_NOTACTION_WITH_UNSUPPORTED_TAG_CONDITION_KEY_FOR_SERVICE", "Using the effect Deny with NotAction and the tag condition key {conditionKeyName} can be overly permissive because some service actions are not denied by this statement. This is because the condition key doesn't apply to some service actions. We recommend that you use Action instead of NotAction.", ""},
	{TypeSecurityWarning, "RESTRICT_ACCESS_TO_SERVICE_PRINCIPAL", "Granting access to a service principal without specifying a source is overly permissive. Use aws:SourceArn, aws:SourceAccount, aws:SourceOrgID, or aws:SourceOrgPaths condition key to grant fine-grained access.", ""},
	{TypeSecurityWarning, "MISSING_CONDITION_KEY_FOR_OIDC_PRINCIPAL", "Using an Open ID Connect principal without a condition can be overly permissive. Add condition keys with a prefix that matches your federated OIDC principals to ensure that only the intended identity provider assumes the role.", ""},
	{TypeSecurityWarning, "MISSING_GITHUB_REPO_CONDITION_KEY", "Granting a federated GitHub principal permissions without a condition key can allow more sources to assume the role than you intended. Add the token.actions.githubusercontent.com:sub condition key and specify the branch and repository name in the value.", ""},
	{TypeSecurityWarning, "STRING_LIKE_OPERATOR_WITH_ARN_CONDITION_KEYS", "Use the operator type {allowed} instead of operator {operator} for the condition key {key}.", ""},
	{TypeSecurityWarning, "DYNAMODB_ATTRIBUTES_WITHOUT_SELECT", "Restricting dynamodb:Attributes without also setting dynamodb:Select to SPECIFIC_ATTRIBUTES allows all attributes to be returned on read requests that omit a projection expression. We recommend that you also set dynamodb:Select to SPECIFIC_ATTRIBUTES.", ""},
	{TypeSecurityWarning, "S3_PREFIX_IN_NEGATIVE_CONTEXT", "Using the s3:prefix condition key in a Deny statement or with a negated string operator does not block listing the objects under the matching prefixes. A request that specifies a shorter prefix does not match the condition and can still list those objects. To restrict listing to specific prefixes, use s3:prefix with StringLike in an Allow statement, or use a Deny statement with StringNotLike.", ""},
	{TypeSecurityWarning, "FORANYVALUE_WITH_AUDIENCE_CLAIM_TYPE", "Using ForAnyValue qualifier with the single-valued condition key {key} can be overly permissive. We recommend that you remove ForAnyValue:.", ""},

	{TypeSuggestion, "EMPTY_ARRAY_ACTION", "This statement includes no actions and does not affect the policy. Specify actions.", ""},
	{TypeSuggestion, "EMPTY_ARRAY_CONDITION", "There are no values for the condition key {key} and it does not affect the policy. Specify conditions.", ""},
	{TypeSuggestion, "EMPTY_ARRAY_CONDITION_FORALLVALUES", "The ForAllValues prefix with an empty condition key matches only if the key {key}" + nullInstead, ""},
	{TypeSuggestion, "EMPTY_ARRAY_CONDITION_FORANYVALUE", "The ForAnyValue prefix with an empty condition key {key} never matches the request context and it does not affect the policy. Specify conditions.", ""},
	{TypeSuggestion, "EMPTY_ARRAY_CONDITION_IFEXISTS", "The IfExists suffix with an empty condition key matches only if the key {key}" + nullInstead, ""},
	{TypeSuggestion, "EMPTY_ARRAY_PRINCIPAL", "This statement includes no principals and does not affect the policy. Specify principals.", ""},
	{TypeSuggestion, "EMPTY_ARRAY_RESOURCE", "This statement includes no resources and does not affect the policy. Specify resources.", ""},
	{TypeSuggestion, "EMPTY_OBJECT_CONDITION", "This condition block is empty and it does not affect the policy. Specify conditions.", ""},
	{TypeSuggestion, "EMPTY_OBJECT_PRINCIPAL", "This statement includes no principals and does not affect the policy. Specify principals.", ""},
	{TypeSuggestion, "EMPTY_SID_VALUE", "Add a value to the empty string in the Sid element.", ""},
	{TypeSuggestion, "EQUIVALENT_TO_NULL_FALSE", "We recommend replacing the key {key} in the condition block of {operator} with {{recommendedKey}: false} to ensure better enforcement of the condition.", ""},
	{TypeSuggestion, "EQUIVALENT_TO_NULL_TRUE", "We recommend replacing the key {key} in the condition block of {operator} with {{recommendedKey}: true} to ensure better enforcement of the condition.", ""},
	{TypeSuggestion, "IMPROVE_IP_RANGE", "The non-zero bits in the IP address after the masked bits are ignored. Replace address with {addr}.", ""},
	{TypeSuggestion, "NULL_WITH_QUALIFIER", "Avoid using the Null condition operator with the ForAllValues or ForAnyValue qualifiers because they always return a true or false respectively.", ""},
	{TypeSuggestion, "PRIVATE_IP_ADDRESS_SUBSET", "The values for condition key aws:SourceIp include a mix of private and public IP addresses. The private addresses will not have the desired effect. aws:SourceIp works only for public IP address ranges. To define permissions for private IP ranges, use aws:VpcSourceIp.", ""},
	{TypeSuggestion, "PRIVATE_NOT_IP_ADDRESS_SUBSET", "The values for condition key aws:SourceIp include a mix of private and public IP addresses. The private addresses have no effect. aws:SourceIp works only for public IP address ranges. To define permissions for private IP ranges, use aws:VpcSourceIp.", ""},
	{TypeSuggestion, "REDUNDANT_ACTION", "The {redundantActionCount} action(s) are redundant because they provide similar permissions. Update the policy to remove the redundant action such as: {redundantAction}.", ""},
	{TypeSuggestion, "REDUNDANT_CONDITION_VALUE_NUM", "Multiple values in {operator} are redundant. Replace with the {greatest/least} single value for {key}.", ""},
	{TypeSuggestion, "REDUNDANT_RESOURCE", "The {redundantResourceCount} resource ARN(s) are redundant because they reference the same resource. Review the use of wildcards (*)", ""},
	{TypeSuggestion, "REDUNDANT_STATEMENT", "The statements are redundant because they provide identical permissions. Update the policy to remove the redundant statement.", ""},
	{TypeSuggestion, "WILDCARD_IN_SERVICE_NAME", "Avoid using wildcards (*, ?) in the service name because it might grant unintended access to other AWS services with similar names.", ""},
	{TypeSuggestion, "ALLOW_WITH_UNSUPPORTED_TAG_CONDITION_KEY_FOR_SERVICE", "Using the effect Allow with the tag condition key {conditionKeyName} and actions for services with the following prefixes does not affect the policy: {serviceNames}. Actions for the listed service are not allowed by this statement. We recommend that you move these actions to a different statement without this condition key.", ""},
	{TypeSuggestion, "ALLOW_NOTACTION_WITH_UNSUPPORTED_TAG_CONDITION_KEY_FOR_SERVICE", "Using the effect Allow with NotAction and the tag condition key {conditionKeyName} allows only service actions that support the condition key. The condition key doesn't apply to some service actions. We recommend that you use Action instead of NotAction.", ""},
	{TypeSuggestion, "RECOMMENDED_CONDITION_KEY_FOR_SERVICE_PRINCIPAL", "To restrict access to the service principal {servicePrincipalPrefix} operating on your behalf, we recommend aws:SourceArn, aws:SourceAccount, aws:SourceOrgID, or aws:SourceOrgPaths instead of {key}.", ""},
	{TypeSuggestion, "IRRELEVANT_CONDITION_KEY_IN_POLICY", "The condition key {condition-key} is not relevant for the {resource-type} policy.  Use this key in an identity-based policy to govern access to this resource.", ""},
	{TypeSuggestion, "REDUNDANT_KEY_DUE_TO_WILDCARD_IN_CONDITION", "The key {key} in the condition block of {operator} is redundant because it is always matched. Remove this key to simplify the condition.", ""},
	{TypeSuggestion, "REDUNDANT_PRINCIPAL_IN_ROLE_TRUST_POLICY", "The assumed-role principal {redundant_principal} is redundant with its parent role {parent_role}. Remove the assumed-role principal.", ""},
	{TypeSuggestion, "REDUNDANT_STATEMENT_DUE_TO_WILDCARD_IN_CONDITION", "The key {key} in the condition block of {operator} does not match any values. Remove this key to simplify the condition.", ""},
	{TypeSuggestion, "CONFIRM_AUDIENCE_CLAIM_TYPE", `The "{key}" ({audienceType}) claim key identifies the recipients that the JSON web token is intended for. Because this claim is single-valued, do not use a qualifier.`, ""},

	{TypeError, "IAMD_REFUSED", "AWS would not store this policy: {refusal}", ""},
	{TypeSecurityWarning, "IAMD_ALLOW_ANYONE", "The statement allows everyone, without credentials too, and no condition restricts it.", ""},
	{TypeWarning, "IAMD_ALLOW_WITH_NOT_ACTION", "Allow with NotAction allows all else, of all services, those to come too.", ""},
	{TypeWarning, "IAMD_FORALLVALUES_WITHOUT_NULL", "ForAllValues is true for a request without {key}. Add Null with {key} and false to ask for it.", ""},
}
