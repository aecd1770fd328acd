package server_test

import (
	"encoding/base64"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// No secret access key, session token, password, customer's encryption key or
// signature is in any file, in the log, or in an explanation, whatever was called
// and however it went.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	root := h.roots[ours]
	secrets := map[string]string{"root's secret": root.secret}
	remember := func(name string, a actor) actor {
		secrets[name+"'s secret"] = a.secret
		if a.token != "" {
			secrets[name+"'s token"] = a.token
		}
		if a.secret == "" {
			t.Fatalf("%s has no secret", name)
		}
		return a
	}
	issued := func(a reply) actor {
		h.well(a)
		return actor{a.element("AccessKeyId"), a.element("SecretAccessKey"), a.element("SessionToken")}
	}
	alice := remember("alice", h.user(ours, "alice", allow("*", "*")))
	nobody := remember("nobody", h.user(ours, "nobody", ""))
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", trust(ours)))
	bob := h.user(theirs, "bob", allow("*", "*"))
	h.well(h.query(root, "iam", "CreateRole", "RoleName", "across", "AssumeRolePolicyDocument", trust(theirs)))

	session, a := h.assume(alice, "arn:aws:iam::"+ours+":role/r", "s1", "Tags.member.1.Key", "k", "Tags.member.1.Value", "v")
	h.well(a)
	remember("session", session)
	across, a := h.assume(bob, "arn:aws:iam::"+ours+":role/across", "s1")
	h.well(a)
	remember("across", across)
	own := remember("own", issued(h.query(alice, "sts", "GetSessionToken")))
	federated := remember("federated", issued(h.query(alice, "sts", "GetFederationToken", "Name", "fred", "Policy", allow("*", "*"))))
	remember("second", issued(h.query(root, "iam", "CreateAccessKey", "UserName", "nobody")))

	const password = "correct-horse-battery-staple"
	key := base64.StdEncoding.EncodeToString([]byte("a key of a customer, 32 bytes..."))
	secrets["password"], secrets["customer's key"] = password, key
	h.well(h.s3(root, "PUT", "/b-1", ""))
	var answers []reply
	for _, who := range []actor{root, alice, nobody, session, across, own, federated, bob, {},
		{alice.id, "x" + alice.secret, ""}, {session.id, alice.secret, session.token}, {alice.id, alice.secret, session.token}, {session.id, session.secret, session.token[:40] + "A" + session.token[41:]}} {
		answers = append(answers,
			h.query(who, "sts", "GetCallerIdentity"),
			h.query(who, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+ours+":role/r", "RoleSessionName", "s1", "TokenCode", "123456", "SerialNumber", "arn:aws:iam::"+ours+":mfa/alice"),
			h.query(who, "iam", "CreateLoginProfile", "UserName", "nobody", "Password", password),
			h.query(who, "iam", "UpdateLoginProfile", "UserName", "nobody", "Password", password),
			h.query(who, "iam", "ChangePassword", "OldPassword", password, "NewPassword", password+"1"),
			h.query(who, "iam", "UploadServerCertificate", "ServerCertificateName", "c", "CertificateBody", "x", "PrivateKey", password),
			h.query(who, "iam", "ListUsers", "Marker", "nonsense"),
			h.query(who, "iam", "NoSuchOperation", "Password", password),
			h.s3(who, "PUT", "/b-1/k", "body", "X-Amz-Server-Side-Encryption-Customer-Key", key, "X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256",
				"X-Amz-Server-Side-Encryption-Customer-Key-Md5", "x"),
			h.s3(who, "PUT", "/b-1/plain", "body"),
			h.s3(who, "GET", "/b-1/plain", ""),
			h.s3(who, "GET", "/b-1/plain", "", "X-Amz-Server-Side-Encryption-Customer-Key", key),
			h.s3(who, "GET", "/b-1?location", ""),
		)
		if who.id != "" {
			r := h.request("GET", "/b-1/plain", "")
			signer := sigv4.Signer{AccessKeyID: who.id, SecretAccessKey: who.secret, SessionToken: who.token, Region: "us-east-1", Service: "s3"}
			signer.Presign(r, time.Minute, time.Now())
			if signature := r.URL.Query().Get("X-Amz-Signature"); who == alice {
				secrets["presigned signature"] = signature
			}
			answers = append(answers, h.send(r))
		}
	}
	h.probe.set(func(c2 *service.Call) error { panic(c2) }) // the whole call, to the log
	answers = append(answers, h.query(session, "probe", "GetThing", "Name", "x"))

	if err := h.audit.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := map[string]string{"the log": h.logged.String()}
	for _, a := range answers {
		for _, account := range []string{ours, theirs} {
			if x, _ := h.details(h.roots[account], a.requestID); x.status == 200 {
				text["the explanation of "+a.requestID+" for "+account] = x.body
			}
		}
	}
	for id, k := range identity.Keys.All(h.db.View(), "") {
		text["the state, key "+id] = k.Sealed
	}
	h.server.Close()
	if err := filepath.WalkDir(h.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", name, info.Mode())
		}
		b, err := os.ReadFile(name)
		text[name] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(text) < 20 {
		t.Errorf("only %d texts were searched", len(text))
	}
	for where, in := range text {
		for name, secret := range secrets {
			for _, form := range []string{secret, url.QueryEscape(secret), strings.TrimRight(secret, "=")} {
				if strings.Contains(in, form) {
					at := strings.Index(in, form)
					t.Errorf("%s is in %s: ...%s", name, where, in[max(0, at-100):at])
					break
				}
			}
		}
	}
}
