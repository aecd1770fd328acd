package saml

import (
	"crypto/x509"
	"errors"
	"regexp"
	"slices"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

// What a signature may be made with. SHA-1 is not among it.
var (
	signatureMethods = []string{
		"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
	}
	digestMethods = []string{
		"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmlenc#sha512",
	}
)

const (
	enveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

var errSignature = errors.New("the signature is not valid")

// signatureOf returns the signature of an element, a child of it; nil when there is none.
func signatureOf(e *etree.Element) (*etree.Element, error) {
	switch all := children(e, signatureNS, "Signature"); len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return nil, errors.New("an element has more than one signature")
}

// verify verifies the signature of an element and returns what it covers: the
// element, parsed from its canonical form, without the signature itself.
func (m *Metadata) verify(e *etree.Element) (*etree.Element, error) {
	context, err := etreeutils.NSBuildParentContext(e)
	if err != nil {
		return nil, err
	}
	if e, err = etreeutils.NSDetatch(context, e); err != nil {
		return nil, err
	}
	signature, err := signatureOf(e)
	if err != nil {
		return nil, err
	}
	if signature == nil {
		return nil, errSignature
	}
	if err := usual(signature, attribute(e, "ID")); err != nil {
		return nil, err
	}
	// What the sender says of the key is not signed and does not matter.
	for _, info := range children(signature, signatureNS, "KeyInfo") {
		signature.RemoveChild(info)
	}
	for _, certificate := range m.Certificates {
		v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{certificate}})
		v.IdAttribute = "ID"
		v.Clock = dsig.NewFakeClockAt(certificate.NotBefore) // its dates do not matter
		covered, err := v.Validate(e)
		if err != nil {
			continue
		}
		if covered.Tag != e.Tag || covered.NamespaceURI() != e.NamespaceURI() || attribute(covered, "ID") != attribute(e, "ID") {
			return nil, errSignature // it is a signature of something else
		}
		return covered, nil
	}
	return nil, errSignature
}

// usual says whether a signature is made as all providers make it: over the element
// with the id, without itself, in exclusive canonical form.
func usual(signature *etree.Element, id string) error {
	only := func(e *etree.Element, names ...string) error {
		for _, c := range e.ChildElements() {
			if c.NamespaceURI() != signatureNS || !slices.Contains(names, c.Tag) {
				return errors.New("a signature has " + c.Tag + " in it")
			}
		}
		return nil
	}
	one := func(e *etree.Element, name string) (*etree.Element, error) {
		all := children(e, signatureNS, name)
		if len(all) != 1 {
			return nil, errors.New("a signature has no " + name + ", or several")
		}
		return all[0], nil
	}
	if err := only(signature, "SignedInfo", "SignatureValue", "KeyInfo"); err != nil {
		return err
	}
	info, err := one(signature, "SignedInfo")
	if err != nil {
		return err
	}
	if err := only(info, "CanonicalizationMethod", "SignatureMethod", "Reference"); err != nil {
		return err
	}
	reference, err := one(info, "Reference")
	if err != nil {
		return err
	}
	if err := only(reference, "Transforms", "DigestMethod", "DigestValue"); err != nil {
		return err
	}
	if !idForm.MatchString(id) || attribute(reference, "URI") != "#"+id {
		return errors.New("a signature is not of the element that it is in")
	}
	transforms, err := one(reference, "Transforms")
	if err != nil {
		return err
	}
	var names []string
	for _, t := range transforms.ChildElements() {
		names = append(names, attribute(t, "Algorithm"))
	}
	if !slices.Equal(names, []string{enveloped, exclusive}) {
		return errors.New("a signature has other transforms than the usual ones")
	}
	for _, c := range []struct {
		parent  *etree.Element
		name    string
		allowed []string
	}{{info, "CanonicalizationMethod", []string{exclusive}}, {info, "SignatureMethod", signatureMethods}, {reference, "DigestMethod", digestMethods}} {
		e, err := one(c.parent, c.name)
		if err != nil {
			return err
		}
		if !slices.Contains(c.allowed, attribute(e, "Algorithm")) {
			return errors.New(c.name + " is not one that is accepted")
		}
	}
	return nil
}

var idForm = regexp.MustCompile(`^[A-Za-z_][\w.-]*$`)
