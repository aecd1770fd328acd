package policy

import (
	"encoding/binary"
	"slices"
)

// A Program is a compiled policy. It does not change and may be used by many
// goroutines at once.
//
// To answer a request it looks at few of its statements. The actions of all of them
// are in one index. What is found there is a class: the statements that have the
// pattern. Within a class another index leads to the patterns of resources that
// have some text in common with the request's resource. Statements that are found
// in this way are about the action and the resource; only their principals and
// conditions are left to be asked.
//
// A Program keeps its Policy and shares its texts. It needs some 250 bytes more for
// a statement with two actions, two resources and two conditions, and the Policy
// itself 600 beside its text.
type Program struct {
	policy     *Policy
	statements []statement
	names      []name            // of Principal and NotPrincipal elements
	resources  []resourcePattern // of Resource and NotResource elements
	variables  []pattern         // of resources
	conditions []int32           // of Condition elements, as numbers of tests
	tests      []condition       // each condition once, whatever statements have it
	principals bool              // some statement has a Principal or NotPrincipal

	actions  actionIndex   // of Action elements
	spared   []actionIndex // of each NotAction element
	classes  []class
	anything class // the statements without Action: those with NotAction
}

// A statement is a compiled Statement; its parts are in the lists of the program.
type statement struct {
	names, resources, conditions span
	deny                         bool
	named                        bool // there is a Principal or NotPrincipal
	notPrincipal                 bool
	noAction                     bool // there is neither Action nor NotAction
	noResource                   bool // there is neither Resource nor NotResource
	notResource                  bool
	variables                    bool  // some resource has variables, or tries to
	spared                       int32 // NotAction: the index of the actions that are left out; else -1
}

// A class is a set of statements that some action patterns have in common.
type class struct {
	statements []int32        // in the order of the policy
	index      *resourceIndex // nil when it is as well to ask one statement after the other
}

// A resourceIndex finds those statements of a class that are about a resource.
type resourceIndex struct {
	others      []int32 // statements that must always be asked
	long, short fragmentIndex
}

// Compile makes a program of a policy. It never fails: what cannot be evaluated
// works against the caller, as the package comment says.
func Compile(p *Policy) *Program {
	g := &Program{policy: p, statements: make([]statement, len(p.Statements))}
	names, resources, conditions := 0, 0, 0
	for i := range p.Statements {
		s := &p.Statements[i]
		names += len(s.Principal) + len(s.NotPrincipal)
		resources += len(s.Resource) + len(s.NotResource)
		conditions += len(s.Condition)
	}
	g.names = make([]name, 0, names)
	g.resources = make([]resourcePattern, 0, resources)
	g.conditions = make([]int32, 0, conditions)

	variables := p.Version == "2012-10-17"
	tests := map[string]int32{}
	for i := range p.Statements {
		src, s := &p.Statements[i], &g.statements[i]
		s.deny = src.Effect != "Allow"
		s.named = src.Principal != nil || src.NotPrincipal != nil
		s.notPrincipal = src.NotPrincipal != nil
		s.noAction = src.Action == nil && src.NotAction == nil
		s.noResource = src.Resource == nil && src.NotResource == nil
		s.notResource = src.NotResource != nil
		g.principals = g.principals || s.named

		s.names.from = int32(len(g.names))
		g.names = appendNames(g.names, src.Principal)
		g.names = appendNames(g.names, src.NotPrincipal)
		s.names.to = int32(len(g.names))

		s.resources.from = int32(len(g.resources))
		for _, list := range [][]string{src.Resource, src.NotResource} {
			for _, text := range list {
				r, rest := newResourcePattern(text, variables)
				r.statement = int32(i)
				s.variables = s.variables || r.form >= formVariables
				if r.form == formVariables || r.form == formPartsVariables {
					r.variables = int32(len(g.variables))
					g.variables = append(g.variables, rest)
				}
				g.resources = append(g.resources, r)
			}
		}
		s.resources.to = int32(len(g.resources))

		s.conditions.from = int32(len(g.conditions))
		for j := range src.Condition {
			c := &src.Condition[j]
			if c.empty() {
				continue
			}
			key := conditionKey(c)
			test, ok := tests[key]
			if !ok {
				test = int32(len(g.tests))
				tests[key] = test
				g.tests = append(g.tests, compileCondition(c, variables))
			}
			g.conditions = append(g.conditions, test)
		}
		s.conditions.to = int32(len(g.conditions))
	}
	g.variables, g.tests = slices.Clip(g.variables), slices.Clip(g.tests)
	g.classify()
	return g
}

