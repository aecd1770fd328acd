package policy

import (
	"bufio"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/arn"
	"golang.org/x/tools/txtar"
)

// The corpus in testdata is written for people who know AWS.
//
// evaluate-*.txtar hold sections in groups: a policy (NAME.json), then what is asked
// of it (NAME.txt). Requests are separated by empty lines; "# " begins a remark.
// Each line is a name and a value:
//
//	action:     s3:GetObject
//	resource:   arn:aws:s3:::reports/alice.csv
//	principal:  ARN of the caller; account: role: user: id: service: federated: canonical: likewise
//	bounded:    yes, when the caller has a permissions boundary
//	aws:TagKeys: [a, b]                  any other name is a condition key
//	want:       allow | deny | allow deny | nothing
//	grants:     BySelf ByAccount ...     how the caller was named
//	why:        SID: what decided about that statement, as the trace has it
//
// The part of the file before the first section says what every request has.

func TestEvaluateCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/evaluate-*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no corpus", err)
	}
	requests := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var program *Program
		for _, section := range archive.Files {
			where := filepath.Base(file) + ", " + section.Name
			if strings.HasSuffix(section.Name, ".json") {
				p, err := Parse(section.Data)
				if err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				program = Compile(p)
				continue
			}
			for _, q := range readQuestions(t, where, section.Data, readDefaults(archive.Comment)) {
				requests++
				q.ask(t, program)
			}
		}
	}
	t.Logf("%d requests", requests)
}

// A question is one request of the corpus with the answer that is expected.
type question struct {
	where   string
	request Request
	want    string
	grants  string
	why     []string
}

type line struct{ name, value string }

// readDefaults gives the lines of the head of a file that are name and value.
func readDefaults(head []byte) []line {
	var lines []line
	for s := range strings.Lines(string(head)) {
		if rest, ok := strings.CutPrefix(s, "every "); ok {
			name, value, _ := strings.Cut(strings.TrimSpace(rest), ": ")
			lines = append(lines, line{name, strings.TrimSpace(value)})
		}
	}
	return lines
}

func readQuestions(t *testing.T, where string, data []byte, defaults []line) []question {
	t.Helper()
	var questions []question
	var lines []line
	start := 0
	finish := func() {
		if len(lines) > 0 {
			q := makeQuestion(t, fmt.Sprintf("%s, line %d", where, start), append(slices.Clone(defaults), lines...))
			questions = append(questions, q)
			lines = nil
		}
	}
	scanner := bufio.NewScanner(strings.NewReader(string(data)))
	for n := 1; scanner.Scan(); n++ {
		s := strings.TrimSpace(scanner.Text())
		switch {
		case s == "":
			finish()
			continue
		case strings.HasPrefix(s, "#"):
			continue
		}
		name, value, ok := strings.Cut(s, ": ")
		if !ok {
			if name, ok = strings.CutSuffix(s, ":"); !ok {
				t.Fatalf("%s, line %d: %q is not a name and a value", where, n, s)
			}
		}
		if len(lines) == 0 {
			start = n
		}
		lines = append(lines, line{name, strings.TrimSpace(value)})
	}
	finish()
	return questions
}

func makeQuestion(t *testing.T, where string, lines []line) question {
	t.Helper()
	q := question{where: where}
	keys := Keys{}
	p := &q.request.Principal
	for _, l := range lines {
		switch l.name {
		case "action":
			q.request.Action = Action(l.value)
		case "resource":
			q.request.Resource = arn.ARN(l.value)
		case "bounded":
			q.request.Bounded = l.value == "yes"
		case "principal":
			p.ARN = arn.ARN(l.value)
			p.Account = p.ARN.Account()
		case "account":
			p.Account = l.value
		case "role":
			p.Role = arn.ARN(l.value)
		case "user":
			p.User = arn.ARN(l.value)
		case "id":
			p.ID = l.value
		case "service":
			p.Service = l.value
		case "federated":
			p.Federated = l.value
		case "canonical":
			p.CanonicalID = l.value
		case "want":
			q.want = l.value
		case "grants":
			q.grants = l.value
		case "why":
			q.why = append(q.why, l.value)
		default:
			key := strings.ToLower(l.name)
			if list, ok := strings.CutPrefix(l.value, "["); ok {
				list, ok = strings.CutSuffix(list, "]")
				if !ok {
					t.Fatalf("%s: list without end: %s", where, l.value)
				}
				var values []string
				if list != "" {
					values = strings.Split(list, ", ")
				}
				keys[key] = List(values)
			} else {
				keys[key] = String(strings.Trim(l.value, `"`))
			}
		}
	}
	q.request.Context = keys
	return q
}

