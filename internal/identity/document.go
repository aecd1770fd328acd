package identity

import (
	"runtime"
	"sync"
	"weak"

	"github.com/iamd-dev/iamd/policy"
)

// A Document is a policy document as it was written, with its compiled program.
// Documents of the same text are one: a policy that hangs on ten thousand roles
// is parsed and compiled once, when it is first asked. The zero value is no
// document.
type Document struct{ d *document }

type document struct {
	text    string
	once    sync.Once
	parsed  *policy.Policy
	program *policy.Program
}

var documents = struct {
	sync.Mutex
	byText map[string]weak.Pointer[document]
}{byText: map[string]weak.Pointer[document]{}}

// NewDocument returns the document of a text; "" is the zero Document. The text
// has been checked by whoever accepted it; a text that does not parse makes a
// document that denies everything.
func NewDocument(text string) Document {
	if text == "" {
		return Document{}
	}
	documents.Lock()
	defer documents.Unlock()
	if d := documents.byText[text].Value(); d != nil {
		return Document{d}
	}
	d := &document{text: text}
	documents.byText[text] = weak.Make(d)
	runtime.AddCleanup(d, forget, text)
	return Document{d}
}

func forget(text string) {
	documents.Lock()
	defer documents.Unlock()
	if documents.byText[text].Value() == nil { // not made again meanwhile
		delete(documents.byText, text)
	}
}

// Broken stands for a policy that should be there and is not: it denies everything.
func Broken() Document { return NewDocument(broken) }

const broken = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`

func (d *document) compile() {
	d.once.Do(func() {
		p, err := policy.Parse([]byte(d.text))
		if err != nil {
			if p, err = policy.Parse([]byte(broken)); err != nil {
				panic(err)
			}
		}
		d.parsed, d.program = p, policy.Compile(p)
	})
}

// IsZero reports whether there is no document.
func (d Document) IsZero() bool { return d.d == nil }

// String returns the text as it was written.
func (d Document) String() string {
	if d.d == nil {
		return ""
	}
	return d.d.text
}

// Policy returns the parsed document; not for the zero Document.
func (d Document) Policy() *policy.Policy { d.d.compile(); return d.d.parsed }

// Program returns the compiled document; not for the zero Document.
func (d Document) Program() *policy.Program { d.d.compile(); return d.d.program }

// MarshalText gives the text, so that a document is a string in JSON.
func (d Document) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Document) UnmarshalText(b []byte) error {
	*d = NewDocument(string(b))
	return nil
}
