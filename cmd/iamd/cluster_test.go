package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/iamd-dev/iamd/internal/store"
)

// startEtcd is an etcd that somebody runs; stop ends it before the test does.
func startEtcd(t *testing.T) (endpoint string, stop func()) {
	t.Helper()
	local := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.MaxTxnOps = store.MaxKeys
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(e.Close)
	t.Cleanup(stop)
	<-e.Server.ReadyNotify()
	return "http://" + e.Clients[0].Addr().String(), stop
}

// node starts a server by a configuration file and returns its URL.
func node(t *testing.T, dir, config string) string {
	t.Helper()
	s, fs := &settings{}, pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.register(fs)
	if err := errors.Join(fs.Parse([]string{"--data", dir, "--listen", "127.0.0.1:0"}), setFromYAML(fs, []byte(config)), s.check(func(string) string { return "" })); err != nil {
		t.Fatal(err)
	}
	if s.cluster == nil {
		t.Fatal("the configuration has no cluster")
	}
	s.cluster.Silence = time.Second
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, s, slog.New(slog.NewTextHandler(io.Discard, nil)), func(url string, _ *house) { ready <- url })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node on %s ended with %v", dir, err)
		}
	})
	select {
	case url := <-ready:
		return url
	case err := <-ended:
		ended <- nil
		t.Fatalf("the node on %s: %v", dir, err)
		return ""
	}
}

// Two servers that share an etcd are one iamd: what one has changed holds on the
// other at once for whoever sends the revision along, and neither decides by a
// state that may be old.
func TestCluster(t *testing.T) {
	t.Parallel()
	endpoint, stop := startEtcd(t)
	config := "account: ['111122223333']\netcd:\n  endpoints: [" + endpoint + "]\n"
	dirs := []string{t.TempDir(), t.TempDir()}
	first := node(t, dirs[0], config)

	// A server without the master key of the others does not start and makes none.
	s := &settings{}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.register(fs)
	if err := errors.Join(fs.Parse([]string{"--data", dirs[1]}), setFromYAML(fs, []byte(config)), s.check(func(string) string { return "" })); err != nil {
		t.Fatal(err)
	}
	if h, err := openHouse(t.Context(), s, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "from another server") {
		h.Close()
		t.Fatalf("without the master key: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(dirs[0], "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dirs[1], "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	second := node(t, dirs[1], config)

	on := func(url, dir, profile string) aws.Config {
		cfg, err := (&target{data: dir, endpoint: url, profile: profile}).config()
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	a, b := iam.NewFromConfig(on(first, dirs[0], "default")), iam.NewFromConfig(on(second, dirs[1], "default"))

	// Each change is sent to one node and looked for on the other with its revision.
	for i := range 20 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		name := aws.String("user-" + string(rune('a'+i)))
		out, err := from.CreateUser(t.Context(), &iam.CreateUserInput{UserName: name})
		if err != nil {
			t.Fatal(err)
		}
		revision := revisionOf(t, out.ResultMetadata)
		if _, err := to.GetUser(t.Context(), &iam.GetUserInput{UserName: name}, at(revision)); err != nil {
			t.Fatalf("the other node at revision %s: %v", revision, err)
		}
	}
	// A key that one node has made is known to the other, and so are its sessions.
	out, err := a.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("user-a")})
	if err != nil {
		t.Fatal(err)
	}
	revision := revisionOf(t, out.ResultMetadata)
	user := configFor(second, &http.Client{}, *out.AccessKey.AccessKeyId, *out.AccessKey.SecretAccessKey, "")
	session, err := sts.NewFromConfig(user).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{}, func(o *sts.Options) {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Iamd-Revision", revision))
	})
	if err != nil {
		t.Fatal(err)
	}
	c := session.Credentials
	who, err := sts.NewFromConfig(configFor(first, &http.Client{}, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != "arn:aws:iam::111122223333:user/user-a" {
		t.Errorf("a session of the second node is %v, %v on the first", who, err)
	}
	// Objects are on one machine: no node of a cluster serves them.
	if _, err := s3.NewFromConfig(on(first, dirs[0], "default")).ListBuckets(t.Context(), &s3.ListBucketsInput{}); errorCode(err) != "NotImplemented" {
		t.Errorf("S3 in a cluster answers %v", err)
	}
	// One directory, one server.
	if h, err := openHouse(t.Context(), s, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "one directory, one server") {
		h.Close()
		t.Errorf("a second server on one directory: %v", err)
	}

	stop()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := b.ListUsers(t.Context(), &iam.ListUsersInput{})
		if errorCode(err) == "ServiceUnavailable" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("without etcd the node still answers %v", err)
		}
	}
}

