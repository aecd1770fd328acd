package organizations

import (
	"github.com/iamd-dev/iamd/internal/aws/organizations/api"
	"github.com/iamd-dev/iamd/internal/wire"
)

// constraints are AWS's texts of ConstraintViolationException by reason: those of the
// first three were seen, the others are the API Reference's.
var constraints = map[string]string{
	"MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED": "You have attached the maximum number of policies to the specified target.",
	"MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED": "You cannot remove the last policy attached to the specified target. You must have at least one attached at all times.",
	"POLICY_CONTENT_LIMIT_EXCEEDED":             "You have exceeded the maximum policy size.",

	"ACCOUNT_CANNOT_LEAVE_ORGANIZATION":                            "You attempted to remove the management account from the organization. You can't remove the management account.",
	"ACCOUNT_NUMBER_LIMIT_EXCEEDED":                                "You have exceeded the allowed number of AWS accounts.",
	"CANNOT_CLOSE_MANAGEMENT_ACCOUNT":                              "You can't close the management account.",
	"CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR":            "You cannot register the management account as a delegated administrator for your organization.",
	"CANNOT_REGISTER_SUSPENDED_ACCOUNT_AS_DELEGATED_ADMINISTRATOR": "You cannot register a suspended account as a delegated administrator.",
	"CANNOT_REMOVE_DELEGATED_ADMINISTRATOR_FROM_ORG":               "You can't remove an account that is registered as a delegated administrator. You must first deregister it.",
	"MAX_DELEGATED_ADMINISTRATORS_FOR_SERVICE_LIMIT_EXCEEDED":      "You attempted to register more delegated administrators than allowed for the service principal.",
	"MAX_TAG_LIMIT_EXCEEDED":                                       "You have exceeded the number of tags allowed on this resource.",
	"ORGANIZATION_NOT_IN_ALL_FEATURES_MODE":                        "You attempted to perform an operation that requires the organization to be configured to support all features.",
	"OU_DEPTH_LIMIT_EXCEEDED":                                      "You have exceeded the maximum depth of the organizational unit (OU) tree.",
	"OU_NUMBER_LIMIT_EXCEEDED":                                     "You have exceeded the maximum number of organizational units (OUs) in an organization.",
	"POLICY_NUMBER_LIMIT_EXCEEDED":                                 "You have exceeded the maximum number of policies in an organization.",
	"SERVICE_ACCESS_NOT_ENABLED":                                   "You must enable trusted access for the service before you can register a delegated administrator for it.",
}

func constraint(reason string) error {
	return because(api.ConstraintViolation("%s", said(constraints, reason)), reason)
}

// inputs are the texts of InvalidInputException by reason; see package wire for those
// of values that the model itself does not allow. The first was seen.
var inputs = map[string]string{
	"UNRECOGNIZED_SERVICE_PRINCIPAL": "You specified an unrecognized service principal.",

	"DUPLICATE_TAG_KEY":                     "Tag keys must be unique among the tags attached to the same entity.",
	"IMMUTABLE_POLICY":                      "You specified a policy that is managed by AWS and can't be modified.",
	"INVALID_EMAIL_ADDRESS_TARGET":          "You specified an invalid email address for the invited account owner.",
	"INVALID_NEXT_TOKEN":                    "Get the value for the NextToken parameter from the response to a previous call of the operation.",
	"INVALID_PARTY_TYPE_TARGET":             "You specified the wrong type of entity (account, organization, or email) as a party.",
	"INVALID_PATTERN_TARGET_ID":             "You specified a policy target ID that doesn't match the required pattern.",
	"INVALID_RESOURCE_POLICY_JSON":          "You specified a resource policy that is not valid JSON.",
	"INVALID_PRINCIPAL":                     "You specified an invalid principal element in the policy.",
	"INVALID_ROLE_NAME":                     "You provided a role name that isn't valid. A role name can't begin with the reserved prefix AWSServiceRoleFor.",
	"INVALID_SYSTEM_TAGS_PARAMETER":         "You specified a tag key that is a system tag. You can't add, edit, or delete system tag keys because they're reserved for AWS use.",
	"NON_DETACHABLE_POLICY":                 "You can't detach this AWS managed policy.",
	"TARGET_NOT_SUPPORTED":                  "You can't perform the specified operation on that target entity.",
	"UNSUPPORTED_ACTION_IN_RESOURCE_POLICY": "You specified an action that is not supported in a resource policy.",
}

func invalid(reason string) error {
	return because(api.InvalidInput("%s", said(inputs, reason)), reason)
}

// handshakeConstraints are the texts of HandshakeConstraintViolationException by reason.
var handshakeConstraints = map[string]string{
	"ACCOUNT_NUMBER_LIMIT_EXCEEDED":                          "You have exceeded the allowed number of AWS accounts.",
	"ALREADY_IN_AN_ORGANIZATION":                             "The handshake request is invalid because the invited account is already a member of an organization.",
	"INVITE_DISABLED_DURING_ENABLE_ALL_FEATURES":             "You can't issue new invitations to join an organization while it's in the process of enabling all features.",
	"ORGANIZATION_ALREADY_HAS_ALL_FEATURES":                  "The handshake request is invalid because the organization has already enabled all features.",
	"ORGANIZATION_IS_ALREADY_PENDING_ALL_FEATURES_MIGRATION": "The handshake request is invalid because the organization has already started the process to enable all features.",
}

func handshakeConstraint(reason string) error {
	return because(api.HandshakeConstraintViolation("%s", said(handshakeConstraints, reason)), reason)
}

func said(texts map[string]string, reason string) string {
	text, ok := texts[reason]
	if !ok {
		panic("organizations: there is no text for the reason " + reason)
	}
	return text
}

func because(e *wire.Error, reason string) error {
	e.Fields = []wire.Field{{Name: "Reason", Value: reason}}
	return e
}

// What is not found, in AWS's words.
var (
	noAccount = func() error { return api.AccountNotFound("You specified an account that doesn't exist.") }
	noUnit    = func() error {
		return api.OrganizationalUnitNotFound("You specified an organizational unit that doesn't exist.")
	}
	noParent    = func() error { return api.ParentNotFound("You specified parent that doesn't exist.") }
	noChild     = func() error { return api.ChildNotFound("You specified a child that doesn't exist.") }
	noRoot      = func() error { return api.RootNotFound("You specified a root that doesn't exist.") }
	noTarget    = func() error { return api.TargetNotFound("You specified a target that doesn't exist.") }
	noPolicy    = func() error { return api.PolicyNotFound("You specified a policy that doesn't exist.") }
	noHandshake = func() error { return api.HandshakeNotFound("You specified a handshake that doesn't exist.") }
	noRequest   = func() error {
		return api.CreateAccountStatusNotFound("You specified a request to create an account that doesn't exist.")
	}
	noSource      = func() error { return api.SourceParentNotFound("You specified a source parent that doesn't exist.") }
	noDestination = func() error {
		return api.DestinationParentNotFound("You specified a destination parent that doesn't exist.")
	}
)
