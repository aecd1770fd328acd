package data

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// An Upload is a multipart upload that was begun and neither completed nor aborted.
// Object is what it will become: key, headers, metadata, tags; its Modified is when
// the upload began, and its Checksum says the algorithm and type asked for.
type Upload struct {
	Object
	ID        string // set by CreateUpload
	Initiator string // who began it, in the caller's words
}

// CreateUpload begins an upload and sets its ID.
func (db *DB) CreateUpload(bucket string, u *Upload) error {
	return db.change(func(t *tx) error {
		tree, err := t.tree(uploads, bucket)
		if err != nil {
			return err
		}
		seq, err := tree.NextSequence()
		t.must(err)
		u.ID = newID(seq)
		t.must(tree.Put(uploadName(u.Key, seq), appendUpload(nil, u)))
		return nil
	})
}

// findUpload returns the record of an upload, nil when there is none.
func findUpload(tree *bolt.Bucket, key, id string) (name, record []byte) {
	seq, ok := sequence(id)
	if !ok {
		return nil, nil
	}
	name = uploadName(key, seq)
	if record = tree.Get(name); record == nil || idOf(record) != id {
		return nil, nil
	}
	return name, record
}

// StatUpload returns an upload: ErrNoUpload when there is none.
func (db *DB) StatUpload(bucket, key, id string) (*Upload, error) {
	u := &Upload{Object: Object{Key: key}}
	err := db.meta.View(func(t *bolt.Tx) error {
		tree := t.Bucket(treeName(uploads, bucket))
		if tree == nil {
			return ErrNoBucket
		}
		_, record := findUpload(tree, key, id)
		if record == nil {
			return ErrNoUpload
		}
		decodeUpload(u, record)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// ListUploads lists the uploads of a bucket by key, older ones first in each.
func (db *DB) ListUploads(bucket string, q Query) (*Listing[Upload], error) {
	return list(db, uploads, bucket, q, true, func(u *Upload, key string, record []byte, _ bool) bool {
		u.Key = key
		decodeUpload(u, record)
		return true
	})
}

// The parts of an upload stand together, in the order of their numbers.
func partName(upload string, number int) []byte {
	return binary.BigEndian.AppendUint16([]byte(upload), uint16(number))
}

// PutPart makes p, which Write returned, the part of its number, instead of one
// that was put before. ErrNoUpload when there is no such upload; the caller then
// still has to Discard the part.
func (db *DB) PutPart(bucket, key, id string, p Part) error {
	return db.change(func(t *tx) error {
		tree, err := t.tree(uploads, bucket)
		if err != nil {
			return err
		}
		if name, _ := findUpload(tree, key, id); name == nil {
			return ErrNoUpload
		}
		if !t.holds(p, db) {
			return ErrNoKey
		}
		t.retain(p)
		tree = t.Bucket(treeName(parts, bucket))
		name := partName(id, p.Number)
		if old := tree.Get(name); old != nil {
			t.release(decodePart(old))
		}
		t.must(tree.Put(name, appendPart(nil, &p)))
		return nil
	})
}

// ListParts returns at most max parts with numbers greater than after, and whether
// there are more. ErrNoUpload when there is no such upload.
func (db *DB) ListParts(bucket, key, id string, after, max int) (ps []Part, more bool, err error) {
	err = db.meta.View(func(t *bolt.Tx) error {
		tree := t.Bucket(treeName(uploads, bucket))
		if tree == nil {
			return ErrNoBucket
		}
		if name, _ := findUpload(tree, key, id); name == nil {
			return ErrNoUpload
		}
		c := t.Bucket(treeName(parts, bucket)).Cursor()
		for k, v := c.Seek(partName(id, after+1)); bytes.HasPrefix(k, []byte(id)); k, v = c.Next() {
			if len(ps) == max {
				more = true
				return nil
			}
			ps = append(ps, decodePart(v))
		}
		return nil
	})
	return ps, more, err
}

// Complete makes an object of an upload's parts and ends the upload. build is given
// the upload with all parts it has, in the order of their numbers, and returns the
// object with those that it chose; the others are removed. Its error leaves all as
// it was. check is as in Put.
//
// Completing an upload again succeeds while the object that it made is current, so
// that a client may repeat a call whose answer was lost.
func (db *DB) Complete(bucket, key, id string, v Versioning, check Check, build func(*Upload, []Part) (*Object, error)) (*Object, error) {
	var o *Object
	err := db.change(func(t *tx) error {
		us, err := t.tree(uploads, bucket)
		if err != nil {
			return err
		}
		tree := t.Bucket(treeName(objects, bucket))
		name, record := findUpload(us, key, id)
		if name == nil {
			if name, record := find(tree, key, ""); name != nil {
				made := &Object{Key: key}
				if decodeObject(made, record, true); made.UploadID == id && id != "" {
					o = made
					return nil
				}
			}
			return ErrNoUpload
		}
		if err := checkCurrent(tree, key, check); err != nil {
			return err
		}
		u := &Upload{Object: Object{Key: key}}
		decodeUpload(u, record)
		ps, names := uploaded(t.Bucket(treeName(parts, bucket)), id)
		if o, err = build(u, ps); err != nil {
			return err
		}
		o.UploadID = id
		for _, p := range o.Parts {
			t.retain(p)
		}
		t.put(tree, o, v)
		t.end(bucket, name, ps, names)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Abort ends an upload and removes its parts. ErrNoUpload when there is none.
func (db *DB) Abort(bucket, key, id string) error {
	return db.change(func(t *tx) error {
		us, err := t.tree(uploads, bucket)
		if err != nil {
			return err
		}
		name, _ := findUpload(us, key, id)
		if name == nil {
			return ErrNoUpload
		}
		ps, names := uploaded(t.Bucket(treeName(parts, bucket)), id)
		t.end(bucket, name, ps, names)
		return nil
	})
}

// uploaded returns the parts of an upload and the names of their records.
func uploaded(tree *bolt.Bucket, id string) (ps []Part, names [][]byte) {
	c := tree.Cursor()
	for k, v := c.Seek([]byte(id)); bytes.HasPrefix(k, []byte(id)); k, v = c.Next() {
		ps = append(ps, decodePart(v))
		names = append(names, bytes.Clone(k))
	}
	return ps, names
}

// end removes an upload with its parts.
func (t *tx) end(bucket string, upload []byte, ps []Part, names [][]byte) {
	for i, p := range ps {
		t.release(p)
		t.must(t.Bucket(treeName(parts, bucket)).Delete(names[i]))
	}
	t.must(t.Bucket(treeName(uploads, bucket)).Delete(upload))
}
