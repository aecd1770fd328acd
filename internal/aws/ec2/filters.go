package ec2

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/ec2/api"
)

// filtered makes a test of filters: each must have a value that matches one of the thing's,
// in which * and ? stand for any text and any character. tag:KEY and tag-key are known
// where "tag" is.
func filtered[T any](filters []api.Filter, known map[string]func(T) []string) (func(T) bool, error) {
	type test struct {
		values func(T) []string
		want   []string
	}
	var tests []test
	for _, f := range filters {
		values := known[f.Name]
		if key, ok := strings.CutPrefix(f.Name, "tag:"); ok && known["tag"] != nil {
			values = func(x T) (all []string) {
				for _, pair := range known["tag"](x) {
					if k, v, _ := strings.Cut(pair, "\x00"); k == key {
						all = append(all, v)
					}
				}
				return all
			}
		}
		if f.Name == "tag-key" && known["tag"] != nil {
			values = func(x T) (all []string) {
				for _, pair := range known["tag"](x) {
					k, _, _ := strings.Cut(pair, "\x00")
					all = append(all, k)
				}
				return all
			}
		}
		if values == nil || f.Name == "tag" {
			return nil, api.InvalidParameterValue("The filter '%s' is invalid", f.Name)
		}
		tests = append(tests, test{values, f.Values})
	}
	return func(x T) bool {
		for _, t := range tests {
			if !slices.ContainsFunc(t.values(x), func(v string) bool {
				return slices.ContainsFunc(t.want, func(pattern string) bool { return like(pattern, v) })
			}) {
				return false
			}
		}
		return true
	}, nil
}

// tagPairs are tags as a filter reads them.
func tagPairs(tags []api.Tag) []string {
	var all []string
	for _, t := range tags {
		all = append(all, t.Key+"\x00"+t.Value)
	}
	return all
}

// like matches a pattern with * and ?, which a backslash makes plain.
func like(pattern, s string) bool {
	star, from := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			p++
			i++
		case p+1 < len(pattern) && pattern[p] == '\\' && pattern[p+1] == s[i]:
			p += 2
			i++
		case p < len(pattern) && pattern[p] == s[i] && pattern[p] != '\\':
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// paged cuts a page out of things, by their keys. Without a size there is one page.
func paged[T any](all []T, key func(T) string, token string, size *int32) (page []T, next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", api.InvalidNextToken("The specified next token is not valid.")
	}
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	for _, x := range all {
		if token != "" && key(x) <= string(after) {
			continue
		}
		if size != nil && len(page) == int(*size) {
			return page, base64.RawURLEncoding.EncodeToString([]byte(key(page[len(page)-1]))), nil
		}
		page = append(page, x)
	}
	return page, "", nil
}

// checkPage checks the size of a page, which lists that name what they want have not.
func checkPage(size *int32, ids []string) error {
	switch {
	case size == nil:
		return nil
	case len(ids) > 0:
		return api.InvalidParameterCombination("The parameter instancesSet cannot be used with the parameter maxResults")
	case *size < 5:
		return api.InvalidParameterValue("Value ( %d ) for parameter maxResults is invalid. Expecting a value greater than 5.", *size)
	case *size > 1000:
		return api.InvalidParameterValue("Value ( %d ) for parameter maxResults is invalid. Expecting a value less than 1000.", *size)
	}
	return nil
}
