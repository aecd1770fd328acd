package iam_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// fetch reads a JSON document as a verifier does.
func fetch(t *testing.T, url string, v any) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(v); err != nil || r.StatusCode != 200 {
		t.Fatalf("%s: %s: %v", url, r.Status, err)
	}
}

// verified verifies a token as any library does: by discovery from the issuer, its keys,
// the audience and the time; and gives its claims.
func verified(t *testing.T, issuer, token, audience string, now time.Time) map[string]any {
	t.Helper()
	var discovered struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	fetch(t, issuer+"/.well-known/openid-configuration", &discovered)
	if discovered.Issuer != issuer {
		t.Fatalf("the issuer at %s calls itself %s", issuer, discovered.Issuer)
	}
	var keys jose.JSONWebKeySet
	fetch(t, discovered.Keys, &keys)
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES384})
	if err != nil {
		t.Fatal(err)
	}
	var registered jwt.Claims
	all := map[string]any{}
	if err := parsed.Claims(&keys, &registered, &all); err != nil {
		t.Fatal(err)
	}
	if err := registered.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: now}, 0); err != nil {
		t.Error(err)
	}
	return all
}

// The claims are those that AWS documents, and a standard library accepts the token.
func TestWebIdentityTokenClaims(t *testing.T) {
	s := awstest.Start(t, account)
	root := s.IAM(s.Config(s.Root(account)))
	enabled, err := root.EnableOutboundWebIdentityFederation(t.Context(), &iam.EnableOutboundWebIdentityFederationInput{})
	if err != nil {
		t.Fatal(err)
	}
	issuer := *enabled.IssuerIdentifier
	_, alice := userWithKey(t, s, "alice")
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}}`
	if _, err := root.CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: aws.String("worker"), Path: aws.String("/jobs/"), AssumeRolePolicyDocument: &trust,
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}, {Key: aws.String("stage"), Value: aws.String("test")}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: aws.String("worker"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		t.Fatal(err)
	}
	assumed, err := s.STS(s.Config(alice)).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::111122223333:role/jobs/worker"), RoleSessionName: aws.String("run-7"), SourceIdentity: aws.String("alice"),
		Tags: []ststypes.Tag{{Key: aws.String("Team"), Value: aws.String("b")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	session := aws.Credentials{AccessKeyID: *assumed.Credentials.AccessKeyId, SecretAccessKey: *assumed.Credentials.SecretAccessKey, SessionToken: *assumed.Credentials.SessionToken}
	cfg := s.Config(session)
	cfg.Region = "eu-west-1"
	before := s.Now().Truncate(time.Second)
	out, err := s.STS(cfg).GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{
		Audience: []string{"https://api.example.com"}, SigningAlgorithm: aws.String("ES384"),
		Tags: []ststypes.Tag{{Key: aws.String("job"), Value: aws.String("nightly")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := verified(t, issuer, *out.WebIdentityToken, "https://api.example.com", s.Now())
	issued := int64(claims["iat"].(float64))
	if issued < before.Unix() || issued > s.Now().Unix() || claims["exp"] != float64(issued+300) || out.Expiration.Unix() != issued+300 || len(claims["jti"].(string)) != 36 {
		t.Errorf("iat %v, exp %v, jti %v, Expiration %v", claims["iat"], claims["exp"], claims["jti"], out.Expiration)
	}
	for _, name := range []string{"iat", "exp", "jti"} {
		delete(claims, name)
	}
	want := map[string]any{
		"iss": issuer, "sub": "arn:aws:iam::111122223333:role/jobs/worker", "aud": "https://api.example.com",
		"https://sts.amazonaws.com/": map[string]any{
			"aws_account": "111122223333", "source_region": "eu-west-1", "principal_id": "arn:aws:iam::111122223333:role/jobs/worker",
			"principal_tags":       map[string]any{"Team": "b", "stage": "test"},
			"request_tags":         map[string]any{"job": "nightly"},
			"source_identity":      "alice",
			"original_session_exp": assumed.Credentials.Expiration.UTC().Format(time.RFC3339),
		},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}

	// A user, several audiences, the other algorithm, after a restart.
	s.Restart()
	out, err = s.STS(s.Config(alice)).GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{
		Audience: []string{"x", "y"}, SigningAlgorithm: aws.String("RS256"), DurationSeconds: aws.Int32(3600),
	})
	if err != nil {
		t.Fatal(err)
	}
	claims = verified(t, issuer, *out.WebIdentityToken, "y", s.Now())
	if diff := cmp.Diff([]any{"x", "y"}, claims["aud"]); diff != "" {
		t.Errorf("audience (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"aws_account": account, "source_region": "us-east-1", "principal_id": "arn:aws:iam::111122223333:user/alice"}, claims["https://sts.amazonaws.com/"]); diff != "" {
		t.Errorf("claims of a user (-want +got):\n%s", diff)
	}

	// The organisation, where there is one.
	org, err := s.Organizations(s.Config(s.Root(account))).CreateOrganization(t.Context(), &organizations.CreateOrganizationInput{})
	if err != nil {
		t.Fatal(err)
	}
	roots, err := s.Organizations(s.Config(s.Root(account))).ListRoots(t.Context(), &organizations.ListRootsInput{})
	if err != nil {
		t.Fatal(err)
	}
	out, err = s.STS(s.Config(alice)).GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{Audience: []string{"x"}, SigningAlgorithm: aws.String("ES384")})
	if err != nil {
		t.Fatal(err)
	}
	own := verified(t, issuer, *out.WebIdentityToken, "x", s.Now())["https://sts.amazonaws.com/"].(map[string]any)
	id := *org.Organization.Id
	if diff := cmp.Diff([]any{id, []any{id + "/" + *roots.Roots[0].Id + "/"}}, []any{own["org_id"], own["ou_path"]}); diff != "" {
		t.Errorf("organisation (-want +got):\n%s", diff)
	}

	// Tags that make the token too large.
	var many []ststypes.Tag
	for i := range 50 {
		b := make([]byte, 250)
		for j := range b {
			b[j] = 'x'
		}
		many = append(many, ststypes.Tag{Key: aws.String(string(b[:100]) + string(rune('A'+i%26)) + string(rune('a'+i/26)) + "k"), Value: aws.String(string(b))})
	}
	if _, err := s.STS(s.Config(alice)).GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{Audience: []string{"x"}, SigningAlgorithm: aws.String("RS256"), Tags: many}); err == nil || !contains(err, "JWTPayloadSizeExceeded") {
		t.Errorf("a token with 17 kB of tags: %v, want JWTPayloadSizeExceeded", err)
	}
}

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }
