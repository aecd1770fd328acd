package dynamodb

import "github.com/iamd-dev/iamd/internal/aws/dynamodb/api"

// KillEngine kills an engine.
func KillEngine(e *Engines, account, region string) {
	e.mu.Lock()
	x := e.running[account+"/"+region]
	e.mu.Unlock()
	<-x.ready
	x.process.Kill()
}

// RunningEngines is how many engines run.
func RunningEngines(e *Engines) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.running)
}

// Wait waits for the restores that go on.
func Wait(s *Service) { s.work.Wait() }

// Stop has the restores end that go on, and does not wait for them.
func Stop(s *Service) { s.stop() }

// What the tests of parsing need.
var (
	AttributesIn = attributesIn
	Equality     = equality
)

// ParseStatement reads a statement; it returns action and table.
func ParseStatement(text string) (action, table string, err error) {
	a, err := parseStatement(text)
	if err != nil {
		return "", "", err
	}
	return string(a.action), a.table, nil
}

// StatementAttributes returns the attributes that a statement names.
func StatementAttributes(text string, params []api.AttributeValue) ([]string, error) {
	a, err := parseStatement(text)
	if err != nil {
		return nil, err
	}
	a.sql.params = params
	return a.attributeNames(), nil
}

// Partitions returns the values that a statement demands of the partition key.
func Partitions(text, key string, params []api.AttributeValue) ([]api.AttributeValue, bool) {
	a, err := parseStatement(text)
	if err != nil {
		return nil, false
	}
	a.sql.params = params
	return a.sql.partitions(key)
}
