package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/store"
)

// A PrincipalError says that a trust policy names somebody who does not exist or
// whom no trust policy can name. Its text is AWS's.
type PrincipalError struct{ Kind, Value string }

func (e *PrincipalError) Error() string {
	if e.Kind == "Federated" {
		return "Federated principals must be valid domain names or SAML metadata ARNs"
	}
	kind := e.Kind
	if kind != "AWS" {
		kind = strings.ToUpper(kind)
	}
	return fmt.Sprintf("Invalid principal in policy: %q:%q", kind, e.Value)
}

// BindTrust makes a trust policy what the store keeps: users and roles are named
// by unique id, and role sessions by that of their role (AROA...:session), so that
// who is deleted and made again under the same name is not trusted, and account
// numbers by the ARN of the account's root. The rest of the
// text stays as it was written. The document has passed policy.Check.
//
// A user or role must exist; the error is a *PrincipalError otherwise. An account
// need not be one of ours: whoever is not here cannot call, so naming them does
// no harm, and policies that trust other companies' accounts can be kept.
func BindTrust(r store.Reader, text string) (Document, error) {
	return BindTrustAs(r, text, func(string) (string, bool) { return "", false })
}

// BindTrustAs is BindTrust where known is asked first what an AWS principal is kept as.
func BindTrustAs(r store.Reader, text string, known func(value string) (string, bool)) (Document, error) {
	bound, err := mapPrincipals(text, func(kind, value string) (string, error) {
		bad := &PrincipalError{kind, value}
		switch kind {
		case "AWS":
			if kept, ok := known(value); ok {
				return kept, nil
			}
			return bindAWS(r, value, bad)
		case "Service":
			if !isServicePrincipal(value) {
				return "", bad
			}
		case "Federated":
			if !isFederation(value) {
				return "", bad
			}
		default: // CanonicalUser and what does not exist
			return "", bad
		}
		return value, nil
	})
	if err != nil {
		return Document{}, err
	}
	return NewDocument(bound), nil
}

func bindAWS(r store.Reader, value string, bad error) (string, error) {
	if value == "*" {
		return value, nil
	}
	if ValidAccount(value) {
		return string(RootARN(value)), nil
	}
	if ref := IDs.Get(r, value); ref != nil && (ref.Kind == UserKind || ref.Kind == RoleKind) {
		return value, nil
	}
	if id, session, ok := strings.Cut(value, ":"); ok && isSessionName(session) && RoleByID(r, id) != nil {
		return value, nil
	}
	a := arn.ARN(value)
	if a.Partition() != "aws" || a.Region() != "" || !ValidAccount(a.Account()) {
		return "", bad
	}
	kind, name, _ := strings.Cut(a.Resource(), "/")
	switch {
	case a.Service() == "iam" && a.Resource() == "root":
		return value, nil
	case a.Service() == "iam" && kind == "user":
		if u := UserByARN(r, a); u != nil {
			return u.UserId, nil
		}
	case a.Service() == "iam" && kind == "role":
		if role := RoleByARN(r, a); role != nil {
			return role.RoleId, nil
		}
	case a.Service() == "sts" && kind == "assumed-role":
		// A session is named by its ARN, which leaves out the role's path.
		roleName, session, _ := strings.Cut(name, "/")
		if role := Roles.Get(r, Key(a.Account(), roleName)); role != nil && role.RoleName == roleName && isSessionName(session) {
			return role.RoleId + ":" + session, nil
		}
	case a.Service() == "sts" && kind == "federated-user":
		if isSessionName(name) {
			return value, nil
		}
	}
	return "", bad
}