func (q *question) ask(t *testing.T, g *Program) {
	t.Helper()
	decided := g.Evaluate(&q.request, nil)
	var trace Trace
	explained := g.Evaluate(&q.request, &trace)
	if decided != explained {
		t.Errorf("%s: with a trace the answer is another: %+v, %+v", q.where, decided, explained)
	}
	var got []string
	if decided.Allowed {
		got = append(got, "allow")
	}
	if decided.Denied {
		got = append(got, "deny")
	}
	if got := cmp.Or(strings.Join(got, " "), "nothing"); got != q.want {
		t.Errorf("%s: got %s, want %s\n%s", q.where, got, q.want, why(&trace))
	}
	if got := grantNames(decided.Grants); q.grants != "" && got != q.grants {
		t.Errorf("%s: got grants %s, want %s", q.where, got, q.grants)
	}
	if naive := naiveEvaluate(g.Policy(), &q.request); naive != decided {
		t.Errorf("%s: the naive evaluator says %+v, the compiled one %+v", q.where, naive, decided)
	}
	reasons := why(&trace)
	for _, want := range q.why {
		if !strings.Contains(reasons+"\n", want+"\n") {
			t.Errorf("%s: the trace does not say\n\t%s\nbut\n%s", q.where, want, reasons)
		}
	}
}

// why writes a trace as the corpus does, one line for each statement.
func why(t *Trace) string {
	var b strings.Builder
	for _, s := range t.Statements {
		fmt.Fprintf(&b, "\t%s: ", cmp.Or(s.Sid, fmt.Sprint(s.Index)))
		switch {
		case s.Matched && s.Note == "":
			b.WriteString("matches")
		case s.Matched:
			b.WriteString(s.Note)
		case s.Failed == "Condition" && s.Got == nil:
			fmt.Fprintf(&b, "Condition %s %s wants %s, and the key is absent", s.Operator, s.Key, strings.Join(s.Want, " or "))
		case s.Failed == "Condition":
			fmt.Fprintf(&b, "Condition %s %s wants %s, got %s", s.Operator, s.Key, strings.Join(s.Want, " or "), strings.Join(s.Got, ", "))
		default:
			fmt.Fprintf(&b, "%s wants %s, got %s", s.Failed, strings.Join(s.Want, " or "), strings.Join(s.Got, ", "))
		}
		if !s.Matched && s.Note != "" {
			b.WriteString(": " + s.Note)
		}
		b.WriteByte('\n')
	}
	if len(t.Missing) > 0 {
		fmt.Fprintf(&b, "\tmissing: %s\n", strings.Join(t.Missing, ", "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func grantNames(g Grant) string {
	var names []string
	for i, name := range []string{"BySelf", "ByRole", "ByAccount", "ByAnyone", "ByService", "ByFederated", "ByCanonicalUser", "ByNotPrincipal"} {
		if g&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return cmp.Or(strings.Join(names, " "), "none")
}

// In parse.txtar every section is a document. A line that has only a caret and a
// text is not part of it: it says that the character above the caret is where
// Parse finds that fault. A section without a caret is a policy.
func TestParseCorpus(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/parse.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range archive.Files {
		t.Run(section.Name, func(t *testing.T) {
			var document strings.Builder
			want := ""
			n := 0
			for s := range strings.Lines(string(section.Data)) {
				if at, msg, ok := strings.Cut(s, "^ "); ok && strings.TrimSpace(at) == "" {
					want = fmt.Sprintf("policy: line %d, column %d: %s", n, len(at)+1, strings.TrimSpace(msg))
					continue
				}
				document.WriteString(s)
				n++
			}
			p, err := Parse([]byte(document.String()))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", cmp.Or(got, "a policy"), cmp.Or(want, "a policy"))
			}
			if p == nil {
				return
			}
			again, err := Parse([]byte(p.String()))
			if err != nil || again.String() != p.String() {
				t.Errorf("printed as %s, which is read as %v, %v", p, again, err)
			}
		})
	}
}

// In check-KIND.txtar every section is a document, followed by a line with the
// answer: "=> ok", or AWS's text.
func TestCheckCorpus(t *testing.T) {
	for name, kind := range map[string]Kind{"identity": Identity, "trust": Trust, "bucket": Resource, "scp": SCP, "rcp": RCP} {
		archive, err := txtar.ParseFile("testdata/check-" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, section := range archive.Files {
			t.Run(name+"/"+section.Name, func(t *testing.T) {
				document, want, ok := strings.Cut(string(section.Data), "\n=> ")
				if rest, empty := strings.CutPrefix(string(section.Data), "=> "); empty {
					document, want, ok = "", rest, true
				}
				if !ok {
					t.Fatal("no answer")
				}
				_, err := Check([]byte(document), kind)
				got := "ok"
				if err != nil {
					got = err.Error()
				}
				if want = strings.TrimSpace(want); got != want {
					t.Errorf("%s\ngot  %s\nwant %s", document, got, want)
				}
			})
		}
	}
}
