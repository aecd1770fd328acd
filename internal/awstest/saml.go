package awstest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/saml/samltest"
)

// The SAML provider of scripts, and the one whose key opens what is encrypted for AWS.
// Their keys are costly to make, and are made once.
var (
	samlProvider = sync.OnceValue(func() *samltest.Provider { return samltest.New("https://idp.example.com/saml") })
	samlReader   = sync.OnceValue(func() *samltest.Provider { return samltest.New("urn:amazon:webservices") })
)

// assertion sets a variable to a response of the SAML provider.
func (s *script) assertion(_ bool, args []string) error {
	now := s.server.Now()
	statement := samltest.Statement{Issued: now, Attributes: map[string][]string{"RoleSessionName": {"ann"}}}
	signed := samlProvider()
	for _, arg := range args[1:] {
		at := strings.LastIndexByte(arg, '=')
		if strings.Contains(arg, "=[") { // a list, in which there may be more of them
			at = strings.Index(arg, "=[")
		}
		if at < 0 {
			return fmt.Errorf("%q is not of the form NAME=VALUE", arg)
		}
		name, text := arg[:at], arg[at+1:]
		moment := func(t *time.Time) error {
			d, err := time.ParseDuration(text)
			*t = now.Add(d)
			return err
		}
		var err error
		switch name {
		case "issued":
			err = moment(&statement.Issued)
		case "until":
			err = moment(&statement.Until)
		case "session":
			err = moment(&statement.SessionEnd)
		case "subject":
			statement.Subject = text
		case "format":
			statement.Format = text
		case "issuer":
			statement.Issuer = text
		case "recipient":
			statement.Recipient = text
		case "audience":
			statement.Audience = text
		case "encrypted":
			statement.Encrypt = samlReader().Certificate
		case "forged":
			signed = samlReader()
		default:
			values := []string{text}
			switch {
			case text == "":
				values = nil
			case text[0] == '[':
				values = nil
				err = json.Unmarshal([]byte(text), &values)
			}
			statement.Attributes[name] = values
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	statement.Issuer = cmp.Or(statement.Issuer, samlProvider().EntityID)
	s.vars[args[0]] = samltest.Encode(signed.Response(statement))
	return nil
}
