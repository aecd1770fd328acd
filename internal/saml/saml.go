// Package saml verifies SAML 2.0 responses, as identity providers post them to AWS.
//
//	metadata, err := saml.ParseMetadata(document)
//	p := &saml.Provider{Metadata: metadata, Keys: keys, ID: uuid}
//	assertion, err := p.Verify(response, now)
//
// The provider's signature is on the response, on the assertion in it, or on both, and
// all that are there must hold. What an Assertion says is read from the bytes that were
// signed and from nothing else: an element is verified, what the signature covers is
// parsed anew from its canonical form, and the document as it was sent is not looked at
// again. So it does not matter what else is in that document. Beyond that, Verify
// refuses documents in which a signature could mean something else than it seems to:
// more than one assertion, ids that are not unique, signatures in odd places or with
// other transforms than the usual ones, document type declarations, and texts that Go's
// XML parser does not give back as it read them.
//
// Signatures are by RSA with SHA-256, SHA-384 or SHA-512. The certificates are
// those of the provider's metadata; their own dates do not matter, as in AWS, and a
// certificate in the response is not looked at. Encrypted assertions are opened with
// RSA-OAEP and AES, in GCM or CBC.
//
// XML signatures are verified by goxmldsig and encryption is by crewjam/saml's xmlenc.
package saml

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/beevik/etree"
	xrv "github.com/mattermost/xml-roundtrip-validator"
)

// An Error is why a response was not accepted, as the caller is told.
type Error struct {
	Text    string
	Expired bool // ExpiredTokenException; otherwise InvalidIdentityToken
}

func (e *Error) Error() string { return e.Text }

func fault(text string) error { return &Error{Text: text} }

// Namespaces.
const (
	protocolNS   = "urn:oasis:names:tc:SAML:2.0:protocol"
	assertionNS  = "urn:oasis:names:tc:SAML:2.0:assertion"
	metadataNS   = "urn:oasis:names:tc:SAML:2.0:metadata"
	signatureNS  = "http://www.w3.org/2000/09/xmldsig#"
	encryptionNS = "http://www.w3.org/2001/04/xmlenc#"
)

// Metadata is what a provider says of itself.
type Metadata struct {
	EntityID     string
	Certificates []*x509.Certificate // that its signatures are verified by
	ValidUntil   time.Time           // zero when it does not say
}

// ParseMetadata reads the metadata document of one identity provider.
func ParseMetadata(text string) (*Metadata, error) {
	root, err := parse([]byte(text))
	if err != nil {
		return nil, err
	}
	if !is(root, metadataNS, "EntityDescriptor") {
		return nil, errors.New("the document is not the EntityDescriptor of one provider")
	}
	m := &Metadata{EntityID: attribute(root, "entityID")}
	if m.EntityID == "" {
		return nil, errors.New("there is no entityID")
	}
	descriptors := children(root, metadataNS, "IDPSSODescriptor")
	if len(descriptors) != 1 {
		return nil, fmt.Errorf("there are %d IDPSSODescriptors", len(descriptors))
	}
	if until := attribute(root, "validUntil"); until != "" {
		if m.ValidUntil, err = time.Parse(time.RFC3339, until); err != nil {
			return nil, fmt.Errorf("validUntil: %w", err)
		}
	}
	for _, key := range children(descriptors[0], metadataNS, "KeyDescriptor") {
		if use := attribute(key, "use"); use != "" && use != "signing" {
			continue
		}
		for _, info := range children(key, signatureNS, "KeyInfo") {
			for _, data := range children(info, signatureNS, "X509Data") {
				for _, c := range children(data, signatureNS, "X509Certificate") {
					der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(textOf(c)), ""))
					if err != nil {
						return nil, fmt.Errorf("a certificate: %w", err)
					}
					certificate, err := x509.ParseCertificate(der)
					if err != nil {
						return nil, fmt.Errorf("a certificate: %w", err)
					}
					m.Certificates = append(m.Certificates, certificate)
				}
			}
		}
	}
	if len(m.Certificates) == 0 {
		return nil, errors.New("there is no certificate for signatures")
	}
	return m, nil
}

const smallestKey = 2048 // bits

// ParseKey reads a private key that opens encrypted assertions: RSA, in PEM.
func ParseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the key is not in PEM form")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%s is not a kind of private key that can be used", block.Type)
	}
	if err != nil {
		return nil, errors.New("the key cannot be read") // not why: it would tell of the key
	}
	k, ok := key.(*rsa.PrivateKey)
	if !ok || k.N.BitLen() < smallestKey {
		return nil, fmt.Errorf("the key is not an RSA key of %d bits or more", smallestKey)
	}
	return k, nil
}

// parse reads a document that is nothing but elements, text and comments, and that is
// read again as it was read.
func parse(b []byte) (*etree.Element, error) {
	if err := xrv.Validate(bytes.NewReader(b)); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(b); err != nil {
		return nil, err
	}
	var root *etree.Element
	for _, t := range doc.Child {
		switch t := t.(type) {
		case *etree.Directive:
			return nil, errors.New("there is a document type declaration")
		case *etree.ProcInst:
			if t.Target != "xml" {
				return nil, errors.New("there is a processing instruction")
			}
		case *etree.Element:
			if root != nil {
				return nil, errors.New("there is more than one document")
			}
			root = t
		case *etree.CharData:
			if strings.TrimSpace(t.Data) != "" {
				return nil, errors.New("there is text around the document")
			}
		}
	}
	if root == nil {
		return nil, errors.New("there is no element")
	}
	for e := range elements(root) {
		for _, t := range e.Child {
			switch t.(type) {
			case *etree.Directive, *etree.ProcInst:
				return nil, errors.New("there is a declaration or processing instruction")
			}
		}
	}
	return root, nil
}

// elements calls yield for an element and all in it.
func elements(e *etree.Element) func(yield func(*etree.Element) bool) {
	return func(yield func(*etree.Element) bool) { walk(e, yield) }
}

func walk(e *etree.Element, yield func(*etree.Element) bool) bool {
	if !yield(e) {
		return false
	}
	for _, c := range e.ChildElements() {
		if !walk(c, yield) {
			return false
		}
	}
	return true
}

func is(e *etree.Element, namespace, name string) bool {
	return e != nil && e.Tag == name && e.NamespaceURI() == namespace
}

// children are the elements of a name that stand directly in one.
func children(e *etree.Element, namespace, name string) []*etree.Element {
	var all []*etree.Element
	for _, c := range e.ChildElements() {
		if is(c, namespace, name) {
			all = append(all, c)
		}
	}
	return all
}

// attribute is an attribute without a namespace; "" when there is none.
func attribute(e *etree.Element, name string) string {
	for _, a := range e.Attr {
		if a.Space == "" && a.Key == name {
			return a.Value
		}
	}
	return ""
}

// textOf is all text that stands directly in an element, comments between or not.
func textOf(e *etree.Element) string {
	var b strings.Builder
	for _, t := range e.Child {
		if c, ok := t.(*etree.CharData); ok {
			b.WriteString(c.Data)
		}
	}
	return strings.TrimSpace(b.String())
}
