package saml

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml/xmlenc"
)

// A Provider is an identity provider whose responses are accepted.
type Provider struct {
	Metadata  *Metadata
	Keys      []*rsa.PrivateKey // that open encrypted assertions
	Encrypted bool              // assertions must be encrypted
	ID        string            // ends the address for encrypted assertions: https://signin.aws.amazon.com/saml/acs/ID
}

// An Assertion is what a provider says, verified.
type Assertion struct {
	ID         string
	Issuer     string
	Subject    string // the NameID
	Format     string // of the NameID
	Recipient  string // the address that the provider sent the response to
	Issued     time.Time
	SessionEnd time.Time           // when the user's session at the provider ends; zero when it does not say
	Attributes map[string][]string // by name
}

const (
	// redeemIn is how long after its issue an assertion can be used.
	redeemIn = 5 * time.Minute
	// leeway is how far the provider's clock may be ahead.
	leeway = time.Minute
)

// What AWS is called as the recipient of a response and as its audience.
var (
	recipient = regexp.MustCompile(`^https://(?:[a-z0-9-]+\.)?signin\.aws\.amazon\.com/saml(?:/acs/(\w+))?$`)
	audiences = []string{"urn:amazon:webservices"} // and every recipient
)

// The refusals. What is wrong with a signature, or with what was encrypted, is not told.
var (
	errBase64     = fault("Invalid base64 SAMLResponse")
	errResponse   = fault("Invalid SAML response")
	errUnsigned   = fault("Response signature invalid")
	errIssuer     = fault("Issuer not present in specified provider")
	errAudience   = fault("Response does not contain the required audience.")
	errRecipient  = fault("Response does not contain the required recipient.")
	errClear      = fault("Assertion is not encrypted, and the provider requires encryption.")
	errNotSuccess = fault("Response status is not success")
	errRedeem     = &Error{Text: "Token must be redeemed within 5 minutes of issuance", Expired: true}
)

// Verify returns what is in a response, base64 as it was posted. Errors are *Error.
func (p *Provider) Verify(response string, now time.Time) (*Assertion, error) {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(response), ""))
	if err != nil {
		return nil, errBase64
	}
	root, err := parse(b)
	if err != nil || !is(root, protocolNS, "Response") || single(root) != nil {
		return nil, errResponse
	}
	if !succeeded(root) {
		return nil, errNotSuccess
	}
	assertion, err := p.signed(root)
	if err != nil {
		return nil, err
	}
	return p.read(assertion, now)
}

// single says whether a document holds one assertion, encrypted or not, as a child of
// the response, and nothing that could be taken for another: every id is there once,
// and signatures stand in the response or in the assertion.
func single(root *etree.Element) error {
	ids := map[string]bool{}
	assertions := 0
	for e := range elements(root) {
		for _, a := range e.Attr {
			if !strings.EqualFold(a.Key, "ID") || a.Space == "xmlns" {
				continue
			}
			if a.Space != "" || ids[a.Value] {
				return errors.New("ids are not unique")
			}
			ids[a.Value] = true
		}
		switch e.Tag {
		case "Response":
			if e != root {
				return errors.New("a response is in another")
			}
		case "Assertion", "EncryptedAssertion":
			if assertions++; e != root && e.Parent() != root || e.NamespaceURI() != assertionNS {
				return errors.New("an assertion is in an odd place")
			}
		case "Signature":
			if in := e.Parent(); in != root && !is(in, assertionNS, "Assertion") || e.NamespaceURI() != signatureNS {
				return errors.New("a signature is in an odd place")
			}
		}
	}
	if assertions != 1 {
		return errors.New("there is not one assertion")
	}
	return nil
}

// succeeded looks at the status, which need not be signed: it can only refuse.
func succeeded(root *etree.Element) bool {
	for _, status := range children(root, protocolNS, "Status") {
		for _, code := range children(status, protocolNS, "StatusCode") {
			return attribute(code, "Value") == "urn:oasis:names:tc:SAML:2.0:status:Success"
		}
	}
	return false
}

