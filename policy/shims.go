package policy

func (o *operator) operand(_ *operator, value string, variables bool) (operands, bool) {
	list, bad := o.compile(o, []string{value}, variables)
	return list, !bad
}

func compileResource(s string, variables bool) struct{ bad bool } {
	r, _ := newResourcePattern(s, variables)
	return struct{ bad bool }{r.form == formBad}
}

func actionService(s string) string {
	name, _ := service(s)
	return name
}
