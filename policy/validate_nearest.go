package policy

import "strings"

// nearest gives the candidate that a misspelt name most likely means, or "" when
// none is near: it may take one edit for every three letters, and case does not count.
func nearest(name string, candidates []string) string {
	name = lowered(name)
	best, least := "", len(name)/3+1
	for _, c := range candidates {
		if abs(len(c)-len(name)) > least {
			continue
		}
		if d := edits(name, lowered(c)); d < least || d == least && best == "" {
			best, least = c, d
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// edits is the distance of Damerau and Levenshtein, in which to swap two neighbours
// is one edit.
func edits(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

// prefixes gives the services' prefixes, for suggestions.
func (r *Reference) prefixes() []string {
	if r.Prefixes == nil {
		return nil
	}
	return r.Prefixes()
}

// service gives what is known of a service, nil when it is not known.
func (r *Reference) service(prefix string) *ReferenceService {
	if r.Service == nil {
		return nil
	}
	return r.Service(lowered(prefix))
}

// global finds a global key.
func (r *Reference) global(name string) *ReferenceKey {
	if r.Global == nil {
		return nil
	}
	return findKey(r.Global(), name)
}

// key finds a condition key by its full name.
func (r *Reference) key(name string) *ReferenceKey {
	if k := r.global(name); k != nil {
		return k
	}
	prefix, _, _ := strings.Cut(name, ":")
	if prefix == "saml" || strings.ContainsAny(prefix, "./") {
		prefix = "sts" // keys of identity providers are told with those of STS
	}
	if s := r.service(prefix); s != nil {
		return findKey(s.Keys, name)
	}
	return nil
}

func findKey(keys []ReferenceKey, name string) *ReferenceKey {
	for i := range keys {
		if keyMatches(keys[i].Name, name) {
			return &keys[i]
		}
	}
	return nil
}

// keyMatches says whether name is the key. A part in ${ } or < > stands for anything
// that is not empty, and so does the tag-key with which some keys end.
func keyMatches(key, name string) bool {
	if tag, ok := strings.CutSuffix(key, "/tag-key"); ok {
		return len(name) > len(tag)+1 && foldPrefix(name, tag+"/")
	}
	before, part, found := strings.Cut(key, "${")
	end := "}"
	if !found {
		before, part, found = strings.Cut(key, "<")
		end = ">"
	}
	if !found {
		return foldEqual(key, name)
	}
	_, after, _ := strings.Cut(part, end)
	return len(name) > len(before)+len(after) && foldPrefix(name, before) && foldEqual(name[len(name)-len(after):], after)
}

func (k *ReferenceKey) multivalued() bool { return strings.HasPrefix(k.Type, "ArrayOf") }

// kind is the type of one value.
func (k *ReferenceKey) kind() string { return strings.TrimPrefix(k.Type, "ArrayOf") }

func keyNames(keys []ReferenceKey) []string {
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].Name
	}
	return names
}