// signed returns the assertion that the provider has signed, by itself or with the
// response around it.
func (p *Provider) signed(root *etree.Element) (*etree.Element, error) {
	whole, err := signatureOf(root)
	if err != nil {
		return nil, errUnsigned
	}
	if whole != nil {
		if root, err = p.Metadata.verify(root); err != nil || single(root) != nil {
			return nil, errUnsigned
		}
	}
	var assertion *etree.Element
	if encrypted := children(root, assertionNS, "EncryptedAssertion"); len(encrypted) == 1 {
		if assertion, err = p.decrypt(encrypted[0]); err != nil {
			return nil, errUnsigned
		}
	} else if clear := children(root, assertionNS, "Assertion"); len(clear) != 1 {
		return nil, errResponse
	} else if p.Encrypted {
		return nil, errClear
	} else {
		assertion = clear[0]
	}
	own, err := signatureOf(assertion)
	switch {
	case err != nil:
		return nil, errUnsigned
	case own != nil:
		if assertion, err = p.Metadata.verify(assertion); err != nil {
			return nil, errUnsigned
		}
	case whole == nil:
		return nil, errUnsigned
	}
	return assertion, nil
}

// How an assertion may be encrypted, and its key.
var (
	dataMethods = []string{
		"http://www.w3.org/2009/xmlenc11#aes128-gcm", "http://www.w3.org/2009/xmlenc11#aes256-gcm",
		"http://www.w3.org/2001/04/xmlenc#aes128-cbc", "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
	}
	keyMethods = []string{"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", "http://www.w3.org/2009/xmlenc11#rsa-oaep"}
)

var errDecrypt = errors.New("the assertion cannot be decrypted")

// decrypt opens an encrypted assertion. Why it fails is not told, so that nobody
// learns from it what an assertion that is not theirs says.
func (p *Provider) decrypt(encrypted *etree.Element) (*etree.Element, error) {
	all := children(encrypted, encryptionNS, "EncryptedData")
	if len(all) != 1 {
		return nil, errDecrypt
	}
	method := func(e *etree.Element, allowed []string) bool {
		m := children(e, encryptionNS, "EncryptionMethod")
		return len(m) == 1 && slices.Contains(allowed, attribute(m[0], "Algorithm"))
	}
	keys := encryptedKeys(encrypted)
	if len(keys) != 1 || !method(all[0], dataMethods) || !method(keys[0], keyMethods) {
		return nil, errDecrypt
	}
	data := withoutKeyInfo(all[0])
	for _, private := range p.Keys {
		content, err := xmlenc.Decrypt(private, keys[0])
		if err != nil {
			continue
		}
		plain, err := xmlenc.Decrypt(content, data)
		if err != nil {
			continue
		}
		root, err := parse(plain)
		if err != nil || !is(root, assertionNS, "Assertion") || single(root) != nil {
			continue
		}
		return root, nil
	}
	return nil, errDecrypt
}

// encryptedKeys are the keys of an encrypted assertion, which stand in its data or beside it.
func encryptedKeys(encrypted *etree.Element) []*etree.Element {
	var all []*etree.Element
	for e := range elements(encrypted) {
		if is(e, encryptionNS, "EncryptedKey") {
			all = append(all, e)
		}
	}
	return all
}

// withoutKeyInfo takes out of encrypted data what is said of its key, which is known.
func withoutKeyInfo(data *etree.Element) *etree.Element {
	data = data.Copy()
	for _, e := range data.ChildElements() {
		if e.Tag == "KeyInfo" {
			data.RemoveChild(e)
		}
	}
	return data
}

