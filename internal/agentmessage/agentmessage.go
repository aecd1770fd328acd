// Package agentmessage is the binary form of what travels in the channels of Session
// Manager between its clients, the service and the agents: a header of fixed size and a
// payload.
//
//	m := &agentmessage.Message{Type: agentmessage.Output, Sequence: 3, PayloadType: agentmessage.Data, Payload: text}
//	b := m.Append(nil)
//	again, err := agentmessage.Parse(b)
//
// The form is that of agent/session/contracts/agentmessage.go of amazon-ssm-agent, and
// numbers are big-endian:
//
//	header length 4, type 32 (filled up with spaces), schema version 4, created 8 (milliseconds),
//	sequence 8, flags 8, id 16 (its halves exchanged), SHA-256 of the payload 32, payload type 4,
//	payload length 4, payload
package agentmessage

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Types of messages.
const (
	Output          = "output_stream_data" // from the agent
	Input           = "input_stream_data"  // from the client
	Acknowledge     = "acknowledge"
	ChannelClosed   = "channel_closed"
	StartSession    = "interactive_shell"   // to the agent, on its control channel
	SessionComplete = "agent_task_complete" // from the agent, on its control channel
)

// Types of the payload of a stream's message.
const (
	Data              = 1
	Size              = 3
	HandshakeRequest  = 5
	HandshakeResponse = 6
	HandshakeComplete = 7
	Flag              = 10
)

// TerminateSession is the payload of a Flag with which a client ends its session.
const TerminateSession = 2

const (
	headerLength = 116 // up to the payload's length, which is not counted
	payloadAt    = headerLength + 4
	typeLength   = 32
)

// A Message is one message. Append makes up ID and Created where they are zero.
type Message struct {
	Type        string
	Schema      uint32
	Created     time.Time
	Sequence    int64
	Flags       uint64
	ID          [16]byte
	PayloadType uint32
	Payload     []byte
}

// Append appends the message in its binary form.
func (m *Message) Append(b []byte) []byte {
	if len(m.Type) > typeLength {
		panic("agentmessage: the type " + m.Type + " is too long")
	}
	if m.ID == [16]byte{} {
		rand.Read(m.ID[:])
		m.ID[6], m.ID[8] = m.ID[6]&0x0f|0x40, m.ID[8]&0x3f|0x80
	}
	if m.Created.IsZero() {
		m.Created = time.Now()
	}
	if m.Schema == 0 {
		m.Schema = 1
	}
	b = binary.BigEndian.AppendUint32(b, headerLength)
	b = append(b, m.Type+strings.Repeat(" ", typeLength-len(m.Type))...)
	b = binary.BigEndian.AppendUint32(b, m.Schema)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Created.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Sequence))
	b = binary.BigEndian.AppendUint64(b, m.Flags)
	b = append(append(b, m.ID[8:]...), m.ID[:8]...)
	digest := sha256.Sum256(m.Payload)
	b = append(b, digest[:]...)
	b = binary.BigEndian.AppendUint32(b, m.PayloadType)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Payload)))
	return append(b, m.Payload...)
}

// Parse reads a message. The payload is a part of b. A payload that is not what its
// digest says is an error.
func Parse(b []byte) (*Message, error) {
	if len(b) < payloadAt {
		return nil, errors.New("agentmessage: shorter than a header")
	}
	if n := binary.BigEndian.Uint32(b); n != headerLength {
		return nil, fmt.Errorf("agentmessage: a header of %d bytes", n)
	}
	m := &Message{
		Type:        strings.TrimSpace(string(bytes.Trim(b[4:36], "\x00"))),
		Schema:      binary.BigEndian.Uint32(b[36:]),
		Created:     time.UnixMilli(int64(binary.BigEndian.Uint64(b[40:]))),
		Sequence:    int64(binary.BigEndian.Uint64(b[48:])),
		Flags:       binary.BigEndian.Uint64(b[56:]),
		PayloadType: binary.BigEndian.Uint32(b[112:]),
		Payload:     b[payloadAt:],
	}
	copy(m.ID[8:], b[64:72])
	copy(m.ID[:8], b[72:80])
	if n := binary.BigEndian.Uint32(b[headerLength:]); int64(n) != int64(len(m.Payload)) {
		return nil, fmt.Errorf("agentmessage: a payload of %d bytes, where %d are said", len(m.Payload), n)
	}
	if digest := sha256.Sum256(m.Payload); !bytes.Equal(digest[:], b[80:112]) {
		return nil, errors.New("agentmessage: the payload is not what its digest says")
	}
	if m.Type == "" {
		return nil, errors.New("agentmessage: there is no type")
	}
	return m, nil
}

// UUID is the message's id as it is written.
func (m *Message) UUID() string {
	b := m.ID
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// An Acknowledgement is the payload of an Acknowledge message.
type Acknowledgement struct {
	Type       string `json:"AcknowledgedMessageType"`
	ID         string `json:"AcknowledgedMessageId"`
	Sequence   int64  `json:"AcknowledgedMessageSequenceNumber"`
	Sequential bool   `json:"IsSequentialMessage"`
}
