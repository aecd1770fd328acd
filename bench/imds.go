package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/imds"
	"github.com/iamd-dev/iamd/internal/servicerole"
)

// benchIMDS measures what an SDK in an instance or a task does to get its credentials,
// which are held ready: over the loopback interface, on one connection, beside a server
// that answers as many bytes and does nothing.
func benchIMDS(ctx context.Context, s settings) ([]table, error) {
	if err := flag.Set("test.benchtime", "500ms"); err != nil {
		return nil, err
	}
	held := &servicerole.Credentials{AccessKeyID: "ASIAEXAMPLEEXAMPLE12", SecretAccessKey: identity.NewSecret(strings.Repeat("s", 40)), SessionToken: identity.NewSecret(strings.Repeat("t", 400)),
		Issued: time.Now(), Expires: time.Now().Add(time.Hour), Role: "arn:aws:iam::123456789012:role/app"}
	credentials := func(context.Context) (*servicerole.Credentials, error) { return held, nil }
	instance := &imds.Instance{ID: "i-1234567890abcdef0", Region: region, Account: "123456789012", TokenRequired: true,
		Profile: &imds.Profile{ARN: "arn:aws:iam::123456789012:instance-profile/app", ID: "AIPAEXAMPLE", Role: "app"}}
	metadata := httptest.NewServer(imds.New(func() *imds.Instance { return instance }, credentials, time.Now))
	defer metadata.Close()
	container := httptest.NewServer(&imds.Container{Path: "/v2/credentials/x", Token: identity.NewSecret("token"), Credentials: credentials})
	defer container.Close()

	token, err := fetch(ctx, http.MethodPut, metadata.URL+"/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
	if err != nil {
		return nil, err
	}
	const role = "/latest/meta-data/iam/security-credentials/app"
	answer, err := fetch(ctx, http.MethodGet, metadata.URL+role, "X-Aws-Ec2-Metadata-Token", token)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(answer, held.AccessKeyID) {
		return nil, fmt.Errorf("the metadata service answers %s", answer)
	}
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer) }))
	defer bare.Close()

	t := table{title: "Credentials of a workload", note: "one connection over loopback, the client's work included; the role has been assumed before", header: []string{"", "µs/request", "to bare net/http"}}
	var times []float64
	rows := []struct {
		name string
		run  func(b *testing.B)
	}{
		{"IMDSv2, a token", asked(ctx, http.MethodPut, metadata.URL+"/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")},
		{"IMDSv2, the role's credentials", asked(ctx, http.MethodGet, metadata.URL+role, "X-Aws-Ec2-Metadata-Token", token)},
		{"container endpoint", asked(ctx, http.MethodGet, container.URL+"/v2/credentials/x", "Authorization", "token")},
		{"bare net/http", asked(ctx, http.MethodGet, bare.URL, "Authorization", "token")},
	}
	for _, row := range rows {
		best, _ := measure(row.run)
		for range s.rounds - 1 {
			if ns, _ := measure(row.run); ns < best {
				best = ns
			}
		}
		times = append(times, best)
	}
	for i, row := range rows {
		t.row(row.name, number(times[i]/1000), ratio(times[i]/times[len(times)-1]))
	}
	return []table{t}, nil
}

// asked is a benchmark of one request over and over.
func asked(ctx context.Context, method, url, header, value string) func(b *testing.B) {
	return func(b *testing.B) {
		for b.Loop() {
			if _, err := fetch(ctx, method, url, header, value); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func fetch(ctx context.Context, method, url, header, value string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set(header, value)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	return string(text), err
}
