package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/identity"
)

// Notices are what product providers are told, where AWS publishes to a topic: a line
// of JSON each, in the form in which Amazon SNS delivers it, in the provider's file.
type notices struct {
	files map[string]string // by account

	mu sync.Mutex // one line after the other
}

func noticeFiles(providers []iam.Provider) map[string]string {
	files := map[string]string{}
	for _, p := range providers {
		if p.Notifications != "" {
			files[p.Account] = p.Notifications
		}
	}
	return files
}

// write returns when the message is on the disk. A provider without a file is told nothing.
func (n *notices) write(account, topic string, message identity.Secret) (err error) {
	path := n.files[account]
	if path == "" {
		return nil
	}
	var id [16]byte
	rand.Read(id[:])
	line, err := json.Marshal(map[string]string{
		"Type": "Notification", "MessageId": hex.EncodeToString(id[:]), "TopicArn": topic,
		"Message": message.Reveal(), "Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) // there are tokens in it
	if err != nil {
		return fmt.Errorf("telling product provider %s: %w", account, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("telling product provider %s: %w", account, err)
	}
	return f.Sync()
}