// Policy gives the policy that the program was made of.
func (g *Program) Policy() *Policy { return g.policy }

// conditionKey gives a text that only equal conditions have.
func conditionKey(c *Condition) string {
	key := make([]byte, 0, 128)
	for _, text := range append([]string{c.Operator, c.Key}, c.Values...) {
		key = binary.AppendUvarint(key, uint64(len(text)))
		key = append(key, text...)
	}
	return string(key)
}

// classify makes the indexes.
func (g *Program) classify() {
	var patterns []actionPattern
	var having [][]int32 // for each pattern the statements that have it
	number := map[string]int32{}
	for i := range g.statements {
		src, s := &g.policy.Statements[i], &g.statements[i]
		s.spared = -1
		switch {
		case src.NotAction != nil:
			s.spared = int32(len(g.spared))
			g.spared = append(g.spared, newActionIndex(distinct(src.NotAction)))
			g.anything.statements = append(g.anything.statements, int32(i))
		case src.Action == nil && s.deny:
			g.anything.statements = append(g.anything.statements, int32(i))
		default:
			for _, p := range distinct(src.Action) {
				n, ok := number[p.text]
				if !ok {
					n = int32(len(patterns))
					number[p.text] = n
					patterns = append(patterns, p)
					having = append(having, nil)
				}
				having[n] = append(having[n], int32(i))
			}
		}
	}

	// Patterns that the same statements have share a class.
	room := maxIndexed(len(g.resources))
	number = map[string]int32{}
	for n, list := range having {
		key := make([]byte, 0, 64)
		for _, i := range list {
			key = binary.LittleEndian.AppendUint32(key, uint32(i))
		}
		c, ok := number[string(key)]
		if !ok {
			c = int32(len(g.classes))
			number[string(key)] = c
			g.classes = append(g.classes, class{list, g.newResourceIndex(list, &room)})
		}
		patterns[n].class = c
	}
	g.actions = newActionIndex(patterns)
	g.anything.index = g.newResourceIndex(g.anything.statements, &room)
}

// distinct gives the patterns of a list of actions, each once.
func distinct(actions []string) []actionPattern {
	patterns := make([]actionPattern, 0, len(actions))
	seen := make(map[string]bool, len(actions))
	for _, a := range actions {
		if a = lowered(a); !seen[a] {
			seen[a] = true
			patterns = append(patterns, actionPattern{text: a})
		}
	}
	return patterns
}

// A class of fewer patterns than minIndexed is as soon asked as looked up.
const minIndexed = 5

// maxIndexed bounds how many patterns of resources stand in indexes. A pattern stands
// in one for each class of its statement, which is seldom more than one, and could
// be very many.
func maxIndexed(patterns int) int { return 4 * patterns }

// newResourceIndex makes the index of a class. It gives nil if there should be
// none; room is how many patterns may still be put in indexes.
func (g *Program) newResourceIndex(statements []int32, room *int) *resourceIndex {
	var others, patterns []int32
	for _, i := range statements {
		s := &g.statements[i]
		before := len(patterns)
		indexed := !s.noResource && !s.notResource
		for r := s.resources.from; r < s.resources.to && indexed; r++ {
			patterns = append(patterns, r)
			indexed = g.hasFragment(&g.resources[r])
		}
		if !indexed {
			patterns = patterns[:before]
			others = append(others, i)
		}
		if len(patterns) > *room {
			return nil
		}
	}
	if len(patterns) < minIndexed {
		return nil
	}
	*room -= len(patterns)

	var long, short []choice
	shorter := g.choose(patterns, shortFragment)
	for i, c := range g.choose(patterns, longFragment) {
		if c.count/2 <= shorter[i].count {
			long = append(long, c)
		} else {
			short = append(short, shorter[i])
		}
	}
	return &resourceIndex{others, g.newFragmentIndex(longFragment, long), g.newFragmentIndex(shortFragment, short)}
}

// hasFragment says whether a pattern has a fragment at all.
func (g *Program) hasFragment(r *resourcePattern) bool {
	for range g.fragments(r, shortFragment) {
		return true
	}
	return false
}
