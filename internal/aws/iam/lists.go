package iam

import (
	"encoding/base64"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// A list gives items, each with a key, in the order of keys, from the one after
// the key given on; "" is before the first.
type list[T any] func(after string) iter.Seq2[string, T]

// A page is a part of a list. Items is never nil.
type page[T any] struct {
	Items  []T
	More   bool   // IsTruncated
	Marker string // where the next page begins, when there is one
}

const (
	defaultItems = 100  // AWS's MaxItems when the caller gives none
	markerPrefix = "a:" // tells a marker from a word that happens to be base64
)

// paged cuts a page out of a list. The marker is the last key of the page before,
// so that a list which changes meanwhile loses or repeats nothing else.
func paged[T any](marker string, max *int32, items list[T]) (page[T], error) {
	after, err := base64.URLEncoding.DecodeString(marker)
	key, ours := strings.CutPrefix(string(after), markerPrefix)
	if err != nil || marker != "" && !ours {
		return page[T]{}, api.ValidationError("Invalid Marker.")
	}
	limit := defaultItems
	if max != nil {
		limit = int(*max)
	}
	p := page[T]{Items: []T{}}
	last := ""
	for at, item := range items(key) {
		if len(p.Items) == limit {
			p.More, p.Marker = true, base64.URLEncoding.EncodeToString([]byte(markerPrefix+last))
			break
		}
		p.Items, last = append(p.Items, item), at
	}
	return p, nil
}

// all are the entities of a kind in an account whose paths begin with the prefix.
func (k *kind[T]) all(r store.Reader, account, pathPrefix string) list[*T] {
	return func(after string) iter.Seq2[string, *T] {
		return func(yield func(string, *T) bool) {
			for key, v := range k.table.From(r, account+"/", after) {
				if _, _, a := k.shown(v); strings.HasPrefix(pathOf(a), pathPrefix) && !yield(key, v) {
					return
				}
			}
		}
	}
}

// slice lists what is there in a slice. Its keys are positions.
func slice[T any](items []T) list[T] {
	return func(after string) iter.Seq2[string, T] {
		return func(yield func(string, T) bool) {
			first := 0
			if n, err := strconv.Atoi(after); err == nil && n >= 0 {
				first = n + 1
			}
			for i := first; i < len(items); i++ {
				if !yield(fmt.Sprintf("%06d", i), items[i]) {
					return
				}
			}
		}
	}
}

// mapped is what f makes of a list's items; items for which f is false are left out.
func mapped[A, B any](items list[A], f func(A) (B, bool)) list[B] {
	return func(after string) iter.Seq2[string, B] {
		return func(yield func(string, B) bool) {
			for key, a := range items(after) {
				if b, ok := f(a); ok && !yield(key, b) {
					return
				}
			}
		}
	}
}

// only is the list where that is wanted, and an empty one otherwise.
func only[T any](wanted bool, items list[T]) list[T] {
	if wanted {
		return items
	}
	return func(string) iter.Seq2[string, T] { return func(func(string, T) bool) {} }
}

// joined is one list after the other. The first letter of a key tells which.
func joined[T any](lists ...list[T]) list[T] {
	return func(after string) iter.Seq2[string, T] {
		return func(yield func(string, T) bool) {
			for i, items := range lists {
				letter, from := string(rune('a'+i)), ""
				if after != "" {
					if after[:1] > letter {
						continue
					}
					if after[:1] == letter {
						from = after[1:]
					}
				}
				for key, item := range items(from) {
					if !yield(letter+key, item) {
						return
					}
				}
			}
		}
	}
}
