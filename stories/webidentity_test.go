//go:build stories

package stories

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/go-jose/go-jose/v4"
)

// Workloads with a token in a file and no keys at all, as Kubernetes gives it to them.
// The file is read again for every session, and STS asks the issuer for its keys.
func TestWebIdentity(t *testing.T) { eachCLI(t, webIdentity) }

func webIdentity(t *testing.T, c *cli) {
	// The issuer of a cluster: it is on this machine, which iamd must be told to allow.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewUnstartedServer(nil)
	url := "http://" + issuer.Listener.Addr().String()
	documents := map[string]any{
		"/.well-known/openid-configuration": map[string]any{
			"issuer": url, "jwks_uri": url + "/keys",
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"ES256"},
		},
		"/keys": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}},
	}
	issuer.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, ok := documents[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(document)
	})
	issuer.Start()
	t.Cleanup(issuer.Close)
	token := func(subject, audience string, good time.Duration) string {
		t.Helper()
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := json.Marshal(map[string]any{
			"iss": url, "sub": subject, "aud": []string{audience}, "jti": rand.Text(),
			"iat": time.Now().Add(-time.Hour).Unix(), "nbf": time.Now().Add(-time.Hour).Unix(), "exp": time.Now().Add(good).Unix(),
			"kubernetes.io": map[string]any{"namespace": "reports", "serviceaccount": map[string]any{"name": "reader"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}

	s := serve(t, "--account", accountA, "--trusted-issuers", url)
	s.cli = c
	root := s.root(accountA)
	const reader = "arn:aws:iam::" + accountA + ":role/reader"
	provider := strings.TrimSpace(root.aws("iam", "create-open-id-connect-provider", "--url", url, "--client-id-list", "sts.amazonaws.com", "--query", "OpenIDConnectProviderArn", "--output", "text"))
	host := strings.TrimPrefix(url, "http://")
	root.role("reader", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Federated": "`+provider+`"}, "Action": "sts:AssumeRoleWithWebIdentity",
		"Condition": {"StringEquals": {"`+host+`:aud": "sts.amazonaws.com", "`+host+`:sub": "system:serviceaccount:reports:reader"}}}}`, allowing("iam:ListRoles", "*"))

	// A pod: two variables and a file.
	pod := s.nobody()
	file := filepath.Join(pod.dir, "token")
	pod = pod.with("AWS_DEFAULT_REGION=us-east-1", "AWS_ROLE_ARN="+reader, "AWS_ROLE_SESSION_NAME=pod", "AWS_WEB_IDENTITY_TOKEN_FILE="+file)
	right := token("system:serviceaccount:reports:reader", "sts.amazonaws.com", time.Hour)
	pod.file("token", right)
	identity := []string{"sts", "get-caller-identity", "--query", "Arn", "--output", "text"}
	if who := strings.TrimSpace(pod.aws(identity...)); who != "arn:aws:sts::"+accountA+":assumed-role/reader/pod" {
		t.Errorf("the pod is %s", who)
	}
	pod.aws("iam", "list-roles")
	pod.refused("is not authorized to perform: iam:ListUsers", "iam", "list-users")
	for name, wrong := range map[string]struct{ token, words string }{
		"service-account": {token("system:serviceaccount:reports:writer", "sts.amazonaws.com", time.Hour), "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"audience":        {token("system:serviceaccount:reports:reader", "vault", time.Hour), "Incorrect token audience"},
		"expired":         {token("system:serviceaccount:reports:reader", "sts.amazonaws.com", -30*time.Minute), "ExpiredToken"},
		"signature":       {right[:len(right)-8] + "AAAAAAAA", "InvalidIdentityToken"},
	} {
		pod.file("token", wrong.token)
		// A session of another name: the CLI keeps those that it has.
		pod.with("AWS_ROLE_SESSION_NAME="+name).refused(wrong.words, identity...)
	}

	// The account learns which condition did not hold.
	pod.file("token", token("system:serviceaccount:reports:intruder", "sts.amazonaws.com", time.Hour))
	pod.with("AWS_ROLE_SESSION_NAME=intruder").refused("Not authorized to perform sts:AssumeRoleWithWebIdentity", identity...)
	out := s.iamd("explain", "--context")
	for _, want := range []string{"REFUSED  sts:AssumeRoleWithWebIdentity\n", host + ":sub", "system:serviceaccount:reports:intruder", "system:serviceaccount:reports:reader"} {
		if !strings.Contains(out, want) {
			t.Errorf("iamd explain does not say %q:\n%s", want, out)
		}
	}

	// A profile says the same, and another role can stand on it.
	root.role("chained", trusting(reader), "")
	root.aws("iam", "put-role-policy", "--role-name", "reader", "--policy-name", "on", "--policy-document", allowing("sts:AssumeRole", "*"))
	p := s.nobody().with("AWS_DEFAULT_REGION=us-east-1")
	p.file("token", right)
	p.home(p, `
[profile pod]
role_arn = `+reader+`
role_session_name = from-profile
web_identity_token_file = `+filepath.Join(p.dir, "token")+`

[profile chained]
role_arn = arn:aws:iam::`+accountA+`:role/chained
role_session_name = chained
source_profile = pod
`)
	for profile, want := range map[string]string{"pod": "reader/from-profile", "chained": "chained/chained"} {
		if who := strings.TrimSpace(p.aws(append(identity, "--profile", profile)...)); who != "arn:aws:sts::"+accountA+":assumed-role/"+want {
			t.Errorf("profile %s is %s", profile, who)
		}
	}

	// The SDK for Go, told the same.
	pod.file("token", right)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(s.url), config.WithSharedConfigFiles([]string{}))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(cfg), reader, stscreds.IdentityTokenFile(file), func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = "go" })
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
	if err != nil || *who.Arn != "arn:aws:sts::"+accountA+":assumed-role/reader/go" {
		t.Errorf("the SDK for Go is %+v, %v", who, err)
	}

	// Without the provider nobody vouches for the pod.
	root.aws("iam", "delete-open-id-connect-provider", "--open-id-connect-provider-arn", provider)
	pod.with("AWS_ROLE_SESSION_NAME=late").refused("Not authorized to perform sts:AssumeRoleWithWebIdentity", identity...)
}
