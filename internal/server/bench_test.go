package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/aws/s3"
	"github.com/iamd-dev/iamd/internal/aws/sts"
	"github.com/iamd-dev/iamd/internal/data"
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

// benched is a server with a user, alice, who may do anything by policy, a role that
// she may assume, and a bucket; and alice's key.
func benched(b *testing.B) (*server.Server, *identity.AccessKey, identity.Secret) {
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
			Inline: map[string]identity.Document{"p": document("", "*")}})
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
	b.Cleanup(func() { log.Close() })
	decisions, err := audit.OpenDecisions(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	objects, err := data.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { objects.Close() })
	buckets, err := s3.New(db, objects)
	if err != nil {
		b.Fatal(err)
	}
	s, err := server.New(server.Config{DB: db, Keyring: keyring, Audit: log, Decisions: decisions, Services: []*service.Service{
		(&iam.Service{DB: db, Keyring: keyring}).AWS(), (&sts.Service{DB: db, Keyring: keyring, Managed: authz.Managed}).AWS(), buckets.AWS()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s, key, secret
}

// BenchmarkAssumeRole is a whole call without the network: verify, decode, decide
// on both sides, seal, record, encode.
func BenchmarkAssumeRole(b *testing.B) {
	s, key, secret := benched(b)
	body := "Action=AssumeRole&DurationSeconds=900&RoleArn=arn%3Aaws%3Aiam%3A%3A" + account + "%3Arole%2Fr&RoleSessionName=s1&Version=2011-06-15"
	signer := sigv4.Signer{AccessKeyID: key.ID, SecretAccessKey: secret.Reveal(), Region: "us-east-1", Service: "sts"}
	r := httptest.NewRequest("POST", "http://localhost/", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
	r.ContentLength = int64(len(body))
	measure(b, s, r, body)
}

// BenchmarkGetObject is an authorised read of 1 KiB.
func BenchmarkGetObject(b *testing.B) {
	s, key, secret := benched(b)
	signer := sigv4.Signer{AccessKeyID: key.ID, SecretAccessKey: secret.Reveal(), Region: "us-east-1", Service: "s3"}
	send := func(method, path, body string) {
		r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
		signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
		w := &answer{header: http.Header{}}
		if s.ServeHTTP(w, r); w.status != 200 {
			b.Fatalf("%s %s: status %d: %s", method, path, w.status, w.String())
		}
	}
	send("PUT", "/files", "")
	send("PUT", "/files/a/k", strings.Repeat("x", 1024))
	r := httptest.NewRequest("GET", "http://localhost/files/a/k", nil)
	signer.Sign(r, sigv4.Hash(nil), time.Now())
	measure(b, s, r, "")
}

// measure sends a signed request again and again. Records are synced in groups, so
// a call alone would measure the disk.
func measure(b *testing.B, s *server.Server, r *http.Request, body string) {
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		r, w := r.Clone(context.Background()), &answer{header: http.Header{}}
		for pb.Next() {
			r.Body = readCloser{strings.NewReader(body)}
			w.Reset()
			clear(w.header)
			s.ServeHTTP(w, r)
			if w.status != 200 {
				b.Errorf("status %d: %s", w.status, w.String())
				return
			}
		}
	})
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

// BenchmarkServed is the calls above over connections, two of three an AssumeRole:
// the whole of what the program does, from which its profile is made (make profile).
func BenchmarkServed(b *testing.B) {
	s, key, secret := benched(b)
	web := httptest.NewServer(s)
	defer web.Close()
	request := func(service, method, path, body string) []byte {
		r, err := http.NewRequest(method, web.URL+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		if service == "sts" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		}
		signer := sigv4.Signer{AccessKeyID: key.ID, SecretAccessKey: secret.Reveal(), Region: "us-east-1", Service: service}
		signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
		var text bytes.Buffer
		if err := r.Write(&text); err != nil {
			b.Fatal(err)
		}
		return text.Bytes()
	}
	assume := request("sts", "POST", "/", "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A"+account+"%3Arole%2Fr&RoleSessionName=s1&Version=2011-06-15")
	requests := [][]byte{assume, request("s3", "GET", "/files/a/k", ""), assume}
	send := func(conn net.Conn, in *bufio.Reader, request []byte) error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != 200 {
			err = fmt.Errorf("status %d: %s", answer.StatusCode, text)
		}
		return err
	}
	connect := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		return conn, bufio.NewReader(conn)
	}
	conn, in := connect()
	for _, r := range [][]byte{request("s3", "PUT", "/files", ""), request("s3", "PUT", "/files/a/k", strings.Repeat("x", 1024))} {
		if err := send(conn, in, r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		conn, in := connect()
		for i := 0; pb.Next(); i++ {
			if err := send(conn, in, requests[i%len(requests)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkListRoles is the largest page of a list whose entries have documents.
func BenchmarkListRoles(b *testing.B) {
	s, key, secret := benched(b)
	err := s.DB.Update(b.Context(), func(tx *store.Tx) error {
		for i := range 1000 {
			name := fmt.Sprintf("role-%04d", i)
			identity.Roles.Put(tx, identity.Key(account, name), &identity.Role{
				Role: api.Role{Path: "/", RoleName: name, RoleId: identity.NewID(identity.RolePrefix, account), Arn: "arn:aws:iam::" + account + ":role/" + name,
					CreateDate: time.Now(), MaxSessionDuration: 3600},
				Trust: identity.NewDocument(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"%d"}}}]}`, account, i)),
			})
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	body := "Action=ListRoles&MaxItems=1000&Version=2010-05-08"
	signer := sigv4.Signer{AccessKeyID: key.ID, SecretAccessKey: secret.Reveal(), Region: "us-east-1", Service: "iam"}
	r := httptest.NewRequest("POST", "http://localhost/", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	signer.Sign(r, sigv4.Hash([]byte(body)), time.Now())
	r.ContentLength = int64(len(body))
	measure(b, s, r, body)
}
