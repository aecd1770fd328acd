package policy

// A Reference knows what actions and condition keys there are. A nil function is
// not asked.
type Reference struct {
	Action func(pattern string) bool      // does the pattern, "s3:Get*", match any action?
	Key    func(service, key string) bool // does the service, "s3", know the condition key, "s3:prefix"?
}

// A Finding is something that the author of a policy should know.
type Finding struct {
	Type         string // "ERROR", "SECURITY_WARNING", "WARNING" or "SUGGESTION"
	Code         string // "INVALID_ACTION", ...
	Text         string
	Line, Column int
}

// Validate gives the findings about a policy of some kind, in the order of the
// document. Without a reference only the form is looked at.
func (p *Policy) Validate(k Kind, ref *Reference) []Finding {
	return nil
}
