package policy

// A Program is a compiled policy. It does not change and may be used by many
// goroutines at once.
type Program struct {
	policy     *Policy
	statements []statement
	principals bool // some statement has a Principal or NotPrincipal
	allow      index
	deny       index
}

// A statement is a compiled Statement.
type statement struct {
	src          *Statement
	deny         bool
	names        []name // of Principal or NotPrincipal
	named        bool   // there is a Principal or NotPrincipal
	notPrincipal bool
	actions      []actionPattern
	notAction    bool
	resources    []resourcePattern
	notResource  bool
	conditions   []condition
	sources      []*Condition // of conditions
}

// Compile makes a program of a policy. It never fails: what cannot be evaluated
// works against the caller, as the package comment says.
func Compile(p *Policy) *Program {
	g := &Program{policy: p, statements: make([]statement, len(p.Statements))}
	variables := p.Version == "2012-10-17"
	for i := range p.Statements {
		src, s := &p.Statements[i], &g.statements[i]
		s.src = src
		s.deny = src.Effect != "Allow"

		s.named = src.Principal != nil || src.NotPrincipal != nil
		s.notPrincipal = src.NotPrincipal != nil
		s.names = compileNames(append(src.Principal[:len(src.Principal):len(src.Principal)], src.NotPrincipal...))
		g.principals = g.principals || s.named

		s.notAction = src.NotAction != nil
		for _, a := range src.Action {
			s.actions = append(s.actions, compileAction(a))
		}
		for _, a := range src.NotAction {
			s.actions = append(s.actions, compileAction(a))
		}

		s.notResource = src.NotResource != nil
		for _, r := range src.Resource {
			s.resources = append(s.resources, compileResource(r, variables))
		}
		for _, r := range src.NotResource {
			s.resources = append(s.resources, compileResource(r, variables))
		}

		for j := range src.Condition {
			c := &src.Condition[j]
			if c.Key == "" && c.Values == nil {
				continue // an operator without keys
			}
			s.conditions = append(s.conditions, compileCondition(c, variables))
			s.sources = append(s.sources, c)
		}

		if s.deny {
			g.deny.add(int32(i), s)
		} else {
			g.allow.add(int32(i), s)
		}
	}
	return g
}

// Policy gives the policy that the program was made of.
func (g *Program) Policy() *Policy { return g.policy }

// An index finds the statements that may match a request, by the part of the
// resource that usually has no wildcards (a bucket, arn:aws:s3:::reports) and by
// the action. It may give too many statements and never too few; every list is in
// the order of the policy.
type index struct {
	heads map[string]*bucket // statements all of whose resources have a head
	other bucket             // the others
}

// A bucket holds statements by their actions.
type bucket struct {
	actions  map[string][]int32 // by action in lower case: patterns without wildcards
	services map[string][]int32 // by what stands before the colon: other patterns of one service
	other    []int32            // all others, and statements with NotAction
}

// maxPlaces bounds in how many places of the index a statement stands.
const maxPlaces = 64

func (x *index) add(i int32, s *statement) {
	heads := s.heads()
	if len(heads) == 0 {
		x.other.add(i, s)
		return
	}
	if x.heads == nil {
		x.heads = map[string]*bucket{}
	}
	for _, h := range heads {
		b := x.heads[h]
		if b == nil {
			b = &bucket{}
			x.heads[h] = b
		}
		if len(heads)*len(s.actions) > maxPlaces {
			b.other = append(b.other, i)
		} else {
			b.add(i, s)
		}
	}
}

// heads gives the heads of the statement's resources, each once, or none when the
// statement may be about a resource without one of them.
func (s *statement) heads() []string {
	if s.notResource {
		return nil
	}
	var heads []string
	seen := map[string]bool{}
	for i := range s.resources {
		h, ok := s.resources[i].head()
		if !ok {
			return nil
		}
		if !seen[h] {
			seen[h] = true
			heads = append(heads, h)
		}
	}
	return heads
}

func (b *bucket) add(i int32, s *statement) {
	if s.notAction || len(s.actions) == 0 || len(s.actions) > maxPlaces {
		b.other = append(b.other, i)
		return
	}
	for j := range s.actions {
		a := &s.actions[j]
		service := actionService(a.text)
		switch {
		case a.form == formExact:
			put(&b.actions, a.text, i)
		case a.form == formAny || service == "" || firstWildcard(service) < len(service):
			if n := len(b.other); n == 0 || b.other[n-1] != i {
				b.other = append(b.other, i)
			}
		default:
			put(&b.services, service, i)
		}
	}
}

// actionService gives what stands before the colon of an action.
func actionService(action string) string {
	for i := range len(action) {
		if action[i] == ':' {
			return action[:i]
		}
	}
	return ""
}

// put appends i to the list under key, once.
func put(m *map[string][]int32, key string, i int32) {
	if *m == nil {
		*m = map[string][]int32{}
	}
	list := (*m)[key]
	if n := len(list); n == 0 || list[n-1] != i {
		(*m)[key] = append(list, i)
	}
}

// candidates are the lists of an index that are about one request.
type candidates [6][]int32

// find gives the statements that may match an action, in lower case, on a resource
// with a head.
func (x *index) find(action []byte, head string) (c candidates) {
	x.other.find(action, c[:3])
	if x.heads != nil {
		if b := x.heads[head]; b != nil {
			b.find(action, c[3:])
		}
	}
	return c
}

func (b *bucket) find(action []byte, c [][]int32) {
	c[0] = b.other
	if b.actions != nil {
		c[1] = b.actions[string(action)]
	}
	if b.services != nil {
		for i, char := range action {
			if char == ':' {
				c[2] = b.services[string(action[:i])]
				break
			}
		}
	}
}
