//go:build stories

package stories

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A pod of a cluster, which is an issuer on a private network, has the token of its
// service account in a file and no key at all. The CLI does the rest.
func TestServiceAccountToken(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	cluster := httptest.NewServer(mux)
	defer cluster.Close()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": cluster.URL, "jwks_uri": cluster.URL + "/openid/v1/jwks"})
	})
	mux.HandleFunc("GET /openid/v1/jwks", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	})
	token := func(account string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.Signed(signer).Claims(map[string]any{
			"iss": cluster.URL, "sub": "system:serviceaccount:payments:" + account, "aud": []string{"sts.amazonaws.com"},
			"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"kubernetes.io": map[string]any{"namespace": "payments", "serviceaccount": map[string]any{"name": account}},
		}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}

	s := serve(t, "--trusted-issuers", cluster.URL)
	root := s.root("123456789012")
	name := strings.TrimPrefix(cluster.URL, "http://")
	provider := "arn:aws:iam::" + "123456789012" + ":oidc-provider/" + name
	root.aws("iam", "create-open-id-connect-provider", "--url", cluster.URL, "--client-id-list", "sts.amazonaws.com")
	root.role("payments", fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
		"Principal": {"Federated": %q}, "Condition": {"StringEquals": {"%s:sub": "system:serviceaccount:payments:worker", "%s:aud": "sts.amazonaws.com"}}}}`,
		provider, name, name), allowing("s3:ListAllMyBuckets", "*"))

	pod := s.nobody()
	pod.file("token", token("worker"))
	pod = pod.with("AWS_ENDPOINT_URL="+s.url, "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1",
		"AWS_ROLE_ARN=arn:aws:iam::"+"123456789012"+":role/payments", "AWS_ROLE_SESSION_NAME=worker-0", "AWS_WEB_IDENTITY_TOKEN_FILE="+pod.dir+"/token")
	if out := pod.aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text"); strings.TrimSpace(out) != "arn:aws:sts::"+"123456789012"+":assumed-role/payments/worker-0" {
		t.Errorf("the pod is %s", out)
	}
	pod.aws("s3api", "list-buckets")
	pod.refused("AccessDenied", "iam", "list-users")

	// Another service account of the cluster is not let in, and told no more; the
	// account learns which condition did not hold. The CLI keeps credentials by role and
	// session name, so others have other names.
	intruder := pod.with("AWS_ROLE_SESSION_NAME=intruder-0")
	intruder.file("token", token("intruder"))
	intruder.refused("Not authorized to perform sts:AssumeRoleWithWebIdentity", "s3api", "list-buckets")
	out := s.iamd("explain", "--context")
	for _, want := range []string{"REFUSED  sts:AssumeRoleWithWebIdentity\n", name + ":sub", "system:serviceaccount:payments:intruder", "system:serviceaccount:payments:worker"} {
		if !strings.Contains(out, want) {
			t.Errorf("iamd explain does not say %q:\n%s", want, out)
		}
	}

	// A token with a changed letter, and the provider taken away.
	intruder.file("token", strings.Replace(token("worker"), ".", ".e30", 1))
	intruder.refused("InvalidIdentityToken", "s3api", "list-buckets")
	root.aws("iam", "delete-open-id-connect-provider", "--open-id-connect-provider-arn", provider)
	intruder.file("token", token("worker"))
	intruder.refused("Not authorized to perform sts:AssumeRoleWithWebIdentity", "s3api", "list-buckets")
}