// ShowTrust is the text of a trust policy as a caller sees it: unique ids are the
// ARNs that their users and roles have today. The id of one who was deleted stays.
func ShowTrust(r store.Reader, d Document) string {
	text := d.String()
	if !strings.Contains(text, UserPrefix) && !strings.Contains(text, RolePrefix) {
		return text
	}
	shown, err := mapPrincipals(text, func(kind, value string) (string, error) {
		if kind != "AWS" {
			return value, nil
		}
		if u := UserByID(r, value); u != nil {
			return u.Arn, nil
		}
		id, session, ofSession := strings.Cut(value, ":")
		role := RoleByID(r, id)
		switch {
		case role == nil:
			return value, nil
		case ofSession:
			return string(AssumedRoleARN(arn.ARN(role.Arn).Account(), role.RoleName, session)), nil
		}
		return role.Arn, nil
	})
	if err != nil {
		return text
	}
	return shown
}

// mapPrincipals replaces the names in the Principal elements of a policy's text by
// what f makes of them, and leaves every other byte as it is.
func mapPrincipals(text string, f func(kind, value string) (string, error)) (string, error) {
	var out bytes.Buffer
	copied := 0 // how much of text is in out
	w := &walker{text: text, d: json.NewDecoder(strings.NewReader(text))}
	err := w.value(nil, func(path []string, start, end int, value string) error {
		// Statement, Principal, AWS
		if len(path) != 3 || path[0] != "Statement" || path[1] != "Principal" && path[1] != "NotPrincipal" {
			return nil
		}
		made, err := f(path[2], value)
		if err != nil || made == value {
			return err
		}
		quoted, err := json.Marshal(made)
		if err != nil {
			return err
		}
		out.WriteString(text[copied:start])
		out.Write(quoted)
		copied = end
		return nil
	})
	if err != nil {
		return "", err
	}
	out.WriteString(text[copied:])
	return out.String(), nil
}

// A walker passes over a JSON text and knows where each string stands.
type walker struct {
	text string
	d    *json.Decoder
}

// value reads one value and gives each string in it to f, with the names of the
// members that lead to it; lists do not count.
func (w *walker) value(path []string, f func(path []string, start, end int, value string) error) error {
	start := int(w.d.InputOffset())
	for start < len(w.text) && strings.IndexByte(" \t\r\n:,", w.text[start]) >= 0 {
		start++
	}
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		for w.d.More() {
			name, err := w.d.Token()
			if err != nil {
				return err
			}
			member, _ := name.(string)
			if err := w.value(append(path[:len(path):len(path)], member), f); err != nil {
				return err
			}
		}
		_, err = w.d.Token()
	case json.Delim('['):
		for w.d.More() {
			if err := w.value(path, f); err != nil {
				return err
			}
		}
		_, err = w.d.Token()
	default:
		if s, ok := token.(string); ok {
			err = f(path, start, int(w.d.InputOffset()), s)
		}
	}
	return err
}

// isServicePrincipal reports whether a name has the form of a service's. AWS knows
// which exist and publishes no list.
func isServicePrincipal(s string) bool {
	for _, suffix := range []string{".amazonaws.com", ".amazonaws.com.cn", ".amazon.com", ".aws.internal"} {
		if labels, ok := strings.CutSuffix(s, suffix); ok {
			return isDomain(labels)
		}
	}
	return false
}

// isFederation reports whether a name has the form of an identity provider's: a
// provider's ARN, or the domain of one that AWS knows by itself.
func isFederation(s string) bool {
	if a := arn.ARN(s); strings.HasPrefix(s, "arn:") {
		kind, name, _ := strings.Cut(a.Resource(), "/")
		return a.Partition() == "aws" && a.Service() == "iam" && ValidAccount(a.Account()) &&
			(kind == "saml-provider" || kind == "oidc-provider") && name != "" && !strings.ContainsAny(name, "*?")
	}
	return strings.Contains(s, ".") && isDomain(s)
}

// isDomain reports whether s is labels of small letters, digits and hyphens with dots between.
func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// isSessionName reports whether s is 2 to 64 of the characters of session names.
func isSessionName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-"
	return len(s) >= 2 && len(s) <= 64 && strings.Trim(s, letters) == ""
}
