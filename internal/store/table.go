package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"sync"
)

// A Table is a part of the state: keys in byte order, each with a value of
// type T. Values are kept as JSON, so what T does not show to encoding/json is
// not kept. A field in a kept value that T does not have is an error: an older
// program that overlooked it might allow what the newer one refused.
//
// Tables have no state of their own. The zero value cannot be used.
type Table[T any] struct{ name string }

// NewTable returns the table of that name, which has no slash in it and stays
// the same for as long as the data lives.
func NewTable[T any](name string) Table[T] {
	if name == "" || strings.Contains(name, "/") {
		panic(fmt.Sprintf("store: %q cannot name a table", name))
	}
	return Table[T]{name}
}

// A Reader is a *Snapshot or a *Tx.
type Reader interface {
	// find returns the entry of a key, nil when there is none. A Tx notes
	// that the key was read.
	find(table, key string) *entry
	// walk passes over the entries whose keys begin with prefix and are
	// greater than after, in order. after may be empty.
	walk(table, prefix, after string, yield func(*entry) bool)
}

// Get returns the value of a key, nil when there is none. From a snapshot the
// value is shared and must not be changed; from a Tx it is a copy of one's own.
// It panics with the table and key when the value is not a T.
func (t Table[T]) Get(r Reader, key string) *T {
	if s, ok := r.(*Snapshot); ok {
		if e := s.find(t.name, key); e != nil {
			return t.shared(e)
		}
		return nil
	}
	if e := r.find(t.name, key); e != nil {
		return t.copy(e)
	}
	return nil
}

// Put sets the value of a key to what v is now: later changes of v are not
// seen.
func (t Table[T]) Put(tx *Tx, key string, v *T) {
	raw, err := json.Marshal(v)
	if err != nil {
		tx.fault = fmt.Errorf("store: encoding %s/%s: %w", t.name, key, err)
		return
	}
	tx.write(t.name, key, raw)
}

// Delete removes a key; removing one that does not exist is no change.
func (t Table[T]) Delete(tx *Tx, key string) { tx.write(t.name, key, nil) }

// All returns the keys that begin with prefix, in byte order, with their
// values, which are shared or copies as those of Get.
func (t Table[T]) All(r Reader, prefix string) iter.Seq2[string, *T] {
	return t.From(r, prefix, "")
}

// From is All without the keys up to and including after: the next page
// after one that ended there.
func (t Table[T]) From(r Reader, prefix, after string) iter.Seq2[string, *T] {
	value := t.copy
	if _, ok := r.(*Snapshot); ok {
		value = t.shared
	}
	return func(yield func(string, *T) bool) {
		r.walk(t.name, prefix, after, func(e *entry) bool { return yield(e.key, value(e)) })
	}
}

// Name returns the name of the table.
func (t Table[T]) Name() string { return t.name }

// shared returns the decoded value that all readers of e share.
func (t Table[T]) shared(e *entry) *T {
	f := e.form.Load()
	if v, ok := f.any.(*T); ok {
		return v
	}
	v, err := t.decode(e)
	if err != nil {
		panic(err)
	}
	e.form.CompareAndSwap(f, &form{v})
	return e.form.Load().any.(*T)
}

func (t Table[T]) copy(e *entry) *T {
	v, err := t.decode(e)
	if err != nil {
		panic(err)
	}
	return v
}

func (t Table[T]) decode(e *entry) (*T, error) {
	v := new(T)
	raw, err := e.json()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err == nil {
		err = d.Decode(v)
	}
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("data after the value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store: the value of %s/%s cannot be decoded: %w", t.name, e.key, err)
	}
	return v, nil
}

// A Checker is a Table of any type, as Open takes it.
type Checker interface {
	Name() string
	check(*entry) error
}

func (t Table[T]) check(e *entry) error {
	f := e.form.Load()
	v, err := t.decode(e)
	if err == nil {
		e.form.CompareAndSwap(f, &form{v})
	}
	return err
}

// check decodes all values of the tables given, on all processors, and sees
// that the others are JSON. It returns the first fault in key order of the
// first table that has one.
func (s *Snapshot) check(tables []Checker) error {
	known := make(map[string]Checker)
	for _, t := range tables {
		known[t.Name()] = t
	}
	for _, name := range s.names() {
		check := func(e *entry) error {
			if raw, err := e.json(); err != nil || !json.Valid(raw) {
				return fmt.Errorf("store: the value of %s/%s cannot be decoded: not JSON", name, e.key)
			}
			return nil
		}
		if t, ok := known[name]; ok {
			check = t.check
		}
		var entries []*entry
		s.walk(name, "", "", func(e *entry) bool { entries = append(entries, e); return true })
		parts := runtime.GOMAXPROCS(0)
		faults := make([]error, parts)
		var wg sync.WaitGroup
		for i := range parts {
			part := entries[len(entries)*i/parts : len(entries)*(i+1)/parts]
			wg.Go(func() {
				for _, e := range part {
					if faults[i] = check(e); faults[i] != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		for _, err := range faults {
			if err != nil {
				return err
			}
		}
	}
	return nil
}