// revisionOf is the revision that a change has left behind.
func revisionOf(t *testing.T, m middleware.Metadata) string {
	t.Helper()
	r, ok := awsmiddleware.GetRawResponse(m).(*smithyhttp.Response)
	if !ok || r.Header.Get("X-Iamd-Revision") == "" {
		t.Fatal("the answer to a change has no revision")
	}
	return r.Header.Get("X-Iamd-Revision")
}

func at(revision string) func(*iam.Options) {
	return func(o *iam.Options) {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Iamd-Revision", revision))
	}
}

func TestEtcdSettings(t *testing.T) {
	dir := t.TempDir()
	cert, key, password := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "password")
	for name, text := range map[string]string{cert: "x", key: "x", password: "hush\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(config string) (*settings, error) {
		s, fs := &settings{}, pflag.NewFlagSet("serve", pflag.ContinueOnError)
		s.register(fs)
		if err := errors.Join(fs.Parse([]string{"--data", dir}), setFromYAML(fs, []byte(config))); err != nil {
			return nil, err
		}
		return s, s.check(func(string) string { return "" })
	}
	s, err := read("etcd: {endpoints: ['https://etcd-1:2379', 'https://etcd-2:2379'], username: iamd, password-file: " + password + "}")
	if err != nil {
		t.Fatal(err)
	}
	if c := s.cluster; len(c.Endpoints) != 2 || c.TLS == nil || c.Username != "iamd" || c.Password != "hush" {
		t.Errorf("the cluster is %+v", c)
	}
	if s, err := read("listen: ':0'"); err != nil || s.cluster != nil {
		t.Errorf("without etcd: %+v, %v", s, err)
	}
	for _, test := range []struct{ config, want string }{
		{"etcd: {username: x}", "no --etcd-endpoints"},
		{"etcd: {endpoints: [etcd-1]}", `--etcd-endpoints "etcd-1" is not like https://etcd-1:2379`},
		{"etcd: {endpoints: ['https://etcd-1']}", "is not like https://etcd-1:2379"},
		{"etcd: {endpoints: ['unix://x:1']}", "is not like https://etcd-1:2379"},
		{"etcd: {endpoints: ['https://u:p@etcd-1:2379']}", "is not like https://etcd-1:2379"},
		{"etcd: {endpoints: ['https://etcd-1:2379', 'http://etcd-2:2379']}", "some of --etcd-endpoints are https and some are not"},
		{"etcd: {endpoints: ['http://etcd-1:2379'], ca: x}", "not https"},
		{"etcd: {endpoints: ['https://etcd-1:2379'], cert: x}", "both --etcd-cert and --etcd-key"},
		{"etcd: {endpoints: ['https://etcd-1:2379'], username: x}", "both --etcd-username and --etcd-password-file"},
		{"etcd: {endpoints: ['https://etcd-1:2379'], ca: /nonexistent}", "reading --etcd-ca: "},
		{"etcd: {endpoints: ['https://etcd-1:2379'], ca: " + cert + "}", "has no certificate"},
		{"etcd: {endpoints: ['https://etcd-1:2379'], cert: " + cert + ", key: " + key + "}", "reading --etcd-cert and --etcd-key: "},
		{"etcd: {endpoints: ['https://etcd-1:2379'], username: x, password-file: /nonexistent}", "reading the password of etcd: "},
		{"etcd: {endpoint: ['https://etcd-1:2379']}", `unknown key "etcd-endpoint": did you mean "etcd-endpoints"?`},
		{"etcd: {ca: x}\netcd-ca: y", "etcd-ca is there twice"},
	} {
		if _, err := read(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.config, err, test.want)
		}
	}
}
