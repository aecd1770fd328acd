package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	ec2api "github.com/iamd-dev/iamd/internal/aws/ec2/api"
	"github.com/iamd-dev/iamd/internal/ec2form"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// onEC2 is an operation of EC2 as an actor calls it, in the form that do takes. The SDK's
// client of EC2 would make the program as large again, so that this one writes the form itself.
func onEC2[In, Out any](who *actor) func(context.Context, *In, ...func(*struct{})) (*Out, error) {
	return func(ctx context.Context, in *In, _ ...func(*struct{})) (*Out, error) {
		form := ec2form.Values(in)
		form.Set("Action", strings.TrimSuffix(reflect.TypeFor[In]().Name(), "Input"))
		form.Set("Version", ec2api.Model.Version)
		body, err := who.call(ctx, form)
		if err != nil {
			return nil, err
		}
		out := new(Out)
		return out, ec2form.Read(body, out)
	}
}

// callEC2 sends a form and returns the answer, or the error that it is.
func callEC2(ctx context.Context, cfg aws.Config, form url.Values) ([]byte, error) {
	who, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	text := []byte(form.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, *cfg.BaseEndpoint+"/", strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	signer := sigv4.Signer{AccessKeyID: who.AccessKeyID, SecretAccessKey: who.SecretAccessKey, SessionToken: who.SessionToken, Region: cfg.Region, Service: "ec2"}
	signer.Sign(r, sigv4.Hash(text), time.Now())
	answer, err := cfg.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		refused, err := ec2form.ReadError(body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", answer.Status, err)
		}
		return nil, &smithy.GenericAPIError{Code: refused.Code, Message: refused.Message}
	}
	return body, nil
}
