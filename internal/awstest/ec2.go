package awstest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	ec2api "github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/ec2form"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// ec2 calls an operation of EC2. The SDK's client of EC2 is larger than all others
// together, so that this one takes our own structs: see ec2form.
func (s *script) ec2(fail bool, args []string) error {
	op := ec2api.Model.Operation(args[0])
	if op == nil {
		return fmt.Errorf("ec2: there is no operation %s", args[0])
	}
	in := reflect.New(op.In)
	for _, arg := range args[1:] {
		path, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form PARAMETER=VALUE", arg)
		}
		if f, ok := strings.CutPrefix(value, "@"); ok {
			var err error
			if value, err = s.file(f); err != nil {
				return err
			}
			if path == "UserData" {
				value = base64.StdEncoding.EncodeToString([]byte(value + "\n"))
			}
		}
		if err := setParameter(in.Interface(), path, value); err != nil {
			return fmt.Errorf("ec2: %w", err)
		}
	}
	form := ec2form.Values(in.Interface())
	form.Set("Action", op.Name)
	form.Set("Version", ec2api.Model.Version)
	body := []byte(form.Encode())
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.server.URL+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = s.headers.Clone()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if who := s.actor.credentials; who.AccessKeyID != "" {
		signer := sigv4.Signer{AccessKeyID: who.AccessKeyID, SecretAccessKey: who.SecretAccessKey, SessionToken: who.SessionToken, Region: s.region, Service: "ec2"}
		signer.Sign(r, sigv4.Hash(body), s.server.Now())
	}
	response, err := client{s, http.Header{}}.Do(r)
	if err != nil {
		return err
	}
	id := response.Header.Get("X-Amzn-Requestid")
	s.vars["RequestId"] = id
	if response.StatusCode != http.StatusOK {
		failure, err := ec2form.ReadError(s.body)
		if err != nil {
			return fmt.Errorf("%s: %w", response.Status, err)
		}
		return s.refused(fail, failure.Code, failure.Message, response.StatusCode, id)
	}
	s.answer = nil
	if op.Out != nil {
		out := reflect.New(op.Out)
		if err := ec2form.Read(s.body, out.Interface()); err != nil {
			return err
		}
		if console, ok := out.Interface().(*ec2api.GetConsoleOutputOutput); ok {
			text, err := base64.StdEncoding.DecodeString(console.Output)
			if err != nil {
				return err
			}
			console.Output = string(text)
		}
		if s.answer, err = flatten(out.Interface()); err != nil {
			return err
		}
		kept := s.answer[:0]
		for _, p := range s.answer { // what is absent is zero in our structs
			if p.value != "" && p.value != "0001-01-01T00:00:00Z" {
				kept = append(kept, p)
			}
		}
		s.answer = kept
	}
	return s.answered(fail, nil)
}
