package iam

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/policytemplate"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/policy"
)

// A Provider is a product provider as its operator registers it: what AWS and its
// partners agree on outside of any API (IAM User Guide, "IAM temporary delegation for
// AWS Partners").
type Provider struct {
	Account string `json:"account"`
	Name    string `json:"name"`   // that customers see
	Domain  string `json:"domain"` // in the ARNs of its boundaries
	// PolicyTemplates are templates by name: arn:aws:iam:::delegation-template/NAME.
	PolicyTemplates map[string]json.RawMessage `json:"policy-templates"`
	// PermissionsBoundaries are policies by name, for roles that last:
	// arn:aws:iam::partner:policy/permissions-boundary/DOMAIN/NAME.
	PermissionsBoundaries map[string]json.RawMessage `json:"permissions-boundaries"`
	// Notifications is the file to which messages for the provider's topics are written.
	Notifications string `json:"notifications"`
}

var (
	providerName   = regexp.MustCompile(`^[\t\n\r\x20-\x7e\x{a1}-\x{ff}]{1,30}$`)
	providerDomain = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,62})$`)
	templateName   = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
)

// ParseProviders reads the providers of a text in JSON and checks all of them.
func ParseProviders(text []byte) ([]Provider, error) {
	var all []Provider
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("product providers: %w", err)
	}
	accounts, templates, boundaries := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range all {
		p := &all[i]
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("product provider %s: %w", p.Account, fmt.Errorf(format, args...))
		}
		switch {
		case !identity.ValidAccount(p.Account):
			return nil, wrong("account is not 12 digits")
		case accounts[p.Account]:
			return nil, wrong("it is there twice")
		case !providerName.MatchString(p.Name):
			return nil, wrong("name must have 1 to 30 characters")
		case !providerDomain.MatchString(p.Domain):
			return nil, wrong("domain %q is not like example.com", p.Domain)
		}
		accounts[p.Account] = true
		for name, raw := range p.PermissionsBoundaries {
			if !templateName.MatchString(name) || boundaries[strings.ToLower(name)] {
				return nil, wrong("permissions boundary %q: the name is not valid or is there twice", name)
			}
			boundaries[strings.ToLower(name)] = true
			document, err := documentOf(raw)
			if err != nil {
				return nil, wrong("permissions boundary %s: %w", name, err)
			}
			if _, err := policy.Check([]byte(document), policy.Boundary); err != nil {
				return nil, wrong("permissions boundary %s: %w", name, err)
			}
			if n := policy.Size(document); n > DefaultQuotas().PolicySize {
				return nil, wrong("permissions boundary %s has %d characters: there may be %d", name, n, DefaultQuotas().PolicySize)
			}
		}
		for name, raw := range p.PolicyTemplates {
			if !templateName.MatchString(name) || templates[name] {
				return nil, wrong("policy template %q: the name is not valid or is there twice", name)
			}
			templates[name] = true
			document, err := documentOf(raw)
			if err != nil {
				return nil, wrong("policy template %s: %w", name, err)
			}
			if err := checkTemplate(document); err != nil {
				return nil, wrong("policy template %s: %w", name, err)
			}
		}
	}
	return all, nil
}

// documentOf is a document that is written as a text or as it is.
func documentOf(raw json.RawMessage) (string, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		return text, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "", err
	}
	return b.String(), nil
}

// What makes roles, or changes what they may be.
var makesRoles = []string{"iam:CreateRole", "iam:PutRolePermissionsBoundary"}

// checkTemplate says what is wrong with a template, whatever its parameters will be: a
// role that a provider makes must have a boundary (IAM User Guide, "IAM temporary
// delegation"), and nobody may ask to approve for others.
func checkTemplate(template string) error {
	whole, err := policytemplate.Whole(template)
	if err != nil {
		return err
	}
	if _, err := policytemplate.Names(template); err != nil {
		return err
	}
	p, err := policy.Parse([]byte(whole))
	if err != nil {
		return err
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		if s.Effect != "Allow" {
			continue
		}
		if len(s.NotAction) > 0 {
			return errors.New("an Allow has NotAction")
		}
		for _, action := range s.Action {
			if strings.Contains(action, "@{") {
				return errors.New("an action is a parameter")
			}
			for _, makes := range makesRoles {
				if arn.Glob(strings.ToLower(action), strings.ToLower(makes)) && !demandsBoundary(s) {
					return fmt.Errorf("%s is allowed without a condition StringEquals of iam:PermissionsBoundary", makes)
				}
			}
		}
	}
	return nil
}

func demandsBoundary(s *policy.Statement) bool {
	return slices.ContainsFunc(s.Condition, func(c policy.Condition) bool {
		return strings.EqualFold(c.Key, "iam:PermissionsBoundary") && (strings.EqualFold(c.Operator, "StringEquals") || strings.EqualFold(c.Operator, "ArnEquals")) &&
			!slices.ContainsFunc(c.Values, func(v string) bool { return strings.ContainsAny(v, "*?") || strings.Contains(v, "@{") })
	})
}

func templateARN(name string) string { return "arn:aws:iam:::delegation-template/" + name }

func boundaryARN(domain, name string) string {
	return "arn:aws:iam::" + identity.PartnerAccount + ":policy/permissions-boundary/" + domain + "/" + name
}

// Register makes these the product providers, and no others. A boundary is never
// changed: there may be roles that live by it.
func Register(ctx context.Context, db *store.DB, providers []Provider, now time.Time) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		for account := range identity.ProductProviders.All(tx, "") {
			identity.ProductProviders.Delete(tx, account)
		}
		there := map[string]bool{}
		for _, p := range providers {
			kept := &identity.ProductProvider{Account: p.Account, Name: p.Name, Templates: map[string]string{}}
			for name, raw := range p.PolicyTemplates {
				document, err := documentOf(raw)
				if err != nil {
					return err
				}
				kept.Templates[templateARN(name)] = document
			}
			identity.ProductProviders.Put(tx, p.Account, kept)
			for name, raw := range p.PermissionsBoundaries {
				document, err := documentOf(raw)
				if err != nil {
					return err
				}
				a, key := boundaryARN(p.Domain, name), identity.Key(identity.PartnerAccount, name)
				there[key] = true
				if old := identity.Policies.Get(tx, key); old != nil {
					if old.Arn != a || old.Default().Document.String() != document {
						return fmt.Errorf("the permissions boundary %s was registered with another document: boundaries do not change, so register one with another name", a)
					}
					continue
				}
				made := now.UTC().Truncate(time.Second)
				sum := sha256.Sum256([]byte(a))
				identity.Policies.Put(tx, key, &identity.Policy{
					Policy: api.Policy{PolicyName: name, PolicyId: identity.PolicyPrefix + base32.StdEncoding.EncodeToString(sum[:])[:17], Arn: a, Path: "/permissions-boundary/" + p.Domain + "/",
						DefaultVersionId: "v1", IsAttachable: true, CreateDate: made, UpdateDate: made},
					Versions: []identity.Version{{ID: "v1", Created: made, Document: identity.NewDocument(document)}}, Next: 2,
				})
			}
		}
		for key := range identity.Policies.All(tx, identity.PartnerAccount+"/") {
			if !there[key] {
				identity.Policies.Delete(tx, key) // what is bounded by it may do nothing from now on
			}
		}
		return nil
	})
}

// partnerBoundary finds a boundary that a product provider has registered.
func partnerBoundary(r store.Reader, policyARN string) *identity.Policy {
	if a := arn.ARN(policyARN); a.Account() == identity.PartnerAccount {
		return identity.PolicyByARN(r, a)
	}
	return nil
}
