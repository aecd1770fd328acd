package organizations

import (
	"encoding/base64"
	"iter"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store"
)

const defaultResults = 20 // the most of a page, and what it has when the caller says nothing

// paged cuts a page out of items, each with a key, in the order of the keys. The token
// is the last key of the page before; "" is returned with the last page.
func paged[T any](token string, max *int32, items iter.Seq2[string, T]) (page []T, next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", invalid("INVALID_NEXT_TOKEN")
	}
	limit := defaultResults
	if max != nil {
		limit = int(*max)
	}
	page = []T{}
	last := ""
	for key, item := range items {
		if key <= string(after) {
			continue
		}
		if len(page) == limit {
			return page, base64.RawURLEncoding.EncodeToString([]byte(last)), nil
		}
		page, last = append(page, item), key
	}
	return page, "", nil
}

// accounts yields the member accounts by id.
func accounts(r store.Reader, o *identity.Organization) iter.Seq2[string, *identity.Account] {
	return func(yield func(string, *identity.Account) bool) {
		for id, a := range identity.Accounts.All(r, "") {
			if a.Membership != nil && a.Membership.Organization == o.ID && !yield(id, a) {
				return
			}
		}
	}
}

// accountsIn yields those that are in the root or OU itself.
func accountsIn(r store.Reader, o *identity.Organization, parent string) iter.Seq2[string, *identity.Account] {
	return func(yield func(string, *identity.Account) bool) {
		for id, a := range accounts(r, o) {
			if a.Membership.Parent == parent && !yield(id, a) {
				return
			}
		}
	}
}

// unitsIn yields the OUs that are in the root or OU itself, by id.
func unitsIn(r store.Reader, o *identity.Organization, parent string) iter.Seq2[string, *identity.Unit] {
	return func(yield func(string, *identity.Unit) bool) {
		for _, u := range identity.Units.All(r, o.Key("")) {
			if u.Parent == parent && !yield(u.ID, u) {
				return
			}
		}
	}
}

// mapped is what f makes of the items; those for which f is false are left out.
func mapped[A, B any](items iter.Seq2[string, A], f func(A) (B, bool)) iter.Seq2[string, B] {
	return func(yield func(string, B) bool) {
		for key, a := range items {
			if b, ok := f(a); ok && !yield(key, b) {
				return
			}
		}
	}
}

// some reports whether there is an item.
func some[T any](items iter.Seq2[string, T]) bool {
	for range items {
		return true
	}
	return false
}
