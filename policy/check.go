package policy

// Malformed is the refusal of a document by the service that would have stored it.
// Text is AWS's own; the error code (MalformedPolicyDocument, MalformedPolicy) is
// the service's business.
type Malformed struct {
	Text         string
	Line, Column int // where the fault is, when it has a place
}

func (e *Malformed) Error() string { return e.Text }

// Check reads a document as the service that stores policies of this kind does and
// gives the first fault, in AWS's order, as *Malformed.
func Check(src []byte, k Kind) (*Policy, error) {
	p, faults := parse(src)
	if len(faults) > 0 {
		return nil, &Malformed{Text: "Syntax errors in policy.", Line: faults[0].Line, Column: faults[0].Column}
	}
	return p, nil
}
