package s3

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/policy"
)

// The check values of the CRC catalogue.
func TestChecksumsOfTheCatalogue(t *testing.T) {
	for name, want := range map[string]uint64{"CRC32": 0xcbf43926, "CRC32C": 0xe3069283, "CRC64NVME": 0xae8b14860a799888} {
		a, err := algorithmOf(name)
		if err != nil {
			t.Fatal(err)
		}
		h := a.new()
		h.Write([]byte("123456789"))
		var room [8]byte
		copy(room[8-h.Size():], h.Sum(nil))
		if got := binary.BigEndian.Uint64(room[:]); got != want {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	if _, err := algorithmOf("XXHASH64"); err == nil {
		t.Error("XXHASH64 is taken")
	}
}

// A CRC of the whole from those of the parts is the CRC of the whole.
func TestWholeFromParts(t *testing.T) {
	r := rand.NewChaCha8([32]byte{})
	for _, name := range []string{"CRC32", "CRC32C", crc64nvme} {
		a, err := algorithmOf(name)
		if err != nil {
			t.Fatal(err)
		}
		of := func(b []byte) string {
			h := a.new()
			h.Write(b)
			return base64.StdEncoding.EncodeToString(h.Sum(nil))
		}
		for _, sizes := range [][]int{{}, {0}, {5}, {0, 5}, {5, 0}, {1, 1, 1}, {100, 3}, {3, 70_000, 70_000, 1}} {
			var all []byte
			var parts []data.Part
			for _, n := range sizes {
				b := make([]byte, n)
				r.Read(b)
				all = append(all, b...)
				parts = append(parts, data.Part{Size: int64(n), Checksum: data.Checksum{Algorithm: name, Value: of(b)}})
			}
			if got, err := a.whole(parts, fullObject); err != nil || got != of(all) {
				t.Errorf("%s of parts of %d: %s, %v; want %s", name, sizes, got, err, of(all))
			}
		}
	}
}

func TestWholeNeedsItsPartsChecksums(t *testing.T) {
	a, _ := algorithmOf("CRC32")
	for _, typ := range []string{fullObject, composite} {
		if _, err := a.whole([]data.Part{{Checksum: data.Checksum{Value: "?"}}}, typ); err == nil {
			t.Errorf("%s: a checksum of rubbish", typ)
		}
	}
}

// Every shape that checksums are set on has a member for each algorithm.
func TestChecksumMembers(t *testing.T) {
	for _, a := range algorithms {
		sum := data.Checksum{Algorithm: a.name, Value: "x", Type: fullObject}
		for _, shape := range []any{&api.PutObjectOutput{}, &api.GetObjectOutput{}, &api.HeadObjectOutput{}, &api.UploadPartOutput{}, &api.CopyObjectResult{}, &api.CopyPartResult{},
			&api.CompleteMultipartUploadOutput{}, &api.Checksum{}, &api.ObjectPart{}, &api.Part{}} {
			setChecksum(shape, sum)
		}
		for _, shape := range []any{&api.PutObjectInput{}, &api.UploadPartInput{}, &api.CompleteMultipartUploadInput{}, &api.CompletedPart{}} {
			setChecksum(shape, sum)
			if got := checksumIn(shape); got.Algorithm != a.name || got.Value != "x" {
				t.Errorf("%T: %+v", shape, got)
			}
		}
	}
}

func TestPublic(t *testing.T) {
	for _, test := range []struct {
		name, statement string
		want            bool
	}{
		{"everyone", `"Effect":"Allow","Principal":"*"`, true},
		{"everyone, the longer form", `"Effect":"Allow","Principal":{"AWS":"*"}`, true},
		{"everyone among others", `"Effect":"Allow","Principal":{"AWS":["111122223333","*"]}`, true},
		{"all but some", `"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"}`, true},
		{"a deny is not a grant", `"Effect":"Deny","Principal":"*"`, false},
		{"an account", `"Effect":"Allow","Principal":{"AWS":"111122223333"}`, false},
		{"a service", `"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"}`, false},
		{"from a network", `"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","198.51.100.7"]}}`, false},
		{"from everywhere", `"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","0.0.0.0/0"]}}`, true},
		{"from half the world", `"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"128.0.0.0/1"}}`, true},
		{"from everywhere in IPv6", `"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"::/0"}}`, true},
		{"from a private network", `"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, false},
		{"not from a network", `"Effect":"Allow","Principal":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`, true},
		{"of an organisation", `"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}`, false},
		{"of any organisation", `"Effect":"Allow","Principal":"*","Condition":{"StringLike":{"aws:PrincipalOrgID":"*"}}`, true},
		{"of an organisation, if known", `"Effect":"Allow","Principal":"*","Condition":{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}`, true},
		{"of no value at all", `"Effect":"Allow","Principal":"*","Condition":{"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}`, true},
		{"by a variable", `"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"${aws:userid}"}}`, true},
		{"with a header that anyone may send", `"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:UserAgent":"secret"}}`, true},
		{"both public and not", `"Effect":"Allow","Principal":"*","Condition":{"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:SourceVpce":"vpce-1"}}`, false},
	} {
		p, err := policy.Parse([]byte(`{"Version":"2012-10-17","Statement":{` + test.statement + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}`))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := isPublic(p); got != test.want {
			t.Errorf("%s: public %v, want %v", test.name, got, test.want)
		}
	}
}

func TestMisfit(t *testing.T) {
	for _, test := range []struct {
		action, resource, want string
	}{
		{"s3:GetObject", "arn:aws:s3:::b/*", ""},
		{"s3:GetObject", "arn:aws:s3:::b/x/y", ""},
		{"s3:getobject", "arn:aws:s3:::b/*", ""},
		{"s3:ListBucket", "arn:aws:s3:::b", ""},
		{"s3:*", "arn:aws:s3:::b", ""},
		{"s3:Get*", "arn:aws:s3:::b/*", ""},
		{"s3:GetObject", "arn:aws:s3:::b*", ""},
		{"s3:ListBucket", "arn:aws:s3:::b/*", "Action does not apply to any resource(s) in statement"},
		{"s3:GetObject", "arn:aws:s3:::b", "Action does not apply to any resource(s) in statement"},
		{"s3:ListAllMyBuckets", "arn:aws:s3:::b", "Action does not apply to any resource(s) in statement"},
		{"s3:Nothing", "arn:aws:s3:::b", "Policy has invalid action"},
		{"s3:GetObject", "arn:aws:s3:::bb/*", "Policy has invalid resource"},
		{"s3:GetObject", "arn:aws:s3:::*", "Policy has invalid resource"},
	} {
		s := &policy.Statement{Action: []string{test.action}, Resource: []string{test.resource}}
		if got := misfit("b", s); got != test.want {
			t.Errorf("%s on %s: %q, want %q", test.action, test.resource, got, test.want)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-4", "bytes=5-", "bytes=-3", "bytes=-0", "bytes=1-0", "lines=1", "bytes=99999999999999999999-"} {
		f.Add(s, int64(11))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		off, length, partial, err := parseRange(header, size)
		switch {
		case err != nil:
		case !partial && (off != 0 || length != size):
			t.Errorf("%q of %d: %d+%d, not partial", header, size, off, length)
		case partial && (off < 0 || length < 1 || off+length > size):
			t.Errorf("%q of %d: %d+%d", header, size, off, length)
		}
	})
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"b/k", "/b/k", "b/a%20b?versionId=x", "b", "?", "arn:aws:s3:us-east-1:111122223333:accesspoint/a/object/k", "b/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		src, err := parseSource(header)
		if err != nil {
			return
		}
		if src.bucket == "" || src.key == "" || strings.Contains(src.bucket, "/") {
			t.Errorf("%q: %+v", header, src)
		}
		again := url.PathEscape(src.bucket) + "/" + url.PathEscape(src.key)
		if src.version != "" {
			again += "?versionId=" + url.QueryEscape(src.version)
		}
		if got, err := parseSource(again); err != nil || got != src {
			t.Errorf("%q: %+v, again %+v, %v", header, src, got, err)
		}
	})
}

func FuzzParseTagging(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "a", "a=1&a=2", "%zz=1", "=1", "&&", "a=b%20c+d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags, err := parseTagging(header)
		if err == nil && validTags(tags) != nil {
			t.Errorf("%q: %v", header, tags)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("key", newToken("key"))
	f.Fuzz(func(t *testing.T, key, token string) {
		if got, ok := parseToken(newToken(key)); !ok || got != key {
			t.Errorf("%q: %q, %v", key, got, ok)
		}
		if after, ok := parseToken(token); ok {
			if got, ok := parseToken(newToken(after)); !ok || got != after {
				t.Errorf("%q was read as %q, again as %q", token, after, got)
			}
		}
	})
}
