package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"sync"
)

// sum is HMAC-SHA256.
func sum(key, message []byte) (out [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(out[:0])
	return out
}

// deriveKey makes the key that signs all requests of one day, region and service.
func deriveKey(secret, date, region, service string) [sha256.Size]byte {
	k := sum([]byte("AWS4"+secret), []byte(date))
	k = sum(k[:], []byte(region))
	k = sum(k[:], []byte(service))
	return sum(k[:], []byte(terminator))
}

// A keyCache keeps derived keys of valid requests. It has two generations: when
// the young one is full it becomes the old one, and what was in the old one and
// has not been asked for since is forgotten.
type keyCache struct {
	mu         sync.RWMutex
	young, old map[keyName]derivedKey
}

type keyName struct{ accessKeyID, date, region, service string }

type derivedKey struct {
	secret string // what it was derived from: the same access key may get another
	key    [sha256.Size]byte
}

const maxYoungKeys = 4096

func (kc *keyCache) get(c *claim, secret string) (key [sha256.Size]byte, ok bool) {
	name := keyName{c.accessKeyID, c.date, c.region, c.service}
	kc.mu.RLock()
	d, young := kc.young[name]
	if !young {
		d, ok = kc.old[name]
	}
	kc.mu.RUnlock()
	if !young && !ok || d.secret != secret {
		return key, false
	}
	if !young {
		kc.put(c, secret, d.key)
	}
	return d.key, true
}

func (kc *keyCache) put(c *claim, secret string, key [sha256.Size]byte) {
	name := keyName{strings.Clone(c.accessKeyID), strings.Clone(c.date), strings.Clone(c.region), strings.Clone(c.service)}
	kc.mu.Lock()
	defer kc.mu.Unlock()
	if kc.young == nil || len(kc.young) >= maxYoungKeys {
		kc.young, kc.old = make(map[keyName]derivedKey), kc.young
	}
	kc.young[name] = derivedKey{secret, key}
}
