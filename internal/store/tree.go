package store

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"

	"github.com/google/btree"
)

// A tree is the entries of one table, in two forms: in key order for walks,
// and by hash for find, which most reads are. Both share what has not changed
// with the trees that they were derived from, so a change of one key copies a
// path and not the table. A tree inside a snapshot never changes.
type tree struct {
	order *btree.BTreeG[*entry]
	root  *node // nil when empty
	edit  *edit // what this tree may change in place
}

// An edit marks the nodes that were made for a tree which nobody else can see
// yet. It must not have size zero: its address is what counts.
type edit struct{ _ byte }

func newTree() *tree {
	return &tree{
		order: btree.NewG(32, func(a, b *entry) bool { return a.key < b.key }),
		edit:  new(edit),
	}
}

// derive returns a tree that can be changed without changing t.
func (t *tree) derive() *tree {
	return &tree{order: t.order.Clone(), root: t.root, edit: new(edit)}
}

func (t *tree) put(e *entry) {
	t.order.ReplaceOrInsert(e)
	t.root = t.root.put(t.edit, e, 0)
}

func (t *tree) delete(key string) {
	if _, ok := t.order.Delete(&entry{key: key}); ok {
		t.root = t.root.delete(t.edit, key, hash(key), 0)
	}
}

func (t *tree) walk(prefix, after string, yield func(*entry) bool) {
	t.order.AscendGreaterOrEqual(&entry{key: max(prefix, after)}, func(e *entry) bool {
		if !strings.HasPrefix(e.key, prefix) {
			return false
		}
		if after != "" && e.key == after {
			return true
		}
		return yield(e)
	})
}

// A node of the hash trie stands for the hashes with one beginning. Five bits
// of the hash choose a slot: an entry, or a node for those who share the bits.
// Slots that would be empty are left out; the bitmap says which are there.
// When the 64 bits are used up, a node is a plain list of its entries.
type node struct {
	edit  *edit
	used  uint32
	slots []slot
}

// A slot has one of the two.
type slot struct {
	entry *entry
	node  *node
}

var seed = maphash.MakeSeed()

func hash(key string) uint64 { return maphash.String(seed, key) }

// find returns the entry of a key. It does not allocate.
func (t *tree) find(key string) *entry { return t.root.find(key, hash(key)) }

func (n *node) find(key string, h uint64) *entry {
	for shift := 0; n != nil; shift += 5 {
		if shift > 64 {
			if i := n.search(key); i >= 0 {
				return n.slots[i].entry
			}
			return nil
		}
		bit := uint32(1) << (h >> shift & 31)
		if n.used&bit == 0 {
			return nil
		}
		s := &n.slots[bits.OnesCount32(n.used&(bit-1))]
		if s.entry != nil {
			if s.entry.key == key {
				return s.entry
			}
			return nil
		}
		n = s.node
	}
	return nil
}

// search finds a key in a node that is a plain list.
func (n *node) search(key string) int {
	return slices.IndexFunc(n.slots, func(s slot) bool { return s.entry.key == key })
}

// own returns n itself if it was made for the edit, and a copy otherwise.
func (n *node) own(ed *edit) *node {
	if n.edit == ed {
		return n
	}
	return &node{ed, n.used, slices.Clone(n.slots)}
}

// put returns n with the entry; n may be nil.
func (n *node) put(ed *edit, e *entry, shift int) *node {
	if n == nil {
		n = &node{edit: ed}
	} else {
		n = n.own(ed)
	}
	if shift > 64 {
		if i := n.search(e.key); i >= 0 {
			n.slots[i].entry = e
		} else {
			n.slots = append(n.slots, slot{entry: e})
		}
		return n
	}
	bit := uint32(1) << (e.hash >> shift & 31)
	i := bits.OnesCount32(n.used & (bit - 1))
	if n.used&bit == 0 {
		n.used |= bit
		n.slots = slices.Insert(n.slots, i, slot{entry: e})
		return n
	}
	s := &n.slots[i]
	switch {
	case s.node != nil:
		s.node = s.node.put(ed, e, shift+5)
	case s.entry.key == e.key:
		s.entry = e
	default:
		var below *node
		below = below.put(ed, s.entry, shift+5)
		*s = slot{node: below.put(ed, e, shift+5)}
	}
	return n
}

// delete returns n without the key, which it has; nil when nothing is left.
func (n *node) delete(ed *edit, key string, h uint64, shift int) *node {
	i, bit := 0, uint32(0)
	if shift > 64 {
		i = n.search(key)
	} else {
		bit = uint32(1) << (h >> shift & 31)
		i = bits.OnesCount32(n.used & (bit - 1))
	}
	n = n.own(ed)
	if below := n.slots[i].node; below != nil {
		if below = below.delete(ed, key, h, shift+5); below != nil {
			n.slots[i].node = below
			return n
		}
	}
	n.used &^= bit
	n.slots = slices.Delete(n.slots, i, i+1)
	if len(n.slots) == 0 {
		return nil
	}
	return n
}