// read reads a verified assertion and holds it against SAML's rules and AWS's.
func (p *Provider) read(e *etree.Element, now time.Time) (*Assertion, error) {
	a := &Assertion{ID: attribute(e, "ID"), Attributes: map[string][]string{}}
	one := func(in *etree.Element, name string) *etree.Element {
		if all := children(in, assertionNS, name); len(all) == 1 {
			return all[0]
		}
		return nil
	}
	if attribute(e, "Version") != "2.0" {
		return nil, errResponse
	}
	issuer := one(e, "Issuer")
	if issuer == nil || textOf(issuer) != p.Metadata.EntityID {
		return nil, errIssuer
	}
	a.Issuer = textOf(issuer)

	subject := one(e, "Subject")
	if subject == nil {
		return nil, errResponse
	}
	name, confirmation := one(subject, "NameID"), one(subject, "SubjectConfirmation")
	if name == nil || textOf(name) == "" || len(name.ChildElements()) > 0 || confirmation == nil {
		return nil, errResponse
	}
	a.Subject, a.Format = textOf(name), attribute(name, "Format")
	data := one(confirmation, "SubjectConfirmationData")
	if data == nil || attribute(confirmation, "Method") != "urn:oasis:names:tc:SAML:2.0:cm:bearer" {
		return nil, errResponse
	}
	a.Recipient = attribute(data, "Recipient")
	if m := recipient.FindStringSubmatch(a.Recipient); m == nil || m[1] != "" && m[1] != p.ID {
		return nil, errRecipient
	}

	var err error
	if a.Issued, err = instant(e, "IssueInstant", true); err != nil {
		return nil, errResponse
	}
	if a.Issued.After(now.Add(leeway)) || !now.Before(a.Issued.Add(redeemIn)) {
		return nil, errRedeem
	}
	if err := current(data, now, true); err != nil {
		return nil, err
	}
	conditions := one(e, "Conditions")
	if conditions == nil {
		return nil, errAudience
	}
	if err := current(conditions, now, false); err != nil {
		return nil, err
	}
	restricted := false
	for _, c := range conditions.ChildElements() {
		switch {
		case is(c, assertionNS, "AudienceRestriction"):
			if !slices.ContainsFunc(children(c, assertionNS, "Audience"), func(a *etree.Element) bool {
				return slices.Contains(audiences, textOf(a)) || recipient.MatchString(textOf(a))
			}) {
				return nil, errAudience
			}
			restricted = true
		case is(c, assertionNS, "OneTimeUse"), is(c, assertionNS, "ProxyRestriction"):
		default: // a condition that is not understood is not met
			return nil, errResponse
		}
	}
	if !restricted {
		return nil, errAudience
	}

	for _, s := range children(e, assertionNS, "AuthnStatement") {
		end, err := instant(s, "SessionNotOnOrAfter", false)
		if err != nil {
			return nil, errResponse
		}
		if !end.IsZero() && (a.SessionEnd.IsZero() || end.Before(a.SessionEnd)) {
			a.SessionEnd = end
		}
	}
	if !a.SessionEnd.IsZero() && !now.Before(a.SessionEnd) {
		return nil, errRedeem
	}
	for _, s := range children(e, assertionNS, "AttributeStatement") {
		for _, attr := range children(s, assertionNS, "Attribute") {
			for _, v := range children(attr, assertionNS, "AttributeValue") {
				value := v
				if inner := v.ChildElements(); len(inner) == 1 && is(inner[0], assertionNS, "NameID") {
					value = inner[0] // as eduPersonTargetedID has it
				}
				if len(value.ChildElements()) > 0 {
					continue
				}
				key := attribute(attr, "Name")
				a.Attributes[key] = append(a.Attributes[key], textOf(value))
			}
		}
	}
	return a, nil
}

// current says whether now is between an element's NotBefore and NotOnOrAfter.
func current(e *etree.Element, now time.Time, must bool) error {
	from, err := instant(e, "NotBefore", false)
	if err != nil {
		return errResponse
	}
	until, err := instant(e, "NotOnOrAfter", must)
	if err != nil {
		return errResponse
	}
	if from.After(now.Add(leeway)) || !until.IsZero() && !now.Before(until) {
		return errRedeem
	}
	return nil
}

// instant reads a time; zero when it is not there and need not be.
func instant(e *etree.Element, name string, must bool) (time.Time, error) {
	text := attribute(e, name)
	if text == "" && !must {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, text)
}
