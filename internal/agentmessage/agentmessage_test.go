package agentmessage_test

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/agentmessage"
)

func TestRoundTrip(t *testing.T) {
	m := &agentmessage.Message{Type: agentmessage.Output, Created: time.UnixMilli(1_800_000_000_123), Sequence: 7, Flags: 3,
		ID: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, PayloadType: agentmessage.Data, Payload: []byte("hello")}
	b := m.Append(nil)
	if len(b) != 125 || hex.EncodeToString(b[:8]) != "00000074"+"6f757470" || hex.EncodeToString(b[64:80]) != "08090a0b0c0d0e0f0001020304050607" {
		t.Errorf("%d bytes: %x", len(b), b)
	}
	again, err := agentmessage.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if again.Type != m.Type || !again.Created.Equal(m.Created) || again.Sequence != 7 || again.Flags != 3 || again.ID != m.ID || again.PayloadType != 1 || string(again.Payload) != "hello" || again.Schema != 1 {
		t.Errorf("got %+v", again)
	}
	if got := again.UUID(); got != "00010203-0405-0607-0809-0a0b0c0d0e0f" {
		t.Errorf("the id is %s", got)
	}
}

func TestParse(t *testing.T) {
	good := (&agentmessage.Message{Type: agentmessage.Input, Payload: []byte("hello")}).Append(nil)
	for name, f := range map[string]func([]byte) []byte{
		"empty":           func([]byte) []byte { return nil },
		"cut":             func(b []byte) []byte { return b[:len(b)-1] },
		"a header's part": func(b []byte) []byte { return b[:100] },
		"more than said":  func(b []byte) []byte { return append(b, 'x') },
		"other payload":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"other header":    func(b []byte) []byte { b[3]++; return b },
		"no type":         func(b []byte) []byte { copy(b[4:36], bytes.Repeat([]byte{' '}, 32)); return b },
	} {
		if m, err := agentmessage.Parse(f(bytes.Clone(good))); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&agentmessage.Message{Type: agentmessage.Input, Payload: []byte("hello")}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := agentmessage.Parse(b)
		if err != nil {
			return
		}
		again, err := agentmessage.Parse(m.Append(nil))
		if err != nil || again.Type != m.Type || !bytes.Equal(again.Payload, m.Payload) {
			t.Errorf("%+v became %+v: %v", m, again, err)
		}
	})
}
