package dynamodb

// KillEngine kills an engine.
func KillEngine(e *Engines, account, region string) {
	e.mu.Lock()
	x := e.running[account+"/"+region]
	e.mu.Unlock()
	<-x.ready
	x.process.Kill()
}

// What the tests of parsing need.
var (
	AttributesIn = attributesIn
	Equality     = equality
)

// ParseStatement reads a statement; it returns action, table and index.
func ParseStatement(text string) (action, table, index string, err error) {
	a, err := parseStatement(text)
	if err != nil {
		return "", "", "", err
	}
	return string(a.action), a.table, a.index, nil
}
