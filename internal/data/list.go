package data

import (
	"bytes"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// A Query says what to list: the keys that begin with Prefix, in byte order, from
// behind After. With a Delimiter, keys that have it behind the prefix are rolled up
// into one common prefix, which ends with the delimiter.
type Query struct {
	Prefix, Delimiter string
	Max               int // of keys and common prefixes together; 0 lists nothing

	// After is the key behind which to begin; with AfterID, begin inside the key,
	// behind that version or upload.
	After, AfterID string

	// PastPrefix: when After lies in a common prefix, that prefix was listed and is
	// skipped, as ListObjects and ListObjectVersions do for their markers. StartAfter
	// of ListObjectsV2 does not.
	PastPrefix bool
}

// A Listing is one page.
type Listing[T any] struct {
	Items    []T
	Prefixes []string // common prefixes

	// Truncated says that there is more; then Next and NextID are the After and
	// AfterID, with PastPrefix, of the following page.
	Truncated    bool
	Next, NextID string
}

// List lists the current objects, without those whose current version is a delete
// marker. The objects are without Parts, Metadata and Tags.
func (db *DB) List(bucket string, q Query) (*Listing[Object], error) {
	return list(db, objects, bucket, q, false, decodeListed)
}

// ListVersions lists all versions and delete markers, newest first in each key. The
// first of a key is the current one. The objects are without Parts, Metadata, Tags.
func (db *DB) ListVersions(bucket string, q Query) (*Listing[Version], error) {
	return list(db, objects, bucket, q, true, func(v *Version, key string, record []byte, first bool) bool {
		v.IsLatest = first
		return decodeListed(&v.Object, key, record, true)
	})
}

// A Version is an Object in a listing of versions.
type Version struct {
	Object
	IsLatest bool
}

// decodeListed reports whether the object is one that List shows; ListVersions
// shows all.
func decodeListed(o *Object, key string, record []byte, first bool) bool {
	o.Key = key
	decodeObject(o, record, false)
	return !o.DeleteMarker
}

// list walks the records of a tree. Without all, only the first record of each key
// is looked at and it is shown if decode says so; with all, every one is shown, in
// the order of the records. It seeks over what it does not show: over the older
// versions of a key and over a common prefix.
func list[T any](db *DB, tree, bucket string, q Query, all bool, decode func(item *T, key string, record []byte, first bool) bool) (*Listing[T], error) {
	l := &Listing[T]{}
	err := db.meta.View(func(t *bolt.Tx) error {
		b := t.Bucket(treeName(tree, bucket))
		if b == nil {
			return ErrNoBucket
		}
		if q.Max <= 0 {
			return nil
		}
		c := b.Cursor()
		prefix := appendKey(nil, q.Prefix)
		from := prefix
		inside := "" // the key whose first records were on the page before
		if q.After != "" && q.After >= q.Prefix {
			if common, ok := commonPrefix(q.After, q.Prefix, q.Delimiter); ok && q.PastPrefix {
				from = after(appendKey(nil, common))
			} else if q.AfterID != "" {
				inside, from = q.After, behind(c, tree, q.After, q.AfterID)
			} else {
				from = after(recordsOf(q.After))
			}
		}
		if from == nil && q.After != "" {
			return nil
		}
		last := inside
		for name, record := c.Seek(from); name != nil && bytes.HasPrefix(name, prefix); {
			key, _ := splitRecord(name)
			first := key != last
			last = key
			common, rolled := commonPrefix(key, q.Prefix, q.Delimiter)
			var item T
			if !rolled || !all {
				if !decode(&item, key, record, first) && !all {
					name, record = c.Seek(after(recordsOf(key)))
					continue
				}
			}
			if len(l.Items)+len(l.Prefixes) == q.Max {
				l.Truncated = true
				return nil
			}
			if rolled {
				l.Prefixes = append(l.Prefixes, common)
				l.Next, l.NextID = common, ""
				next := after(appendKey(nil, common))
				if next == nil {
					return nil
				}
				name, record = c.Seek(next)
				continue
			}
			l.Items = append(l.Items, item)
			l.Next, l.NextID = key, ""
			if all {
				l.NextID = idOf(record)
			}
			stem := name[:len(name)-seqSize]
			if name, record = c.Next(); !all && bytes.HasPrefix(name, stem) {
				name, record = c.Seek(after(stem))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !l.Truncated {
		l.Next, l.NextID = "", ""
	}
	return l, nil
}

// commonPrefix returns what the key is rolled up into.
func commonPrefix(key, prefix, delimiter string) (string, bool) {
	if delimiter == "" || !strings.HasPrefix(key, prefix) {
		return "", false
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(prefix)+i+len(delimiter)], true
}

// behind returns where the records of the key go on after the one with the id. The
// id tells its place, except that of the null version; where there is none any more,
// it is behind the whole key.
func behind(c *bolt.Cursor, tree, key, id string) []byte {
	stem := recordsOf(key)
	if seq, ok := sequence(id); ok && tree == objects {
		return after(versionName(key, seq))
	} else if ok {
		return after(uploadName(key, seq))
	}
	for name, record := c.Seek(stem); bytes.HasPrefix(name, stem); name, record = c.Next() {
		if idOf(record) == id {
			return after(name)
		}
	}
	return after(stem)
}
