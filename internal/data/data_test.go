package data

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var now = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// newDB returns a DB with the bucket "b".
func newDB(t testing.TB) *DB {
	t.Helper()
	db := open(t, t.TempDir())
	t.Cleanup(func() { db.Close() })
	if err := db.CreateBucket("b"); err != nil {
		t.Fatal(err)
	}
	return db
}

func put(t testing.TB, db *DB, key, body string, v Versioning) *Object {
	t.Helper()
	o, err := tryPut(db, key, body, v, nil)
	if err != nil {
		t.Fatalf("putting %q: %v", key, err)
	}
	return o
}

func tryPut(db *DB, key, body string, v Versioning, check Check) (*Object, error) {
	p, err := db.Write(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	o := &Object{Key: key, Size: p.Size, ETag: p.ETag, Modified: now, Parts: []Part{p}}
	if err := db.Put("b", o, v, check); err != nil {
		db.Discard(p)
		return nil, err
	}
	return o, nil
}

// get returns the body of a version; "!" and the error's text when there is none.
func get(db *DB, key, version string) string {
	o, c, err := db.Open("b", key, version)
	if err != nil {
		return "!" + err.Error()
	}
	defer c.Close()
	if o.DeleteMarker {
		return "!delete marker"
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return "!" + err.Error()
	}
	return string(b)
}

// bodies counts the files on the disk, wherever they are.
func bodies(t testing.TB, db *DB) int {
	t.Helper()
	n := 0
	for _, folder := range []string{"bodies", "incoming"} {
		err := filepath.WalkDir(db.path(folder), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func long(s string) string { return strings.Repeat(s, InlineSize/len(s)+1) }

func TestObjectsAsTheyWerePut(t *testing.T) {
	db := newDB(t)
	for _, body := range []string{"", "x", strings.Repeat("i", InlineSize), strings.Repeat("f", InlineSize+1), strings.Repeat("g", 300_000)} {
		p, err := db.Write(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		sum := md5.Sum([]byte(body))
		if p.ETag != hex.EncodeToString(sum[:]) || p.Size != int64(len(body)) {
			t.Errorf("Write(%d bytes) = %d bytes, %s", len(body), p.Size, p.ETag)
		}
		want := &Object{
			Key: "k\x00é/ü", Size: p.Size, ETag: p.ETag, Modified: now,
			ContentType: "text/plain", CacheControl: "no-store", ContentDisposition: "inline",
			ContentEncoding: "gzip", ContentLanguage: "de", Expires: "never", WebsiteRedirect: "/x",
			StorageClass: "STANDARD", Encryption: "AES256",
			Metadata: map[string]string{"a": "1", "b": ""}, Tags: []Tag{{"k", "v"}, {"k2", ""}},
			Checksum: Checksum{"CRC32", "AAAAAA==", "FULL_OBJECT"}, Parts: []Part{p},
		}
		if err := db.Put("b", want, Unversioned, nil); err != nil {
			t.Fatal(err)
		}
		got, err := db.Stat("b", want.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Part{})); d != "" {
			t.Errorf("%d bytes, -want +got:\n%s", len(body), d)
		}
		if got := get(db, want.Key, ""); got != body {
			t.Errorf("body is %d bytes, want %d", len(got), len(body))
		}
		if got := get(db, want.Key, NullVersion); got != body {
			t.Errorf("body of the null version is %d bytes, want %d", len(got), len(body))
		}
	}
}

func TestSection(t *testing.T) {
	db := newDB(t)
	text := long("0123456789")
	small, _ := db.Write(strings.NewReader("small"))
	large, _ := db.Write(strings.NewReader(text))
	o := &Object{Key: "k", Parts: []Part{small, large, {}, small, large}}
	if err := db.Put("b", o, Unversioned, nil); err != nil {
		t.Fatal(err)
	}
	whole := "small" + text + "small" + text
	for range 200 {
		off := rand.IntN(len(whole))
		n := rand.IntN(len(whole) - off + 1)
		_, c, err := db.Open("b", "k", "")
		if err != nil {
			t.Fatal(err)
		}
		c.Section(int64(off), int64(n))
		var got bytes.Buffer
		if off%2 == 0 {
			_, err = io.Copy(&got, c) // WriteTo
		} else {
			_, err = io.Copy(&got, struct{ io.Reader }{c})
		}
		if err != nil || got.String() != whole[off:off+n] {
			t.Fatalf("section %d+%d: %d bytes, %v", off, n, got.Len(), err)
		}
		c.Close()
	}
}

func TestMissing(t *testing.T) {
	db := newDB(t)
	put(t, db, "k", "v", Unversioned)
	id := newID(7)
	for _, c := range []struct {
		bucket, key, version string
		want                 error
	}{
		{"none", "k", "", ErrNoBucket},
		{"b", "absent", "", ErrNoKey},
		{"b", "k/", "", ErrNoKey}, // a neighbour in the tree is another key
		{"b", "k\x00", "", ErrNoKey},
		{"b", "k", id, ErrNoVersion},
		{"b", "k", "rubbish", ErrNoVersion},
		{"b", "absent", NullVersion, ErrNoVersion},
	} {
		if _, err := db.Stat(c.bucket, c.key, c.version); err != c.want {
			t.Errorf("Stat(%q, %q, %q): %v, want %v", c.bucket, c.key, c.version, err, c.want)
		}
		if _, _, err := db.Open(c.bucket, c.key, c.version); err != c.want {
			t.Errorf("Open(%q, %q, %q): %v, want %v", c.bucket, c.key, c.version, err, c.want)
		}
		if err := db.Update(c.bucket, c.key, c.version, func(*Object) error { return nil }); err != c.want {
			t.Errorf("Update(%q, %q, %q): %v, want %v", c.bucket, c.key, c.version, err, c.want)
		}
	}
	if _, err := db.Delete("none", "k", "", Unversioned, now, nil); err != ErrNoBucket {
		t.Errorf("Delete in a missing bucket: %v", err)
	}
}

// A version id belongs to its key: another key's is unknown, even where the
// sequence numbers agree.
func TestVersionOfAnotherKey(t *testing.T) {
	db := newDB(t)
	a := put(t, db, "a", "1", Enabled)
	put(t, db, "b", "2", Enabled)
	if got := get(db, "b", a.VersionID); got != "!"+ErrNoVersion.Error() {
		t.Errorf("got %q", got)
	}
	seq, _ := sequence(a.VersionID)
	if got := get(db, "a", newID(seq)); got != "!"+ErrNoVersion.Error() {
		t.Errorf("a guessed id with the right number: got %q", got)
	}
}

func TestChecksDecideInsideTheTransaction(t *testing.T) {
	db := newDB(t)
	refused := errors.New("refused")
	absent := func(o *Object) error {
		if o != nil {
			return refused
		}
		return nil
	}
	// Of many that ask for the key to be absent, exactly one wins.
	var wins sync.Map
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := tryPut(db, "k", long(fmt.Sprint(i, ".")), Unversioned, absent); err == nil {
				wins.Store(i, true)
			} else if err != refused {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	wins.Range(func(i, _ any) bool {
		n++
		if got := get(db, "k", ""); got != long(fmt.Sprint(i, ".")) {
			t.Errorf("the body is not the winner's")
		}
		return true
	})
	if n != 1 {
		t.Errorf("%d winners, want 1", n)
	}
	if n := bodies(t, db); n != 1 {
		t.Errorf("%d files, want the winner's", n)
	}
	if _, err := db.Delete("b", "k", "", Unversioned, now, absent); err != refused {
		t.Errorf("deleting against the check: %v", err)
	}
	// A delete marker counts as absence.
	if _, err := db.Delete("b", "k", "", Enabled, now, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tryPut(db, "k", "new", Enabled, absent); err != nil {
		t.Errorf("putting in front of a delete marker: %v", err)
	}
}

// A change whose check fails leaves the others of its transaction alone, and a
// panic in one fails them all and stops nothing.
func TestBatch(t *testing.T) {
	db := newDB(t)
	boom := func(*Object) error { panic("boom") }
	if _, err := tryPut(db, "k", "v", Unversioned, boom); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("a panicking check: %v", err)
	}
	put(t, db, "k", "v", Unversioned)
	if got := get(db, "k", ""); got != "v" {
		t.Errorf("got %q", got)
	}
}

func TestReaderKeepsItsBody(t *testing.T) {
	db := newDB(t)
	old := long("old")
	put(t, db, "k", old, Unversioned)
	_, c1, err := db.Open("b", "k", "")
	if err != nil {
		t.Fatal(err)
	}
	_, c2, err := db.Open("b", "k", "")
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "k", long("new"), Unversioned)
	if _, err := db.Delete("b", "k", "", Unversioned, now, nil); err != nil {
		t.Fatal(err)
	}
	db.sweep()
	for _, c := range []*Content{c1, c2} {
		b, err := io.ReadAll(c)
		if err != nil || string(b) != old {
			t.Errorf("read %d bytes, %v; want the %d of the old body", len(b), err, len(old))
		}
		c.Close()
	}
	if n := bodies(t, db); n != 0 {
		t.Errorf("%d files are left after the last reader", n)
	}
}

func TestVersions(t *testing.T) {
	db := newDB(t)
	put(t, db, "k", "null1", Unversioned)
	v1 := put(t, db, "k", "one", Enabled)
	v2 := put(t, db, "k", "two", Enabled)
	if got := get(db, "k", NullVersion); got != "null1" {
		t.Errorf("the null version from before is %q", got)
	}
	put(t, db, "k", "null2", Suspended) // replaces the null version, not the others
	for version, want := range map[string]string{"": "null2", NullVersion: "null2", v1.VersionID: "one", v2.VersionID: "two"} {
		if got := get(db, "k", version); got != want {
			t.Errorf("version %q is %q, want %q", version, got, want)
		}
	}
	m, err := db.Delete("b", "k", "", Enabled, now, nil)
	if err != nil || !m.DeleteMarker || m.VersionID == NullVersion {
		t.Fatalf("deleting while Enabled: %+v, %v", m, err)
	}
	if got := get(db, "k", ""); got != "!delete marker" {
		t.Errorf("behind a delete marker: %q", got)
	}
	// A null delete marker takes the place of the null version.
	m2, err := db.Delete("b", "k", "", Suspended, now, nil)
	if err != nil || m2.VersionID != NullVersion {
		t.Fatalf("deleting while Suspended: %+v, %v", m2, err)
	}
	l, err := db.ListVersions("b", Query{Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range l.Items {
		got = append(got, fmt.Sprintf("%s %t %t", v.VersionID, v.DeleteMarker, v.IsLatest))
	}
	want := []string{NullVersion + " true true", m.VersionID + " true false", v2.VersionID + " false false", v1.VersionID + " false false"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("versions, -want +got:\n%s", d)
	}
	// Removing the markers brings the object back.
	for _, id := range []string{NullVersion, m.VersionID} {
		if o, err := db.Delete("b", "k", id, Enabled, now, nil); err != nil || !o.DeleteMarker {
			t.Errorf("removing marker %s: %+v, %v", id, o, err)
		}
	}
	if got := get(db, "k", ""); got != "two" {
		t.Errorf("after the markers are gone: %q", got)
	}
	if o, err := db.Delete("b", "k", m.VersionID, Enabled, now, nil); o != nil || err != nil {
		t.Errorf("removing it again: %+v, %v; want nothing", o, err)
	}
}

func TestBucketsAreApart(t *testing.T) {
	db := newDB(t)
	put(t, db, "k", long("v"), Unversioned)
	if err := db.RemoveBucket("b"); err != ErrNotEmpty {
		t.Fatalf("removing a bucket that holds an object: %v", err)
	}
	if _, err := db.Delete("b", "k", "", Enabled, now, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveBucket("b"); err != ErrNotEmpty {
		t.Fatalf("removing a bucket that holds versions: %v", err)
	}
	l, _ := db.ListVersions("b", Query{Max: 10})
	for _, v := range l.Items {
		if _, err := db.Delete("b", v.Key, v.VersionID, Enabled, now, nil); err != nil {
			t.Fatal(err)
		}
	}
	// Uploads that were never completed do not hold a bucket, and go with it.
	u := &Upload{Object: Object{Key: "u"}}
	if err := db.CreateUpload("b", u); err != nil {
		t.Fatal(err)
	}
	p, _ := db.Write(strings.NewReader(long("part")))
	p.Number = 1
	if err := db.PutPart("b", "u", u.ID, p); err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveBucket("b"); err != nil {
		t.Fatal(err)
	}
	if n := bodies(t, db); n != 0 {
		t.Errorf("%d files are left", n)
	}
	if _, err := tryPut(db, "k", "late", Unversioned, nil); err != ErrNoBucket {
		t.Errorf("putting into a removed bucket: %v", err)
	}
	if err := db.CreateBucket("b2"); err != nil {
		t.Fatal(err)
	}
	if ids, err := db.Buckets(); err != nil || !cmp.Equal(ids, []string{"b2"}) {
		t.Errorf("buckets %v, %v", ids, err)
	}
}

func TestCopiesShareTheirBody(t *testing.T) {
	db := newDB(t)
	body := long("shared")
	put(t, db, "k", body, Unversioned)
	src, err := db.Stat("b", "k", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"copy", "k"} { // also onto itself
		o := *src
		o.Key = key
		if err := db.Put("b", &o, Unversioned, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := bodies(t, db); n != 1 {
		t.Errorf("%d files, want one shared", n)
	}
	if _, err := db.Delete("b", "k", "", Unversioned, now, nil); err != nil {
		t.Fatal(err)
	}
	if got := get(db, "copy", ""); got != body {
		t.Errorf("the copy is %d bytes, want %d", len(got), len(body))
	}
	if _, err := db.Delete("b", "copy", "", Unversioned, now, nil); err != nil {
		t.Fatal(err)
	}
	if n := bodies(t, db); n != 0 {
		t.Errorf("%d files are left", n)
	}
	o := *src
	o.Key = "late"
	if err := db.Put("b", &o, Unversioned, nil); err != ErrNoKey {
		t.Errorf("copying what was deleted meanwhile: %v, want %v", err, ErrNoKey)
	}
}

func TestUploads(t *testing.T) {
	db := newDB(t)
	begin := func(key string) *Upload {
		u := &Upload{Object: Object{Key: key, Modified: now, ContentType: "x/y"}, Initiator: "alice"}
		if err := db.CreateUpload("b", u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	part := func(u *Upload, number int, body string) Part {
		p, err := db.Write(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		p.Number = number
		if err := db.PutPart("b", u.Key, u.ID, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	u := begin("k")
	part(u, 2, long("b"))
	part(u, 1, "replaced"+long("x"))
	part(u, 1, long("a"))
	part(u, 10000, "end")
	part(u, 7, long("not chosen"))
	other := begin("k")
	begin("k/2")

	l, err := db.ListUploads("b", Query{Max: 2})
	if err != nil || len(l.Items) != 2 || l.Items[0].ID != u.ID || l.Items[1].ID != other.ID || !l.Truncated || l.Items[0].Initiator != "alice" {
		t.Errorf("uploads: %+v, %v", l, err)
	}
	if l, err = db.ListUploads("b", Query{Max: 2, After: l.Next, AfterID: l.NextID, PastPrefix: true}); err != nil || len(l.Items) != 1 || l.Items[0].Key != "k/2" {
		t.Errorf("uploads, second page: %+v, %v", l, err)
	}
	ps, more, err := db.ListParts("b", "k", u.ID, 1, 2)
	if err != nil || !more || len(ps) != 2 || ps[0].Number != 2 || ps[1].Number != 7 {
		t.Errorf("parts: %+v, %v, %v", ps, more, err)
	}
	if _, err := db.Stat("b", "k", ""); err != ErrNoKey {
		t.Errorf("an upload shows before it is complete: %v", err)
	}

	refused := errors.New("refused")
	if _, err := db.Complete("b", "k", u.ID, Unversioned, nil, func(*Upload, []Part) (*Object, error) { return nil, refused }); err != refused {
		t.Errorf("a refused completion: %v", err)
	}
	build := func(u *Upload, ps []Part) (*Object, error) {
		o := u.Object
		for _, p := range ps {
			if p.Number != 7 {
				o.Parts = append(o.Parts, p)
				o.Size += p.Size
			}
		}
		return &o, nil
	}
	for range 2 { // the answer may have been lost
		o, err := db.Complete("b", "k", u.ID, Unversioned, nil, build)
		if err != nil || o.ContentType != "x/y" || len(o.Parts) != 3 || o.VersionID != NullVersion {
			t.Fatalf("completing: %+v, %v", o, err)
		}
	}
	if got, want := get(db, "k", ""), long("a")+long("b")+"end"; got != want {
		t.Errorf("the object is %d bytes, want %d", len(got), len(want))
	}
	if n := bodies(t, db); n != 2 {
		t.Errorf("%d files, want the two large parts", n)
	}
	part(other, 3, long("aborted"))
	if err := db.Abort("b", "k", other.ID); err != nil {
		t.Fatal(err)
	}
	if n := bodies(t, db); n != 2 {
		t.Errorf("%d files after the abort, want 2", n)
	}

	// An upload that is gone, never was, or is another key's.
	p, _ := db.Write(strings.NewReader(long("late")))
	for _, c := range []struct{ key, id string }{{"k", other.ID}, {"k", "rubbish"}, {"other", l.Items[0].ID}} {
		if _, err := db.StatUpload("b", c.key, c.id); err != ErrNoUpload {
			t.Errorf("StatUpload(%q, %q): %v", c.key, c.id, err)
		}
		if err := db.PutPart("b", c.key, c.id, p); err != ErrNoUpload {
			t.Errorf("PutPart(%q, %q): %v", c.key, c.id, err)
		}
		if err := db.Abort("b", c.key, c.id); err != ErrNoUpload {
			t.Errorf("Abort(%q, %q): %v", c.key, c.id, err)
		}
		if _, _, err := db.ListParts("b", c.key, c.id, 0, 1); err != ErrNoUpload {
			t.Errorf("ListParts(%q, %q): %v", c.key, c.id, err)
		}
		if _, err := db.Complete("b", c.key, c.id, Unversioned, nil, build); err != ErrNoUpload {
			t.Errorf("Complete(%q, %q): %v", c.key, c.id, err)
		}
	}
	db.Discard(p)
	if n := bodies(t, db); n != 2 {
		t.Errorf("%d files at the end, want 2", n)
	}
}

func TestUpdate(t *testing.T) {
	db := newDB(t)
	v1 := put(t, db, "k", long("1"), Enabled)
	put(t, db, "k", long("2"), Enabled)
	if err := db.Update("b", "k", v1.VersionID, func(o *Object) error { o.Tags = []Tag{{"a", "b"}}; return nil }); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if err := db.Update("b", "k", "", func(o *Object) error { o.Tags = []Tag{{"x", "y"}}; return refused }); err != refused {
		t.Error(err)
	}
	o1, _ := db.Stat("b", "k", v1.VersionID)
	o2, _ := db.Stat("b", "k", "")
	if len(o1.Tags) != 1 || len(o2.Tags) != 0 || get(db, "k", v1.VersionID) != long("1") {
		t.Errorf("tags %v and %v", o1.Tags, o2.Tags)
	}
}

// failing returns an error after some bytes, as a broken connection or a wrong
// signature of the body does.
type failing struct {
	n   int
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	if f.n == 0 {
		return 0, f.err
	}
	n := min(f.n, len(b))
	f.n -= n
	return n, nil
}

func TestNothingRemainsOfAFailedBody(t *testing.T) {
	db := newDB(t)
	broken := errors.New("broken")
	for _, n := range []int{0, 10, InlineSize, InlineSize + 1, 64 << 10, 200_000} {
		for _, broken := range []error{broken, io.ErrUnexpectedEOF} {
			if _, err := db.Write(&failing{n, broken}); err != broken {
				t.Errorf("after %d bytes: %v, want the reader's own error %v", n, err, broken)
			}
		}
	}
	db.create = func(string) (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) }
	if _, err := db.Write(strings.NewReader(long("x"))); !errors.Is(err, ErrFull) {
		t.Errorf("on a full disk: %v", err)
	}
	if n := bodies(t, db); n != 0 {
		t.Errorf("%d files are left", n)
	}
	if len(db.pending) != 0 {
		t.Errorf("still awaited: %v", db.pending)
	}
	put(t, db, "k", "small bodies need no file", Unversioned)
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if err := db.CreateBucket("b"); err != nil {
		t.Fatal(err)
	}
	put(t, db, "k", long("kept"), Unversioned)
	awaited, _ := db.Write(strings.NewReader(long("awaited"))) // written, not put
	orphan := db.bodyName("ab" + strings.Repeat("0", 30))
	os.MkdirAll(filepath.Dir(orphan), 0o700)
	os.WriteFile(orphan, []byte("x"), 0o600)
	db.sweep()
	if n := bodies(t, db); n != 2 {
		t.Errorf("%d files after the sweep, want the object's and the awaited one", n)
	}
	os.WriteFile(db.path("incoming", "partial"), []byte("x"), 0o600)
	_ = awaited
	db.Close()

	db = open(t, dir) // as after a crash: what was awaited is nobody's now
	defer db.Close()
	db.sweep()
	if n := bodies(t, db); n != 1 {
		t.Errorf("%d files after opening again, want the object's", n)
	}
	if got := get(db, "k", ""); got != long("kept") {
		t.Errorf("the object is %d bytes", len(got))
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	defer db.Close()
	if _, err := Open(dir); err == nil {
		t.Error("the directory was opened twice")
	}
}

// TestConstantMemory streams a body that is far larger than what memory may grow by.
func TestConstantMemory(t *testing.T) {
	size := int64(256 << 20)
	if testing.Short() {
		size = 64 << 20
	}
	db := newDB(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p, err := db.Write(io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Put("b", &Object{Key: "k", Size: p.Size, Parts: []Part{p}}, Unversioned, nil); err != nil {
		t.Fatal(err)
	}
	_, c, err := db.Open("b", "k", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("read %d of %d bytes, %v", n, size, err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes were allocated for %d", grown, size)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestCrash kills a process that is putting objects, and looks whether those it
// acknowledged are there, whole.
func TestCrash(t *testing.T) {
	if dir := os.Getenv("DATA_CRASH_DIR"); dir != "" {
		crashChild(t, dir)
		return
	}
	dir := t.TempDir()
	acknowledged := 0
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		cmd.Env = append(os.Environ(), "DATA_CRASH_DIR="+dir, fmt.Sprint("DATA_CRASH_ROUND=", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acks bytes.Buffer
		for buf := make([]byte, 512); bytes.Count(acks.Bytes(), []byte("ack ")) < 100; {
			n, err := out.Read(buf)
			if acks.Write(buf[:n]); err != nil {
				t.Fatalf("the child ended early: %v\n%s", err, acks.Bytes())
			}
		}
		cmd.Process.Kill()
		io.Copy(&acks, out)
		cmd.Wait()

		db := open(t, dir)
		for line := range strings.Lines(acks.String()) {
			key, ok := strings.CutPrefix(line, "ack ")
			if key, whole := strings.CutSuffix(key, "\n"); ok && whole {
				acknowledged++
				if got := get(db, key, ""); got != crashBody(key) {
					t.Errorf("%s was acknowledged; its body is %.40q", key, got)
				}
			}
		}
		// Nothing half: whatever else is listed has its body too.
		l, err := db.List("b", Query{Max: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		large := 0
		for _, o := range l.Items {
			if got := get(db, o.Key, ""); got != crashBody(o.Key) {
				t.Errorf("%s is listed; its body is %.40q", o.Key, got)
			}
			if o.Size > InlineSize {
				large++
			}
		}
		db.sweep()
		if n := bodies(t, db); n != large {
			t.Errorf("%d files for %d objects", n, large)
		}
		db.Close()
	}
	t.Logf("%d acknowledged puts", acknowledged)
}

func crashBody(key string) string {
	if strings.HasSuffix(key, "5") {
		return long(key)
	}
	return key
}

func crashChild(t *testing.T, dir string) {
	db := open(t, dir)
	if err := db.CreateBucket("b"); err != nil {
		t.Fatal(err)
	}
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%s-%d-%d", os.Getenv("DATA_CRASH_ROUND"), w, i)
				put(t, db, key, crashBody(key), Unversioned)
				os.Stdout.WriteString("ack " + key + "\n")
			}
		}()
	}
	select {}
}
