package server_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/aws/sts"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/internal/store"
)

const account = "111122223333"

func document(principal, action string) identity.Document {
	if principal != "" {
		return identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"` + action + `"}}`)
	}
	return identity.NewDocument(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"*"}}`)
}

// BenchmarkAssumeRole is a whole call without the network: verify, decode, decide
// on both sides, seal, record, encode.
func BenchmarkAssumeRole(b *testing.B) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.NewMemory())
	if err != nil {
		b.Fatal(err)
	}
	vault, err := identity.NewVault(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	keyring := identity.NewKeyring(vault)
	if err := keyring.Rotate(ctx, db, time.Now()); err != nil {
		b.Fatal(err)
	}
	key, secret := keyring.NewAccessKey(account, "AIDAALICE", time.Now())
	err = db.Update(ctx, func(tx *store.Tx) error {
		identity.Accounts.Put(tx, account, &identity.Account{ID: account})
		identity.Users.Put(tx, identity.Key(account, "alice"), &identity.User{
			User:   api.User{UserName: "alice", UserId: "AIDAALICE", Arn: "arn:aws:iam::" + account + ":user/alice"},
			Inline: map[string]identity.Document{"p": document("", "sts:AssumeRole")}})
		identity.IDs.Put(tx, "AIDAALICE", &identity.Ref{Kind: identity.UserKind, Key: identity.Key(account, "alice")})
		identity.Roles.Put(tx, identity.Key(account, "r"), &identity.Role{
			Role:  api.Role{RoleName: "r", RoleId: "AROAR", Arn: "arn:aws:iam::" + account + ":role/r", MaxSessionDuration: 3600},
			Trust: document(account, "sts:AssumeRole")})
		identity.IDs.Put(tx, "AROAR", &identity.Ref{Kind: identity.RoleKind, Key: identity.Key(account, "r")})
		identity.Keys.Put(tx, key.ID, key)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	log, err := audit.Open(b.TempDir(), audit.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	decisions, err := audit.OpenDecisions(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	s, err := server.New(server.Config{DB: db, Keyring: keyring, Audit: log, Decisions: decisions, Services: []*service.Service{
		(&iam.Service{DB: db, Keyring: keyring}).AWS(), (&sts.Service{Keyring: keyring, Managed: authz.Managed}).AWS()}})
	if err != nil {
		b.Fatal(err)
	}
	body := "Action=AssumeRole&DurationSeconds=900&RoleArn=arn%3Aaws%3Aiam%3A%3A" + account + "%3Arole%2Fr&RoleSessionName=s1&Version=2011-06-15"
	signer := sigv4.Signer{AccessKeyID: key.ID, SecretAccessKey: secret.Reveal(), Region: "us-east-1", Service: "sts"}
	r := httptest.NewRequest("POST", "http://localhost/", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
	r.ContentLength = int64(len(body))
	b.ReportAllocs()
	b.SetParallelism(64) // records are synced in groups, so a call alone measures the disk
	b.RunParallel(func(pb *testing.PB) {
		r, w := r.Clone(ctx), &answer{header: http.Header{}}
		for pb.Next() {
			r.Body = readCloser{strings.NewReader(body)}
			w.Reset()
			s.ServeHTTP(w, r)
			if w.status != 200 {
				b.Errorf("status %d: %s", w.status, w.String())
				return
			}
		}
	})
	s.Close()
}

type answer struct {
	bytes.Buffer
	header http.Header
	status int
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(s int)   { a.status = s }

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
