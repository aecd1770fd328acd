// Package audit is being written: this first form keeps the API that the server
// needs, one JSON object a line, synced one by one.
package audit

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Record is one CloudTrail record.
type Record struct {
	Time                time.Time
	RequestID, EventID  string
	EventSource         string
	EventName           string
	Region              string
	SourceIP, UserAgent string
	Identity            UserIdentity
	ErrorCode           string
	ErrorMessage        string
	RequestParameters   json.RawMessage
	ResponseElements    json.RawMessage
	Resources           []Resource
	ReadOnly            bool
	ManagementEvent     bool
	Category            string
	RecipientAccount    string
	SharedEventID       string
}

type UserIdentity struct {
	Type, PrincipalID, ARN, AccountID, AccessKeyID, UserName, InvokedBy string
	Session                                                             *SessionContext
}

type SessionContext struct {
	Issuer         *Issuer
	CreationDate   time.Time
	MFA            bool
	SourceIdentity string
}

type Issuer struct{ Type, PrincipalID, ARN, AccountID, UserName string }

type Resource struct{ ARN, AccountID, Type string }

type Options struct{ AlwaysSync bool }

type Log struct {
	mu sync.Mutex
	f  *os.File
}

func Open(dir string, opt Options) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "cloudtrail.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &Log{f: f}, err
}

func (l *Log) Append(ctx context.Context, r *Record, durable bool) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.f.Write(append(b, '\n'))
	return err
}

func (l *Log) Healthy() error { return nil }
func (l *Log) Close() error   { return l.f.Close() }

// Decisions keeps explanations by request id.
type Decisions struct {
	mu sync.Mutex
	m  map[string]any
}

func OpenDecisions(dir string) (*Decisions, error) { return &Decisions{m: map[string]any{}}, nil }

func (d *Decisions) Keep(id string, v any) {
	d.mu.Lock()
	d.m[id] = v
	d.mu.Unlock()
}

func (d *Decisions) Recent(id string) (any, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.m[id]
	return v, ok
}
func (d *Decisions) Close() error { return nil }
