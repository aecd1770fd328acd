package sigv4

import (
	"crypto/sha256"
	"strings"
	"sync"
)

// sum is HMAC-SHA256, RFC 2104. It is written out because crypto/hmac allocates
// eight times for a sum, and an uncached request needs five of them.
func sum(key, message []byte) [sha256.Size]byte {
	if len(key) > sha256.BlockSize {
		h := sha256.Sum256(key)
		key = h[:]
	}
	var space [512]byte
	inner := space[:sha256.BlockSize]
	copy(inner, key)
	for i := range inner {
		inner[i] ^= 0x36
	}
	h := sha256.Sum256(append(inner, message...))
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(outer[:], key)
	for i := range sha256.BlockSize {
		outer[i] ^= 0x5c
	}
	copy(outer[sha256.BlockSize:], h[:])
	return sha256.Sum256(outer[:])
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
