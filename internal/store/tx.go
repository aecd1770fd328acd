package store

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A Tx is one run of the function given to Update: the snapshot that it began
// with and the changes it has made. It is for one goroutine and ends with the
// function.
type Tx struct {
	base   *Snapshot
	reads  map[string]int64             // log key: revision in base, 0 for absent
	writes map[string]map[string]*entry // table, key: new entry; without form for a deletion
	fault  error                        // a value that could not be encoded
}

func newTx(base *Snapshot) *Tx {
	return &Tx{base: base, reads: make(map[string]int64), writes: make(map[string]map[string]*entry)}
}

// note remembers the revision of a key as this Tx knows it, for the commit to
// check, and returns the key's entry in the base.
func (tx *Tx) note(table, key string) *entry {
	e := tx.base.find(table, key)
	var revision int64
	if e != nil {
		revision = e.revision
	}
	tx.reads[table+"/"+key] = revision
	return e
}

func (tx *Tx) find(table, key string) *entry {
	if e, ok := tx.writes[table][key]; ok {
		if e.form.Load() == nil {
			return nil
		}
		return e
	}
	return tx.note(table, key)
}

func (tx *Tx) write(table, key string, raw []byte) {
	tx.note(table, key)
	if tx.writes[table] == nil {
		tx.writes[table] = make(map[string]*entry)
	}
	if raw == nil {
		tx.writes[table][key] = &entry{key: key}
	} else {
		tx.writes[table][key] = newEntry(key, raw, 0)
	}
}

// walk merges what was written with the base.
func (tx *Tx) walk(table, prefix, after string, yield func(*entry) bool) {
	var written []*entry
	for _, key := range slices.Sorted(maps.Keys(tx.writes[table])) {
		if strings.HasPrefix(key, prefix) && (after == "" || key > after) {
			written = append(written, tx.writes[table][key])
		}
	}
	// until yields the written entries up to and including key.
	until := func(key string) (found, ok bool) {
		for len(written) > 0 && written[0].key <= key {
			e := written[0]
			written = written[1:]
			found = e.key == key
			if e.form.Load() != nil && !yield(e) {
				return found, false
			}
		}
		return found, true
	}
	stopped := false
	tx.base.walk(table, prefix, after, func(e *entry) bool {
		found, ok := until(e.key)
		if ok && !found {
			ok = yield(e)
		}
		stopped = !ok
		return ok
	})
	for _, e := range written {
		if stopped {
			return
		}
		if e.form.Load() != nil {
			stopped = !yield(e)
		}
	}
}

// changes returns what the log is to check and to write, in key order.
func (tx *Tx) changes() ([]Check, []Write) {
	var writes []Write
	for table, entries := range tx.writes {
		for key, e := range entries {
			w := Write{Key: table + "/" + key}
			if f := e.form.Load(); f != nil {
				w.Value = f.any.(json.RawMessage) // no entry of a Tx is shared, so none is decoded in place
			}
			writes = append(writes, w)
		}
	}
	slices.SortFunc(writes, func(a, b Write) int { return strings.Compare(a.Key, b.Key) })
	checks := make([]Check, 0, len(tx.reads))
	for _, key := range slices.Sorted(maps.Keys(tx.reads)) {
		checks = append(checks, Check{Key: key, Revision: tx.reads[key]})
	}
	return checks, writes
}
