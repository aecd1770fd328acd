package data

import (
	"bytes"
	"time"

	bolt "go.etcd.io/bbolt"
)

// An Object is one version of a key.
type Object struct {
	Key          string
	VersionID    string // set by Put; NullVersion for one put while versioning was not Enabled
	DeleteMarker bool   // nothing below but Modified is set then
	Size         int64
	ETag         string // without quotes
	Modified     time.Time

	ContentType, CacheControl, ContentDisposition string
	ContentEncoding, ContentLanguage, Expires     string
	WebsiteRedirect, StorageClass, Encryption     string

	Metadata map[string]string // the user's, names in lower case without x-amz-meta-
	Tags     []Tag
	Checksum Checksum
	UploadID string // of the multipart upload that made it
	Parts    []Part // the body; to be passed on, for a copy, as it is
}

// NullVersion is the id of a version that was put while versioning was not Enabled.
const NullVersion = "null"

type Tag struct{ Key, Value string }

// A Checksum is one of S3's: "CRC32", "SHA256" ..., its value in base64, and
// whether it is of the whole ("FULL_OBJECT") or of the parts' checksums
// ("COMPOSITE").
type Checksum struct{ Algorithm, Value, Type string }

// Versioning is the versioning state of a bucket.
type Versioning uint8

const (
	Unversioned Versioning = iota // never enabled
	Enabled
	Suspended
)

// A Check decides, inside the transaction, whether a change may go on. It is given
// the current version, nil when there is none or it is a delete marker. It must not
// keep or change it. Its error is returned to the caller as it is.
type Check func(current *Object) error

// Put makes o the current version of its key, with the parts that Write returned or
// those of another object, and sets o.VersionID. While versioning is not Enabled it
// takes the place of the null version. ErrNoKey when a part was deleted meanwhile.
// After an error the caller still has to Discard the parts it wrote.
func (db *DB) Put(bucket string, o *Object, v Versioning, check Check) error {
	return db.change(func(t *tx) error {
		tree, err := t.tree(objects, bucket)
		if err != nil {
			return err
		}
		for _, p := range o.Parts {
			if !t.holds(p, db) {
				return ErrNoKey
			}
		}
		if err := checkCurrent(tree, o.Key, check); err != nil {
			return err
		}
		for _, p := range o.Parts {
			t.retain(p)
		}
		t.put(tree, o, v)
		return nil
	})
}

func checkCurrent(tree *bolt.Bucket, key string, check Check) error {
	if check == nil {
		return nil
	}
	name, record := find(tree, key, "")
	if name == nil {
		return check(nil)
	}
	o := &Object{Key: key}
	if decodeObject(o, record, true); o.DeleteMarker {
		o = nil
	}
	return check(o)
}

// put writes a new current version; its parts are counted already.
func (t *tx) put(tree *bolt.Bucket, o *Object, v Versioning) {
	seq, err := tree.NextSequence()
	t.must(err)
	o.VersionID = NullVersion
	if v == Enabled {
		o.VersionID = newID(seq)
	} else {
		t.remove(tree, o.Key, NullVersion)
	}
	t.must(tree.Put(versionName(o.Key, seq), appendObject(nil, o)))
}

// remove removes a version and returns what it was; nil when there was none.
func (t *tx) remove(tree *bolt.Bucket, key, version string) *Object {
	name, record := find(tree, key, version)
	if name == nil {
		return nil
	}
	o := &Object{Key: key}
	decodeObject(o, record, true)
	for _, p := range o.Parts {
		t.release(p)
	}
	t.must(tree.Delete(bytes.Clone(name)))
	return o
}

// find returns the record of a version, "" being the current one; nil when there is
// none.
func find(tree *bolt.Bucket, key, version string) (name, record []byte) {
	stem := recordsOf(key)
	c := tree.Cursor()
	switch version {
	case "":
		if name, record = c.Seek(stem); bytes.HasPrefix(name, stem) {
			return name, record
		}
	case NullVersion:
		for name, record = c.Seek(stem); bytes.HasPrefix(name, stem); name, record = c.Next() {
			if idOf(record) == NullVersion {
				return name, record
			}
		}
	default:
		seq, ok := sequence(version)
		if !ok {
			return nil, nil
		}
		want := versionName(key, seq)
		if name, record = c.Seek(want); bytes.Equal(name, want) && idOf(record) == version {
			return name, record
		}
	}
	return nil, nil
}

