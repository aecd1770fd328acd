package data

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pages lists everything, max at a time, as "key" and "prefix*".
func pages(t *testing.T, db *DB, q Query) []string {
	t.Helper()
	var got []string
	for {
		l, err := db.List("b", q)
		if err != nil {
			t.Fatal(err)
		}
		var page []string
		for _, o := range l.Items {
			page = append(page, o.Key)
		}
		for _, p := range l.Prefixes {
			page = append(page, p+"*")
		}
		sort.Strings(page)
		got = append(got, page...)
		if len(page) > q.Max {
			t.Errorf("%d on a page of %d", len(page), q.Max)
		}
		if !l.Truncated {
			return got
		}
		q.After, q.AfterID, q.PastPrefix = l.Next, l.NextID, true
	}
}

func TestList(t *testing.T) {
	db := newDB(t)
	for _, key := range []string{"a", "a/b", "a/c/d", "a\x00", "a\x00\x00b", "a\x01", "b/1", "b/2", "c", "é", "\x00", "a//x", "\U0010ffff", "\U0010ffff\x00/"} {
		put(t, db, key, "v", Unversioned)
	}
	for _, c := range []struct {
		name string
		q    Query
		want string
	}{
		{"byte order", Query{}, "\x00 a a\x00 a\x00\x00b a\x01 a//x a/b a/c/d b/1 b/2 c é \U0010ffff \U0010ffff\x00/"},
		{"prefix", Query{Prefix: "a/"}, "a//x a/b a/c/d"},
		{"prefix is the whole key", Query{Prefix: "a/b"}, "a/b"},
		{"prefix with a zero byte", Query{Prefix: "a\x00"}, "a\x00 a\x00\x00b"},
		{"no such prefix", Query{Prefix: "zz"}, ""},
		{"delimiter", Query{Delimiter: "/"}, "\x00 a a\x00 a\x00\x00b a\x01 a/* b/* c é \U0010ffff \U0010ffff\x00/*"},
		{"delimiter behind the prefix", Query{Prefix: "a/", Delimiter: "/"}, "a//* a/b a/c/*"},
		{"delimiter is a zero byte", Query{Prefix: "a", Delimiter: "\x00"}, "a a\x00* a\x01 a//x a/b a/c/d"},
		{"long delimiter", Query{Delimiter: "/c/"}, "\x00 a a\x00 a\x00\x00b a\x01 a//x a/b a/c/* b/1 b/2 c é \U0010ffff \U0010ffff\x00/"},
		{"after", Query{After: "b/1"}, "b/2 c é \U0010ffff \U0010ffff\x00/"},
		{"after what does not exist", Query{After: "b/11"}, "b/2 c é \U0010ffff \U0010ffff\x00/"},
		{"after, before the prefix", Query{Prefix: "b", After: "a"}, "b/1 b/2"},
		{"after, behind the prefix", Query{Prefix: "a", After: "b"}, ""},
		{"start inside a common prefix: it is listed", Query{Delimiter: "/", After: "a/b"}, "a/* b/* c é \U0010ffff \U0010ffff\x00/*"},
		{"marker inside a common prefix: it was listed", Query{Delimiter: "/", After: "a/b", PastPrefix: true}, "b/* c é \U0010ffff \U0010ffff\x00/*"},
		{"marker is a common prefix", Query{Delimiter: "/", After: "a/", PastPrefix: true}, "b/* c é \U0010ffff \U0010ffff\x00/*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, c.q.Max = range []int{1, 2, 3, 5, 1000} {
				if got := strings.Join(pages(t, db, c.q), " "); got != c.want {
					t.Errorf("%d a page:\ngot  %q\nwant %q", c.q.Max, got, c.want)
				}
			}
		})
	}
	if l, err := db.List("b", Query{}); err != nil || l.Truncated || len(l.Items) > 0 {
		t.Errorf("nothing asked for: %+v, %v", l, err)
	}
	if _, err := db.List("none", Query{Max: 1}); err != ErrNoBucket {
		t.Errorf("listing a missing bucket: %v", err)
	}
}

// An exact page is not truncated, and what would only be hidden does not make it so.
func TestListTruncation(t *testing.T) {
	db := newDB(t)
	for _, key := range []string{"a", "b", "c/1", "c/2", "d"} {
		put(t, db, key, "v", Enabled)
	}
	db.Delete("b", "d", "", Enabled, now, nil)
	l, err := db.List("b", Query{Delimiter: "/", Max: 3})
	if err != nil || l.Truncated || l.Next != "" || len(l.Items) != 2 || len(l.Prefixes) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	// A common prefix shows only while a current object is under it.
	db.Delete("b", "c/1", "", Enabled, now, nil)
	db.Delete("b", "c/2", "", Enabled, now, nil)
	if l, _ := db.List("b", Query{Delimiter: "/", Max: 9}); len(l.Prefixes) != 0 {
		t.Errorf("prefixes of deleted objects: %v", l.Prefixes)
	}
	if l, _ := db.ListVersions("b", Query{Delimiter: "/", Max: 9}); len(l.Prefixes) != 1 {
		t.Errorf("prefixes of versions: %v", l.Prefixes)
	}
}

// A naive S3 for comparison: every version of every key in one list, newest first.
type model []Version

func (m model) current(key string) *Version {
	i := slices.IndexFunc(m, func(v Version) bool { return v.Key == key })
	if i < 0 {
		return nil
	}
	return &m[i]
}

func (m *model) put(v Version) {
	if v.VersionID == NullVersion {
		m.remove(v.Key, NullVersion)
	}
	*m = append(model{v}, *m...)
}

