package ssm

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
)

// A page is a page of a list in the order of its keys: what follows the page before.
type page struct {
	after string // the last key of the page before
	next  string // the token of the next page; "" with the last
	left  int
	last  string
}

// newPage begins a page at the caller's token. The caller's most is the model's to check.
func newPage(token string, max *int32, most int) (*page, error) {
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, api.InvalidNextToken("The specified token is not valid.")
	}
	p := &page{after: string(after), left: most}
	if max != nil && int(*max) < most {
		p.left = int(*max)
	}
	return p, nil
}

// take reports whether the item of the key is still on the page.
func (p *page) take(key string) bool {
	if p.left == 0 {
		p.next = base64.RawURLEncoding.EncodeToString([]byte(p.last))
		return false
	}
	p.left--
	p.last = key
	return true
}

// filters say which parameters a list has: those that match all.
type filters []api.ParameterStringFilter

// keysOf are the filters of an operation, in the order in which AWS names them.
var (
	keysOfDescribe = []string{"Path", "Name", "Type", "KeyId", "Tier", "DataType"}
	keysOfByPath   = []string{"Type", "KeyId", "Label"}
)

// checkFilters gives the filters their default options and refuses those that cannot be.
func checkFilters(given []api.ParameterStringFilter, byPath bool) (filters, error) {
	keys := keysOfDescribe
	if byPath {
		keys = keysOfByPath
	}
	all := filters(slices.Clone(given))
	for i := range all {
		f := &all[i]
		tag := strings.HasPrefix(f.Key, "tag:") && !byPath
		if !tag && !slices.Contains(keys, f.Key) {
			return nil, api.InvalidFilterKey("The following filter key is not valid: %s. Valid filter keys include: [%s].", f.Key, strings.Join(keys, ", "))
		}
		if slices.ContainsFunc(all[:i], func(g api.ParameterStringFilter) bool { return g.Key == f.Key }) {
			return nil, api.InvalidFilterKey("The following filter is duplicated in the request: %s. A request can contain only one occurrence of a specific filter.", f.Key)
		}
		if len(f.Values) == 0 && !tag {
			return nil, api.InvalidFilterValue("The following filter values are missing : null for filter key %s.", f.Key)
		}
		options := []string{"BeginsWith", "Equals"}
		switch f.Key {
		case "Path":
			options = []string{"Recursive", "OneLevel"}
		case "Name":
			options = []string{"BeginsWith", "Equals", "Contains"}
		case "Label":
			options = []string{"Equals"}
		}
		if f.Option == "" {
			f.Option = "Equals"
			if f.Key == "Path" {
				f.Option = "OneLevel"
			}
		}
		if !slices.Contains(options, f.Option) {
			return nil, api.InvalidFilterOption("The following filter option is not valid: %s. Valid options include: [%s].", f.Option, strings.Join(options, ", "))
		}
		for _, v := range f.Values {
			var among []string
			switch f.Key {
			case "Path":
				if lower := strings.ToLower(v); strings.HasPrefix(lower, "/aws") || strings.HasPrefix(lower, "/ssm") {
					return nil, api.Validation(`Filters for common parameters can't be prefixed with "aws" or "ssm" (case-insensitive). When using global parameters, please specify within a global namespace.`)
				}
				if err := checkPath(v); err != nil {
					return nil, err
				}
			case "Type":
				among = []string{"String", "StringList", "SecureString"}
			case "Tier":
				among = []string{"Standard", "Advanced", "Intelligent-Tiering"}
			}
			if among != nil && !slices.Contains(among, v) {
				return nil, api.InvalidFilterOption("The following filter value is not valid: %s. Valid values include: [%s].", v, strings.Join(among, ", "))
			}
		}
	}
	return all, nil
}

func (all filters) match(p *Parameter) bool {
	for _, f := range all {
		if !matches(f, p) {
			return false
		}
	}
	return true
}

// label is the label by which a list asks for versions; "" when it does not.
func (all filters) label(p *Parameter) string {
	for _, f := range all {
		if f.Key != "Label" {
			continue
		}
		for _, v := range f.Values {
			if _, ok := p.Labels[v]; ok {
				return v
			}
		}
	}
	return ""
}

func matches(f api.ParameterStringFilter, p *Parameter) bool {
	name := "/" + strings.TrimPrefix(p.Name, "/")
	has := func(text string) bool {
		return slices.ContainsFunc(f.Values, func(v string) bool {
			if f.Option == "BeginsWith" {
				return strings.HasPrefix(text, v)
			}
			return text == v
		})
	}
	switch f.Key {
	case "Name": // with or without the first slash
		return slices.ContainsFunc(f.Values, func(v string) bool {
			rooted := "/" + strings.TrimPrefix(v, "/")
			switch f.Option {
			case "Contains":
				return strings.Contains(p.Name, v)
			case "BeginsWith":
				return strings.HasPrefix(name, rooted)
			}
			return name == rooted
		})
	case "Path":
		return slices.ContainsFunc(f.Values, func(v string) bool {
			rest, ok := strings.CutPrefix(name, strings.TrimSuffix(v, "/")+"/")
			return ok && (f.Option == "Recursive" || !strings.Contains(rest, "/"))
		})
	case "Type":
		return has(p.Newest.Type)
	case "KeyId":
		return p.Newest.KeyID != "" && has(p.Newest.KeyID)
	case "Tier":
		return has(p.Newest.Tier)
	case "DataType":
		return has(p.Newest.DataType)
	case "Label":
		return slices.ContainsFunc(f.Values, func(v string) bool { _, ok := p.Labels[v]; return ok })
	}
	key := strings.TrimPrefix(f.Key, "tag:")
	for _, t := range p.Tags {
		if t.Key == key {
			return len(f.Values) == 0 || has(t.Value)
		}
	}
	return false
}