// idOf reads the id of the version or upload, which every record begins with.
func idOf(record []byte) string {
	_, v, _ := next(record)
	return text(v)
}

// lookup reads a version. ErrNoKey, or ErrNoVersion when one was asked for.
func (db *DB) lookup(bucket, key, version string) (*Object, error) {
	o := &Object{Key: key}
	err := db.meta.View(func(t *bolt.Tx) error {
		tree := t.Bucket(treeName(objects, bucket))
		if tree == nil {
			return ErrNoBucket
		}
		name, record := find(tree, key, version)
		if name == nil {
			if version != "" {
				return ErrNoVersion
			}
			return ErrNoKey
		}
		decodeObject(o, record, true)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Stat returns a version of a key, "" being the current one, or a delete marker.
// ErrNoBucket, ErrNoKey, or ErrNoVersion when a version was asked for.
func (db *DB) Stat(bucket, key, version string) (*Object, error) {
	return db.lookup(bucket, key, version)
}

// Open is Stat with the body, which the caller has to close. The body of a delete
// marker is empty.
func (db *DB) Open(bucket, key, version string) (*Object, *Content, error) {
	db.gate.RLock()
	defer db.gate.RUnlock()
	o, err := db.lookup(bucket, key, version)
	if err != nil {
		return nil, nil, err
	}
	return o, db.newContent(o), nil
}

// Update changes what is known about a version, such as its tags; not its key,
// version or parts. An error of f leaves it as it was.
func (db *DB) Update(bucket, key, version string, f func(*Object) error) error {
	return db.change(func(t *tx) error {
		tree, err := t.tree(objects, bucket)
		if err != nil {
			return err
		}
		name, record := find(tree, key, version)
		if name == nil {
			if version != "" {
				return ErrNoVersion
			}
			return ErrNoKey
		}
		o := &Object{Key: key}
		decodeObject(o, record, true)
		if err := f(o); err != nil {
			return err
		}
		t.must(tree.Put(bytes.Clone(name), appendObject(nil, o)))
		return nil
	})
}

// A Deletion says what to delete: with Version "" it does what the bucket's versioning
// says, and else removes that version for good.
type Deletion struct {
	Key, Version string
	Check        Check
}

// A Deleted is what became of a Deletion. Object is the version that was removed, nil
// when there was none, or the delete marker that was put in front of the others. Err
// is that of the Check, after which nothing was deleted.
type Deleted struct {
	Object *Object
	Err    error
}

// Delete does one Deletion.
func (db *DB) Delete(bucket, key, version string, v Versioning, now time.Time, check Check) (*Object, error) {
	done, err := db.DeleteEach(bucket, []Deletion{{key, version, check}}, v, now)
	if err != nil {
		return nil, err
	}
	return done[0].Object, done[0].Err
}

// DeleteEach does some Deletions, in their order, in one transaction. While versioning
// is Suspended a delete marker takes the place of the null version.
func (db *DB) DeleteEach(bucket string, each []Deletion, v Versioning, now time.Time) ([]Deleted, error) {
	done := make([]Deleted, len(each))
	err := db.change(func(t *tx) error {
		tree, err := t.tree(objects, bucket)
		if err != nil {
			return err
		}
		for i, d := range each {
			if done[i].Err = checkCurrent(tree, d.Key, d.Check); done[i].Err != nil {
				continue
			}
			switch {
			case d.Version != "":
				done[i].Object = t.remove(tree, d.Key, d.Version)
			case v == Unversioned:
				done[i].Object = t.remove(tree, d.Key, NullVersion)
			default:
				done[i].Object = &Object{Key: d.Key, DeleteMarker: true, Modified: now}
				t.put(tree, done[i].Object, v)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}
