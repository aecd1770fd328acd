package saml_test

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml/xmlenc"
	"github.com/google/go-cmp/cmp"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/iamd-dev/iamd/internal/saml"
	"github.com/iamd-dev/iamd/internal/saml/samltest"
)

var when = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)

// Keys are costly to make, and are made once.
var (
	idp   = sync.OnceValue(func() *samltest.Provider { return samltest.New("https://idp.example.com") })
	other = sync.OnceValue(func() *samltest.Provider { return samltest.New("https://idp.example.com") })
	aws   = sync.OnceValue(func() *samltest.Provider { return samltest.New("urn:amazon:webservices") })
)

func provider(t testing.TB) *saml.Provider {
	t.Helper()
	m, err := saml.ParseMetadata(idp().Metadata())
	if err != nil {
		t.Fatal(err)
	}
	return &saml.Provider{Metadata: m, Keys: []*rsa.PrivateKey{other().Key, aws().Key}, ID: "SAMLABC"}
}

func statement() samltest.Statement {
	return samltest.Statement{Issued: when, Subject: "ann", Attributes: map[string][]string{
		"Role": {"arn:aws:iam::111122223333:role/r,arn:aws:iam::111122223333:saml-provider/p", "b"}, "RoleSessionName": {"ann@example.com"}}}
}