func (m *model) remove(key, version string) {
	*m = slices.DeleteFunc(*m, func(v Version) bool { return v.Key == key && v.VersionID == version })
}

func (m model) list(q Query, all bool) []string {
	var got []string
	sorted := slices.Clone(m)
	slices.SortStableFunc(sorted, func(a, b Version) int { return strings.Compare(a.Key, b.Key) })
	last := ""
	for _, v := range sorted {
		latest := v.Key != last
		last = v.Key
		if !strings.HasPrefix(v.Key, q.Prefix) || v.Key <= q.After || (!all && (!latest || v.DeleteMarker)) {
			continue
		}
		rest := v.Key[len(q.Prefix):]
		if i := strings.Index(rest, q.Delimiter); q.Delimiter != "" && i >= 0 {
			p := v.Key[:len(q.Prefix)+i+len(q.Delimiter)] + "*"
			if !slices.Contains(got, p) {
				got = append(got, p)
			}
			continue
		}
		s := v.Key
		if all {
			s = fmt.Sprint(v.Key, " ", v.VersionID, " ", v.DeleteMarker, " ", latest)
		}
		got = append(got, s)
	}
	return got
}

// versionPages lists all versions page by page, in the form of model.list.
func versionPages(t *testing.T, db *DB, q Query) []string {
	t.Helper()
	var got []string
	for {
		l, err := db.ListVersions("b", q)
		if err != nil {
			t.Fatal(err)
		}
		type line struct{ key, text string }
		var page []line
		for _, v := range l.Items {
			page = append(page, line{v.Key, fmt.Sprint(v.Key, " ", v.VersionID, " ", v.DeleteMarker, " ", v.IsLatest)})
		}
		for _, p := range l.Prefixes {
			page = append(page, line{p, p + "*"})
		}
		slices.SortStableFunc(page, func(a, b line) int { return strings.Compare(a.key, b.key) })
		for _, p := range page {
			got = append(got, p.text)
		}
		if !l.Truncated {
			return got
		}
		q.After, q.AfterID, q.PastPrefix = l.Next, l.NextID, true
	}
}

// TestAgainstModel does random things to the store and to the model.
func TestAgainstModel(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		db := newDB(t)
		var m model
		content := map[string]string{} // version -> body
		state := Versioning(r.IntN(3))
		key := func() string {
			s := make([]byte, 1+r.IntN(3))
			for i := range s {
				s[i] = "ab/\x00\x01"[r.IntN(5)]
			}
			return string(s)
		}
		for step := range 60 {
			k := key()
			switch op := r.IntN(10); {
			case op < 5:
				body := fmt.Sprint(seed, ".", step)
				if op == 0 {
					body = long(body)
				}
				o := put(t, db, k, body, state)
				m.put(Version{Object: Object{Key: k, VersionID: o.VersionID}})
				content[k+"\xff"+o.VersionID] = body
			case op < 7:
				o, err := db.Delete("b", k, "", state, now, nil)
				if err != nil {
					t.Fatal(err)
				}
				if state == Unversioned {
					m.remove(k, NullVersion)
				} else {
					m.put(Version{Object: Object{Key: k, VersionID: o.VersionID, DeleteMarker: true}})
				}
			case op < 8 && len(m) > 0:
				v := m[r.IntN(len(m))]
				if o, err := db.Delete("b", v.Key, v.VersionID, state, now, nil); err != nil || o == nil || o.DeleteMarker != v.DeleteMarker {
					t.Fatalf("deleting %q %s: %+v, %v", v.Key, v.VersionID, o, err)
				}
				m.remove(v.Key, v.VersionID)
			case op == 9 && state != Unversioned:
				state = Enabled + Versioning(r.IntN(2))
			}

			want := "!" + ErrNoKey.Error()
			if v := m.current(k); v != nil && v.DeleteMarker {
				want = "!delete marker"
			} else if v != nil {
				want = content[k+"\xff"+v.VersionID]
			}
			if got := get(db, k, ""); got != want {
				t.Fatalf("seed %d step %d: %q is %.30q, want %.30q", seed, step, k, got, want)
			}
			q := Query{Max: 1 + r.IntN(4)}
			if r.IntN(2) == 0 {
				q.Delimiter = "/"
			}
			if r.IntN(2) == 0 {
				q.Prefix = key()[:1]
			}
			if r.IntN(2) == 0 {
				q.After = key()
			}
			if d := cmp.Diff(m.list(q, false), pages(t, db, q)); d != "" {
				t.Fatalf("seed %d step %d, %+v: -want +got\n%s", seed, step, q, d)
			}
			if d := cmp.Diff(m.list(q, true), versionPages(t, db, q)); d != "" {
				t.Fatalf("seed %d step %d, versions, %+v: -want +got\n%s", seed, step, q, d)
			}
		}
		files := 0
		for _, v := range m {
			got := get(db, v.Key, v.VersionID)
			if body := content[v.Key+"\xff"+v.VersionID]; v.DeleteMarker {
				if got != "!delete marker" {
					t.Errorf("%q %s: %q, want a delete marker", v.Key, v.VersionID, got)
				}
			} else if got != body {
				t.Errorf("%q %s: %.30q, want %.30q", v.Key, v.VersionID, got, body)
			} else if len(body) > InlineSize {
				files++
			}
		}
		if n := bodies(t, db); n != files {
			t.Errorf("seed %d: %d files, want %d", seed, n, files)
		}
		if err := db.RemoveBucket("b"); (err == nil) != (len(m) == 0) || (err != nil && !errors.Is(err, ErrNotEmpty)) {
			t.Errorf("removing the bucket with %d versions: %v", len(m), err)
		}
	}
}
