package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
)

// AccountDetails are what get-account-authorization-details prints of an account:
// everything that decides in it. They are read by ImportAccount and written by iamd
// export. Members stand in the order in which the AWS CLI prints them.
type AccountDetails struct {
	UserDetailList  []UserDetails
	GroupDetailList []GroupDetails
	RoleDetailList  []RoleDetails
	Policies        []PolicyDetails
}

// UserDetails are of a user.
type UserDetails struct {
	Path, UserName, UserId, Arn string
	CreateDate                  *Stamp          `json:",omitempty"`
	UserPolicyList              []InlineDetails `json:",omitempty"`
	GroupList                   []string
	AttachedManagedPolicies     []AttachedDetails
	PermissionsBoundary         *BoundaryDetails `json:",omitempty"`
	Tags                        []TagDetails
}

// GroupDetails are of a group.
type GroupDetails struct {
	Path, GroupName, GroupId, Arn string
	CreateDate                    *Stamp `json:",omitempty"`
	GroupPolicyList               []InlineDetails
	AttachedManagedPolicies       []AttachedDetails
}

// RoleDetails are of a role and its instance profiles.
type RoleDetails struct {
	Path, RoleName, RoleId, Arn string
	CreateDate                  *Stamp `json:",omitempty"`
	AssumeRolePolicyDocument    PolicyText
	InstanceProfileList         []ProfileDetails
	RolePolicyList              []InlineDetails
	AttachedManagedPolicies     []AttachedDetails
	PermissionsBoundary         *BoundaryDetails `json:",omitempty"`
	Tags                        []TagDetails
	RoleLastUsed                *LastUsedDetails `json:",omitempty"`
}

// ProfileDetails are of an instance profile. The roles in it are told again.
type ProfileDetails struct {
	Path, InstanceProfileName, InstanceProfileId, Arn string
	CreateDate                                        *Stamp `json:",omitempty"`
	Roles                                             []RoleInProfile
	Tags                                              []TagDetails `json:",omitempty"`
}

// RoleInProfile is the role of an instance profile.
type RoleInProfile struct {
	Path, RoleName, RoleId, Arn string
	CreateDate                  *Stamp     `json:",omitempty"`
	AssumeRolePolicyDocument    PolicyText `json:",omitempty"`
}

// PolicyDetails are of a managed policy.
type PolicyDetails struct {
	PolicyName, PolicyId, Arn, Path, DefaultVersionId string
	AttachmentCount, PermissionsBoundaryUsageCount    int
	IsAttachable                                      bool
	Description                                       string `json:",omitempty"`
	CreateDate                                        *Stamp `json:",omitempty"`
	UpdateDate                                        *Stamp `json:",omitempty"`
	PolicyVersionList                                 []VersionDetails
}

// VersionDetails are of one version of a managed policy.
type VersionDetails struct {
	Document         PolicyText
	VersionId        string
	IsDefaultVersion bool
	CreateDate       *Stamp `json:",omitempty"`
}

// The small parts.
type (
	InlineDetails struct {
		PolicyName     string
		PolicyDocument PolicyText
	}
	AttachedDetails struct{ PolicyName, PolicyArn string }
	BoundaryDetails struct{ PermissionsBoundaryType, PermissionsBoundaryArn string }
	TagDetails      struct{ Key, Value string }
	LastUsedDetails struct {
		LastUsedDate *Stamp `json:",omitempty"`
		Region       string `json:",omitempty"`
	}
)

// A Stamp is a time as the AWS CLI prints it: 2026-02-24T15:23:21+00:00. Version 1
// prints what the service sends, which ends in Z; others print seconds.
type Stamp struct{ time.Time }

// StampOf is nil for the zero time.
func StampOf(t time.Time) *Stamp {
	if t.IsZero() {
		return nil
	}
	return &Stamp{t.UTC().Truncate(time.Second)}
}

// MarshalJSON writes it as version 2 of the CLI does.
func (s Stamp) MarshalJSON() ([]byte, error) {
	return []byte(s.UTC().Format(`"2006-01-02T15:04:05+00:00"`)), nil
}

// UnmarshalJSON reads any of the forms.
func (s *Stamp) UnmarshalJSON(text []byte) error {
	var seconds float64
	if json.Unmarshal(text, &seconds) == nil && seconds > 0 && seconds < 1e11 {
		s.Time = time.Unix(int64(seconds), 0).UTC()
		return nil
	}
	var written string
	if err := json.Unmarshal(text, &written); err != nil {
		return errors.New("a date is text or a number of seconds")
	}
	t, err := time.Parse(time.RFC3339, written)
	if err != nil {
		return errors.New("a date is like 2026-02-24T15:23:21+00:00, not " + written)
	}
	s.Time = t.UTC().Truncate(time.Second)
	return nil
}

func (s *Stamp) or(t time.Time) time.Time {
	if s == nil || s.IsZero() {
		return t
	}
	return s.Time
}

// A PolicyText is a policy document. The CLI prints it as an object; the API, and
// what prints its answers as they are, as text that is percent-encoded.
type PolicyText string

// MarshalJSON writes the document as an object.
func (p PolicyText) MarshalJSON() ([]byte, error) {
	if !json.Valid([]byte(p)) {
		return json.Marshal(string(p))
	}
	return []byte(p), nil
}

// UnmarshalJSON reads either form. An object is kept without white space.
func (p *PolicyText) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '{' {
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			return err
		}
		*p = PolicyText(compact.String())
		return nil
	}
	var written string
	if err := json.Unmarshal(text, &written); err != nil {
		return errors.New("a policy document is an object, or one in text")
	}
	if strings.HasPrefix(written, "%") {
		decoded, err := url.PathUnescape(written)
		if err != nil {
			return errors.New("a policy document in text is percent-encoded")
		}
		written = decoded
	}
	*p = PolicyText(written)
	return nil
}
