// Package samltest is a SAML identity provider for tests: it has a key, describes
// itself in metadata, and makes responses, right ones and wrong ones.
//
//	idp := samltest.New("https://idp.example.com")
//	response := samltest.Encode(idp.Response(samltest.Statement{Issued: now, Subject: "ann"}))
package samltest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml/xmlenc"
	dsig "github.com/russellhaering/goxmldsig"
)

// A Provider is an identity provider.
type Provider struct {
	EntityID    string
	Key         *rsa.PrivateKey
	Certificate *x509.Certificate
}

// New makes a provider with a key of its own. Its certificate has expired long ago,
// which is nobody's business.
func New(entityID string) *Provider {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"},
		NotBefore: time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &Provider{entityID, key, certificate}
}

// Metadata is the provider's metadata document.
func (p *Provider) Metadata() string {
	return `<?xml version="1.0"?>
<!-- Metadata of a provider for tests. -->
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="` + p.EntityID + `">
  <md:IDPSSODescriptor WantAuthnRequestsSigned="false" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <md:KeyDescriptor use="signing">
      <ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>
` + base64.StdEncoding.EncodeToString(p.Certificate.Raw) + `
      </ds:X509Certificate></ds:X509Data></ds:KeyInfo>
    </md:KeyDescriptor>
    <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="` + p.EntityID + `/sso"/>
  </md:IDPSSODescriptor>
</md:EntityDescriptor>
`
}

// PEM is the private key, as it is given to AWS to open what is encrypted for the certificate.
func (p *Provider) PEM() string {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// A Statement is what a response says. Empty fields have values that are right.
type Statement struct {
	Issued     time.Time // and valid for five minutes
	Issuer     string
	Subject    string
	Format     string
	Recipient  string
	Audience   string
	Until      time.Time
	NotBefore  time.Time
	SessionEnd time.Time
	Status     string
	Attributes map[string][]string // by name; "Role" is AWS's of that name

	Encrypt *x509.Certificate // for whom the assertion is encrypted; nil: it is not
	Block   xmlenc.BlockCipher
}

// Names of AWS's attributes begin so.
const AWS = "https://aws.amazon.com/SAML/Attributes/"

var ids atomic.Int64

// An element is written as text, so that what is signed is what somebody might have typed.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;").Replace(s)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

const stamp = "2006-01-02T15:04:05Z"

// Assertion is the assertion of a statement, not signed.
func (p *Provider) Assertion(s Statement) *etree.Element {
	if s.Until.IsZero() {
		s.Until = s.Issued.Add(5 * time.Minute)
	}
	if s.NotBefore.IsZero() {
		s.NotBefore = s.Issued.Add(-5 * time.Minute)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a%d" Version="2.0" IssueInstant="%s">`, ids.Add(1), s.Issued.UTC().Format(stamp))
	fmt.Fprintf(&b, `<saml:Issuer>%s</saml:Issuer>`, escape(or(s.Issuer, p.EntityID)))
	fmt.Fprintf(&b, `<saml:Subject><saml:NameID Format="%s">%s</saml:NameID>`, or(s.Format, "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"), escape(or(s.Subject, "ann")))
	fmt.Fprintf(&b, `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="%s" Recipient="%s"/></saml:SubjectConfirmation></saml:Subject>`,
		s.Until.UTC().Format(stamp), escape(or(s.Recipient, "https://signin.aws.amazon.com/saml")))
	fmt.Fprintf(&b, `<saml:Conditions NotBefore="%s" NotOnOrAfter="%s"><saml:AudienceRestriction><saml:Audience>%s</saml:Audience></saml:AudienceRestriction></saml:Conditions>`,
		s.NotBefore.UTC().Format(stamp), s.Until.UTC().Format(stamp), escape(or(s.Audience, "https://signin.aws.amazon.com/saml")))
	end := ""
	if !s.SessionEnd.IsZero() {
		end = ` SessionNotOnOrAfter="` + s.SessionEnd.UTC().Format(stamp) + `"`
	}
	fmt.Fprintf(&b, `<saml:AuthnStatement AuthnInstant="%s"%s/>`, s.Issued.UTC().Format(stamp), end)
	b.WriteString(`<saml:AttributeStatement>`)
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		full := name
		if !strings.Contains(name, "/") && !strings.HasPrefix(name, "urn:") || strings.HasPrefix(name, "PrincipalTag:") {
			full = AWS + name
		}
		fmt.Fprintf(&b, `<saml:Attribute Name="%s">`, escape(full))
		for _, v := range s.Attributes[name] {
			fmt.Fprintf(&b, `<saml:AttributeValue>%s</saml:AttributeValue>`, escape(v))
		}
		b.WriteString(`</saml:Attribute>`)
	}
	b.WriteString(`</saml:AttributeStatement></saml:Assertion>`)
	return Parse(b.String())
}

// Sign signs an element, whose signature becomes its last child.
func (p *Provider) Sign(e *etree.Element) *etree.Element {
	context, err := dsig.NewSigningContext(p.Key, [][]byte{p.Certificate.Raw})
	if err != nil {
		panic(err)
	}
	context.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	signed, err := context.SignEnveloped(e)
	if err != nil {
		panic(err)
	}
	return Parse(Text(signed)) // whose elements know their parents
}

// Encrypt encrypts an assertion for whoever has the key of a certificate.
func Encrypt(assertion *etree.Element, to *x509.Certificate, block xmlenc.BlockCipher) *etree.Element {
	encrypter := xmlenc.OAEP()
	encrypter.BlockCipher = block
	encrypter.DigestMethod = &xmlenc.SHA1
	data, err := encrypter.Encrypt(to, []byte(Text(assertion)), nil)
	if err != nil {
		panic(err)
	}
	e := etree.NewElement("saml:EncryptedAssertion")
	e.CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:2.0:assertion")
	data.CreateAttr("Type", "http://www.w3.org/2001/04/xmlenc#Element")
	e.AddChild(data)
	return e
}

// Wrap is a response around an assertion, not signed.
func (p *Provider) Wrap(assertion *etree.Element, s Statement) *etree.Element {
	e := Parse(fmt.Sprintf(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_r%d" Version="2.0" IssueInstant="%s"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">%s</saml:Issuer><samlp:Status><samlp:StatusCode Value="%s"/></samlp:Status></samlp:Response>`,
		ids.Add(1), s.Issued.UTC().Format(stamp), escape(p.EntityID), or(s.Status, "urn:oasis:names:tc:SAML:2.0:status:Success")))
	e.AddChild(assertion)
	return e
}

// Response is a response with a signed assertion, encrypted if the statement says so.
func (p *Provider) Response(s Statement) *etree.Element {
	assertion := p.Sign(p.Assertion(s))
	if s.Encrypt != nil {
		block := s.Block
		if block == nil {
			block = xmlenc.AES256GCM
		}
		assertion = Encrypt(assertion, s.Encrypt, block)
	}
	return p.Wrap(assertion, s)
}

// Parse reads an element.
func Parse(text string) *etree.Element {
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		panic(err)
	}
	return doc.Root()
}

// Text writes an element.
func Text(e *etree.Element) string {
	doc := etree.NewDocument()
	doc.SetRoot(e.Copy())
	var b bytes.Buffer
	if _, err := doc.WriteTo(&b); err != nil {
		panic(err)
	}
	return b.String()
}

// Encode is an element as it is posted.
func Encode(e *etree.Element) string { return base64.StdEncoding.EncodeToString([]byte(Text(e))) }
