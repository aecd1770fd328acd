package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/server"
)

// mostRecords is how many records of a file are explained.
const mostRecords = 1000

// recordsOf finds the CloudTrail records in a text, in whichever of their forms:
// one, a file of them, an event of EventBridge, the answer of lookup-events, or
// several of these after each other.
func recordsOf(text []byte) ([]json.RawMessage, error) {
	var all []json.RawMessage
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		var form struct {
			Records []json.RawMessage `json:"Records"`
			Detail  json.RawMessage   `json:"detail"`
			Events  []struct{ CloudTrailEvent string }
			Event   string `json:"CloudTrailEvent"`
			Name    string `json:"eventName"`
		}
		if err == nil {
			err = json.Unmarshal(raw, &form)
		}
		if err != nil {
			return nil, fmt.Errorf("at byte %d it is not JSON: %w", d.InputOffset(), err)
		}
		before := len(all)
		switch {
		case form.Name != "":
			all = append(all, raw)
		case form.Event != "":
			all = append(all, json.RawMessage(form.Event))
		case len(form.Detail) > 0:
			all = append(all, form.Detail)
		default:
			all = append(all, form.Records...)
			for _, e := range form.Events {
				all = append(all, json.RawMessage(e.CloudTrailEvent))
			}
		}
		if len(all) == before {
			return nil, fmt.Errorf("before byte %d there is no CloudTrail record", d.InputOffset())
		}
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("there is no CloudTrail record")
	case len(all) > mostRecords:
		return nil, fmt.Errorf("there are %d records: give %d at a time", len(all), mostRecords)
	}
	return all, nil
}

// explainEvents explains each record of a file. What it cannot explain it tells at
// the end.
func (t *target) explainEvents(ctx context.Context, stdin io.Reader, file string, onlyProfile bool, print func(*server.Details) error) error {
	text, err := readFileOr(stdin, file)
	if err != nil {
		return err
	}
	records, err := recordsOf(text)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	all := &server.Details{}
	var failed []error
	for i, record := range records {
		var known struct {
			RequestID string `json:"requestID"`
		}
		if err := json.Unmarshal(record, &known); err != nil {
			failed = append(failed, fmt.Errorf("record %d: %w", i+1, err))
			continue
		}
		var d *server.Details
		err := errNotKept
		if known.RequestID != "" {
			d, err = t.details(ctx, known.RequestID, onlyProfile)
		}
		if errors.Is(err, errNotKept) {
			d, err = t.everyone(onlyProfile, func(as *target) (*server.Details, error) {
				return as.ask(ctx, http.MethodPost, "", record)
			})
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("record %d: %w", i+1, err))
			continue
		}
		all.Explanations = append(all.Explanations, d.Explanations...)
	}
	if len(all.Explanations) > 0 {
		failed = append(failed, print(all))
	}
	return errors.Join(failed...)
}

// readFileOr reads a file, or standard input where it is called -.
func readFileOr(stdin io.Reader, file string) ([]byte, error) {
	if file == "-" {
		text, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("reading standard input: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError{err}
	}
	return text, nil
}

// decode has STS decode an authorization message.
func (t *target) decode(ctx context.Context, message string, onlyProfile bool) (*server.Details, error) {
	return t.everyone(onlyProfile, func(as *target) (*server.Details, error) {
		cfg, err := as.config()
		if err != nil {
			return nil, err
		}
		out, err := sts.NewFromConfig(cfg).DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: &message})
		if errorCode(err) == "InvalidAuthorizationMessageException" { // of this account
			return nil, fmt.Errorf("%w: %s", errNotTheirs, told(err))
		}
		if err != nil {
			return nil, errors.New(told(err))
		}
		x, err := authz.ParseMessage(*out.DecodedMessage)
		if err != nil {
			return nil, err
		}
		return &server.Details{Explanations: []*authz.Explanation{x}, EncodedMessage: message}, nil
	})
}