func TestResponses(t *testing.T) {
	p := provider(t)
	encrypted := statement()
	encrypted.Encrypt = aws().Certificate
	cbc := encrypted
	cbc.Block = xmlenc.AES128CBC
	clear := idp().Assertion(statement())
	regional := statement()
	regional.Recipient, regional.Audience = "https://eu-west-1.signin.aws.amazon.com/saml/acs/SAMLABC", "urn:amazon:webservices"
	for _, c := range []struct {
		name     string
		response *etree.Element
	}{
		{"the assertion is signed", idp().Response(statement())},
		{"the response is signed", idp().Sign(idp().Wrap(idp().Assertion(statement()), statement()))},
		{"both are", idp().Sign(idp().Response(statement()))},
		{"encrypted, and signed within", idp().Response(encrypted)},
		{"encrypted in CBC", idp().Response(cbc)},
		{"encrypted, and the response is signed", idp().Sign(idp().Wrap(samltest.Encrypt(clear, aws().Certificate, xmlenc.AES128GCM), statement()))},
		{"encrypted, and both are signed", idp().Sign(idp().Response(encrypted))},
		{"another region, and AWS's other name", idp().Response(regional)},
	} {
		a, err := p.Verify(samltest.Encode(c.response), when.Add(time.Minute))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.ID == "" || !strings.HasSuffix(strings.Split(a.Recipient, "/acs")[0], "signin.aws.amazon.com/saml") {
			t.Errorf("%s: id %q, recipient %q", c.name, a.ID, a.Recipient)
		}
		a.ID, a.Recipient = "", ""
		if diff := cmp.Diff(&saml.Assertion{
			Issuer: "https://idp.example.com", Subject: "ann", Format: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", Issued: when,
			Attributes: map[string][]string{samltest.AWS + "RoleSessionName": {"ann@example.com"},
				samltest.AWS + "Role": {"arn:aws:iam::111122223333:role/r,arn:aws:iam::111122223333:saml-provider/p", "b"}},
		}, a); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRefusedStatements(t *testing.T) {
	p := provider(t)
	for _, c := range []struct {
		name   string
		change func(*samltest.Statement)
		want   string
	}{
		{"another audience", func(s *samltest.Statement) { s.Audience = "https://sp.example.com" }, "Response does not contain the required audience."},
		{"an audience that begins like it", func(s *samltest.Statement) { s.Audience = "https://signin.aws.amazon.com/saml.evil.example" }, "Response does not contain the required audience."},
		{"another recipient", func(s *samltest.Statement) { s.Recipient = "https://sp.example.com/acs" }, "Response does not contain the required recipient."},
		{"a recipient that looks like it", func(s *samltest.Statement) { s.Recipient = "https://signin-aws.amazon.com/saml" }, "Response does not contain the required recipient."},
		{"another provider's address", func(s *samltest.Statement) { s.Recipient = "https://signin.aws.amazon.com/saml/acs/SAMLXYZ" }, "Response does not contain the required recipient."},
		{"another issuer", func(s *samltest.Statement) { s.Issuer = "https://other.example.com" }, "Issuer not present in specified provider"},
		{"made six minutes ago", func(s *samltest.Statement) { s.Issued, s.Until = when.Add(-5*time.Minute), when.Add(time.Hour) }, "Token must be redeemed within 5 minutes of issuance"},
		{"made in the future", func(s *samltest.Statement) { s.Issued = when.Add(2 * time.Minute) }, "Token must be redeemed within 5 minutes of issuance"},
		{"no longer valid", func(s *samltest.Statement) { s.Until = when }, "Token must be redeemed within 5 minutes of issuance"},
		{"not yet valid", func(s *samltest.Statement) { s.NotBefore = when.Add(2 * time.Minute) }, "Token must be redeemed within 5 minutes of issuance"},
		{"a session that is over", func(s *samltest.Statement) { s.SessionEnd = when }, "Token must be redeemed within 5 minutes of issuance"},
		{"no success", func(s *samltest.Statement) { s.Status = "urn:oasis:names:tc:SAML:2.0:status:Requester" }, "Response status is not success"},
		{"encrypted for somebody else", func(s *samltest.Statement) { s.Encrypt = idp().Certificate }, "Response signature invalid"},
	} {
		s := statement()
		c.change(&s)
		a, err := p.Verify(samltest.Encode(idp().Response(s)), when)
		e, ok := errors.AsType[*saml.Error](err)
		if !ok || e.Text != c.want || e.Expired != strings.HasPrefix(c.want, "Token") {
			t.Errorf("%s: %+v, %v, want %s", c.name, a, err, c.want)
		}
	}
	p.Encrypted = true
	if _, err := p.Verify(samltest.Encode(idp().Response(statement())), when); err == nil || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("what must be encrypted and is not: %v", err)
	}
}

// Statements that break SAML's own rules, although they are signed.
func TestOddStatements(t *testing.T) {
	replace := func(old, new string) func(string) string {
		return func(text string) string {
			if !strings.Contains(text, old) {
				t.Fatalf("there is no %s in %s", old, text)
			}
			return strings.Replace(text, old, new, 1)
		}
	}
	confirmation := `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">`
	for name, change := range map[string]func(string) string{
		"SAML 1.1":                       replace(`Version="2.0"`, `Version="1.1"`),
		"no issue time":                  replace("IssueInstant=", "Issue="),
		"no issuer":                      replace("saml:Issuer>https://idp.example.com</saml:Issuer", "saml:Of>x</saml:Of"),
		"two issuers":                    replace("<saml:Issuer>", "<saml:Issuer>https://idp.example.com</saml:Issuer><saml:Issuer>"),
		"two names":                      replace("<saml:NameID", "<saml:NameID>bob</saml:NameID><saml:NameID"),
		"an empty name":                  replace(">ann<", "> <"),
		"a name with elements":           replace(">ann<", ">ann<saml:X/><"),
		"no name":                        replace("saml:NameID", "saml:Name"),
		"another confirmation":           replace("cm:bearer", "cm:holder-of-key"),
		"two confirmations":              replace(confirmation, confirmation+"</saml:SubjectConfirmation>"+confirmation),
		"no end of the confirmation":     replace(`SubjectConfirmationData NotOnOrAfter=`, `SubjectConfirmationData Until=`),
		"a time that is none":            replace(`<saml:Conditions NotBefore="2026`, `<saml:Conditions NotBefore="soon`),
		"a condition not understood":     replace("<saml:AudienceRestriction>", `<saml:Condition/><saml:AudienceRestriction>`),
		"no audience":                    replace("saml:AudienceRestriction", "saml:OneTimeUse"),
		"two audience restrictions":      replace("<saml:AudienceRestriction>", `<saml:AudienceRestriction><saml:Audience>x</saml:Audience></saml:AudienceRestriction><saml:AudienceRestriction>`),
		"conditions of another language": replace("<saml:Conditions", `<saml:Conditions xmlns:saml="urn:x"`),
	} {
		text := change(samltest.Text(idp().Assertion(statement())))
		text = strings.Replace(text, "</saml:NameID>", closing(text, "saml:NameID", "saml:Name"), 1)
		text = strings.Replace(text, "</saml:AudienceRestriction></saml:Conditions>", closing(text, "saml:AudienceRestriction", "saml:OneTimeUse")+"</saml:Conditions>", 1)
		r := idp().Wrap(idp().Sign(samltest.Parse(text)), statement())
		if a, err := provider(t).Verify(samltest.Encode(r), when); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// closing is the end of an element that may have been renamed.
func closing(text, name, renamed string) string {
	if strings.Contains(text, "<"+name) {
		return "</" + name + ">"
	}
	return "</" + renamed + ">"
}

// Every known way to have a signature verified on one element and another one read.
func TestWrapping(t *testing.T) {
	p := provider(t)
	good := func() *etree.Element { return idp().Response(statement()) }
	evil := func() *etree.Element {
		s := statement()
		s.Subject = "root"
		return idp().Assertion(s)
	}
	assertion := func(r *etree.Element) *etree.Element { return r.FindElement("./Assertion") }
	signature := func(e *etree.Element) *etree.Element { return e.FindElement("./Signature") }
	inObject := func(sig, e *etree.Element) {
		o := sig.CreateElement("ds:Object")
		o.AddChild(e)
	}
	for name, make := range map[string]func() *etree.Element{
		"another assertion before": func() *etree.Element {
			r := good()
			r.InsertChildAt(assertion(r).Index(), evil())
			return r
		},
		"another assertion behind": func() *etree.Element {
			r := good()
			r.AddChild(evil())
			return r
		},
		"the signed one in another": func() *etree.Element {
			r, e := good(), evil()
			signed := assertion(r)
			r.RemoveChild(signed)
			e.AddChild(signed)
			r.AddChild(e)
			return r
		},
		"the signature taken over, the signed one behind": func() *etree.Element {
			r, e := good(), evil()
			signed := assertion(r)
			sig := signature(signed)
			signed.RemoveChild(sig)
			e.AddChild(sig)
			r.InsertChildAt(signed.Index(), e)
			return r
		},
		"the signature taken over with the id": func() *etree.Element {
			r, e := good(), evil()
			signed := assertion(r)
			e.CreateAttr("ID", signed.SelectAttrValue("ID", ""))
			e.AddChild(signature(signed))
			r.RemoveChild(signed)
			r.AddChild(e)
			return r
		},
		"the signed one in the signature": func() *etree.Element {
			r, e := good(), evil()
			signed := assertion(r)
			sig := signature(signed)
			signed.RemoveChild(sig)
			r.RemoveChild(signed)
			inObject(sig, signed)
			e.AddChild(sig)
			r.AddChild(e)
			return r
		},
		"the signed one in extensions": func() *etree.Element {
			r, e := good(), evil()
			signed := assertion(r)
			r.RemoveChild(signed)
			x := r.CreateElement("samlp:Extensions")
			x.AddChild(signed)
			r.AddChild(e)
			return r
		},
		"another one in extensions": func() *etree.Element {
			r := good()
			x := etree.NewElement("samlp:Extensions")
			x.AddChild(evil())
			r.InsertChildAt(0, x)
			return r
		},
		"the signed response in another": func() *etree.Element {
			signed := idp().Sign(idp().Wrap(idp().Assertion(statement()), statement()))
			r := idp().Wrap(evil(), statement())
			sig := signature(signed)
			signed.RemoveChild(sig)
			inObject(sig, signed)
			r.AddChild(sig)
			return r
		},
		"the signed response's id": func() *etree.Element {
			signed := idp().Sign(idp().Wrap(idp().Assertion(statement()), statement()))
			r := idp().Wrap(evil(), statement())
			r.CreateAttr("ID", signed.SelectAttrValue("ID", ""))
			r.AddChild(signature(signed))
			return r
		},
		"an unsigned assertion in a response whose signature is of an assertion": func() *etree.Element {
			r, e := good(), evil()
			signed := assertion(r)
			r.RemoveChild(signed)
			r.AddChild(e)
			r.AddChild(signature(signed))
			return r
		},
		"an encrypted one beside": func() *etree.Element {
			r := good()
			r.AddChild(samltest.Encrypt(evil(), aws().Certificate, xmlenc.AES128GCM))
			return r
		},
		"an encrypted one that is not signed": func() *etree.Element {
			return idp().Wrap(samltest.Encrypt(evil(), aws().Certificate, xmlenc.AES128GCM), statement())
		},
		"two in one encryption": func() *etree.Element {
			two := evil()
			two.AddChild(idp().Sign(idp().Assertion(statement())))
			return idp().Wrap(samltest.Encrypt(two, aws().Certificate, xmlenc.AES128GCM), statement())
		},
		"an id in another spelling": func() *etree.Element {
			r := good()
			r.CreateAttr("x:ID", assertion(r).SelectAttrValue("ID", ""))
			r.CreateAttr("xmlns:x", "urn:x")
			return r
		},
		"two signatures": func() *etree.Element {
			r := good()
			a := assertion(r)
			a.AddChild(signature(a).Copy())
			return r
		},
		"nothing signed":              func() *etree.Element { return idp().Wrap(evil(), statement()) },
		"signed by another":           func() *etree.Element { return other().Response(statement()) },
		"the response signed, badly":  func() *etree.Element { return other().Sign(good()) },
		"the assertion signed, badly": func() *etree.Element { return idp().Sign(other().Response(statement())) },
		"an attribute changed": func() *etree.Element {
			r := good()
			r.FindElement("//AttributeValue").SetText("arn:aws:iam::111122223333:role/admin,arn:aws:iam::111122223333:saml-provider/p")
			return r
		},
		"a name changed": func() *etree.Element {
			r := good()
			r.FindElement("//NameID").SetText("root")
			return r
		},
		"an attribute added": func() *etree.Element {
			r := good()
			r.FindElement("//AttributeStatement").AddChild(samltest.Parse(`<saml:Attribute xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" Name="x"><saml:AttributeValue>y</saml:AttributeValue></saml:Attribute>`))
			return r
		},
		"a digest of nothing": func() *etree.Element {
			r := good()
			r.FindElement("//DigestValue").SetText("")
			return r
		},
		"a reference to everything": func() *etree.Element {
			r := good()
			r.FindElement("//Reference").CreateAttr("URI", "")
			return r
		},
		"a transform by a program": func() *etree.Element {
			r := good()
			r.FindElement("//Transforms").CreateElement("ds:Transform").CreateAttr("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")
			return r
		},
	} {
		if a, err := p.Verify(samltest.Encode(make()), when); err == nil {
			t.Errorf("%s: it is accepted, for %s", name, a.Subject)
		} else if _, ok := errors.AsType[*saml.Error](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, err := p.Verify(samltest.Encode(good()), when); err != nil || a.Subject != "ann" {
		t.Errorf("what all of them are made of: %v", err)
	}
}

// Comments are not signed. A name is read whole, with or without comments in it: one
// that ends where a comment begins would be somebody else's.
func TestComments(t *testing.T) {
	s := statement()
	s.Subject = "admin@example.com.evil.com"
	s.Attributes["RoleSessionName"] = []string{"admin.evil"}
	text := samltest.Text(idp().Response(s))
	text = strings.Replace(text, "admin@example.com.evil.com", "admin@example.com<!-- x -->.evil.com", 1)
	text = strings.Replace(text, "admin.evil", "admin<!---->.evil", 1)
	a, err := provider(t).Verify(base64.StdEncoding.EncodeToString([]byte(text)), when)
	if err != nil {
		t.Fatal(err)
	}
	if a.Subject != "admin@example.com.evil.com" || !slices.Equal(a.Attributes[samltest.AWS+"RoleSessionName"], []string{"admin.evil"}) {
		t.Errorf("the name is %q, an attribute %q", a.Subject, a.Attributes)
	}
}

func TestWeakSignatures(t *testing.T) {
	context, err := dsig.NewSigningContext(idp().Key, [][]byte{idp().Certificate.Raw})
	if err != nil {
		t.Fatal(err)
	}
	context.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := context.SetSignatureMethod(dsig.RSASHA1SignatureMethod); err != nil {
		t.Fatal(err)
	}
	signed, err := context.SignEnveloped(idp().Assertion(statement()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider(t).Verify(samltest.Encode(idp().Wrap(signed, statement())), when); err == nil {
		t.Error("a signature with SHA-1 is accepted")
	}
	// What the signature says of its key is not looked at, nor needed.
	r := idp().Response(statement())
	info := r.FindElement("//KeyInfo")
	info.FindElement(".//X509Certificate").SetText(base64.StdEncoding.EncodeToString(other().Certificate.Raw))
	if _, err := provider(t).Verify(samltest.Encode(r), when); err != nil {
		t.Errorf("with another certificate beside it: %v", err)
	}
	info.Parent().RemoveChild(info)
	if _, err := provider(t).Verify(samltest.Encode(r), when); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	// PKCS #1 v1.5 is not for keys.
	e := samltest.Encrypt(idp().Sign(idp().Assertion(statement())), aws().Certificate, xmlenc.AES128GCM)
	e.FindElement("//EncryptedKey/EncryptionMethod").CreateAttr("Algorithm", "http://www.w3.org/2001/04/xmlenc#rsa-1_5")
	if _, err := provider(t).Verify(samltest.Encode(idp().Wrap(e, statement())), when); err == nil {
		t.Error("a key encrypted with PKCS #1 v1.5 is accepted")
	}
}

func TestNotResponses(t *testing.T) {
	p := provider(t)
	good := samltest.Text(idp().Response(statement()))
	for name, text := range map[string]string{
		"nothing":                  "",
		"no XML":                   "hello",
		"an assertion by itself":   samltest.Text(idp().Sign(idp().Assertion(statement()))),
		"a document type":          `<!DOCTYPE r [<!ENTITY x "y">]>` + good,
		"a processing instruction": `<?x y?>` + good,
		"one within":               strings.Replace(good, "<samlp:Status>", "<?x y?><samlp:Status>", 1),
		"an entity":                strings.Replace(good, ">ann<", ">&x;<", 1),
		"another namespace":        strings.ReplaceAll(good, "urn:oasis:names:tc:SAML:2.0:protocol", "urn:oasis:names:tc:SAML:1.0:protocol"),
		"a name with two colons":   strings.Replace(good, "<samlp:Status>", "<a:b:c/><samlp:Status>", 1),
		"two documents":            good + good,
		"text behind":              good + "x",
	} {
		if _, err := p.Verify(base64.StdEncoding.EncodeToString([]byte(text)), when); err == nil || err.Error() != "Invalid SAML response" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Verify("!", when); err == nil || err.Error() != "Invalid base64 SAMLResponse" {
		t.Errorf("no base64: %v", err)
	}
	deep := strings.Repeat("<a>", 20000) + strings.Repeat("</a>", 20000)
	if _, err := p.Verify(base64.StdEncoding.EncodeToString([]byte(deep)), when); err == nil {
		t.Error("a deep document is accepted")
	}
}

func TestMetadata(t *testing.T) {
	text := idp().Metadata()
	m, err := saml.ParseMetadata(text)
	if err != nil || m.EntityID != "https://idp.example.com" || len(m.Certificates) != 1 || !m.ValidUntil.IsZero() {
		t.Errorf("%+v, %v", m, err)
	}
	until, err := saml.ParseMetadata(strings.Replace(text, " entityID", ` validUntil="2030-01-02T03:04:05Z" entityID`, 1))
	if err != nil || !until.ValidUntil.Equal(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("%+v, %v", until, err)
	}
	for name, bad := range map[string]string{
		"nothing":                  "",
		"no XML":                   strings.Repeat("x", 1000),
		"no entity id":             strings.Replace(text, "entityID", "id", 1),
		"a service provider":       strings.ReplaceAll(text, "IDPSSODescriptor", "SPSSODescriptor"),
		"many":                     "<md:EntitiesDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\">" + strings.TrimPrefix(text, `<?xml version="1.0"?>`) + "</md:EntitiesDescriptor>",
		"no certificate":           strings.ReplaceAll(text, "X509Certificate", "X509Cert"),
		"a key for encryption":     strings.Replace(text, `use="signing"`, `use="encryption"`, 1),
		"a certificate of nothing": strings.Replace(text, "MII", "AAA", 1),
		"a certificate not base64": strings.Replace(text, "MII", "!!!", 1),
		"a date that is none":      strings.Replace(text, " entityID", ` validUntil="soon" entityID`, 1),
		"a document type":          strings.Replace(text, "<!--", `<!DOCTYPE x><!--`, 1),
		"another namespace":        strings.ReplaceAll(text, "SAML:2.0:metadata", "SAML:3.0:metadata"),
	} {
		if m, err := saml.ParseMetadata(bad); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestKeys(t *testing.T) {
	if k, err := saml.ParseKey(aws().PEM()); err != nil || !k.Equal(aws().Key) {
		t.Errorf("%v", err)
	}
	for name, text := range map[string]string{
		"nothing": "", "no PEM": "key", "a certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"a damaged one": strings.Replace(aws().PEM(), "MII", "AAA", 1),
	} {
		if _, err := saml.ParseKey(text); err == nil {
			t.Errorf("%s is a key", name)
		}
	}
}

// Whatever is sent, what is accepted was signed.
func FuzzResponse(f *testing.F) {
	p := provider(f)
	f.Add(samltest.Text(idp().Response(statement())))
	f.Add(samltest.Text(idp().Sign(idp().Wrap(idp().Assertion(statement()), statement()))))
	encrypted := statement()
	encrypted.Encrypt = aws().Certificate
	f.Add(samltest.Text(idp().Response(encrypted)))
	f.Add(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"/>`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := p.Verify(base64.StdEncoding.EncodeToString([]byte(text)), when)
		if err == nil {
			if a.Subject != "ann" || !slices.Equal(a.Attributes[samltest.AWS+"RoleSessionName"], []string{"ann@example.com"}) {
				t.Errorf("nobody signed %+v", a)
			}
		} else if _, ok := errors.AsType[*saml.Error](err); !ok {
			t.Errorf("%v", err)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add(idp().Metadata())
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := saml.ParseMetadata(text); err == nil && (m.EntityID == "" || len(m.Certificates) == 0) {
			t.Errorf("%+v", m)
		}
	})
}
