package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// A tree and a map that get the same random changes are always the same, and
// a tree that others were derived from does not change.
func TestTreeIsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type kept struct {
		tree *tree
		want map[string]int64
	}
	var past []kept
	now, want := newTree(), map[string]int64{}
	for step := range int64(20_000) {
		key := fmt.Sprint(r.IntN(500))
		if r.IntN(3) == 0 {
			now.delete(key)
			delete(want, key)
		} else {
			now.put(&entry{key: key, hash: hash(key), revision: step})
			want[key] = step
		}
		if step%1000 == 0 {
			past = append(past, kept{now, maps.Clone(want)})
			now = now.derive()
		}
	}
	past = append(past, kept{now, want})
	for i, p := range past {
		var walked []string
		p.tree.walk("", "", func(e *entry) bool { walked = append(walked, e.key); return true })
		if !slices.Equal(walked, slices.Sorted(maps.Keys(p.want))) {
			t.Fatalf("tree %d: a walk gives %d keys, want %d", i, len(walked), len(p.want))
		}
		for k := range 500 {
			key := fmt.Sprint(k)
			revision, ok := p.want[key]
			if e := p.tree.find(key); (e != nil) != ok || ok && e.revision != revision {
				t.Fatalf("tree %d: find(%s) = %+v, want %d, %t", i, key, e, revision, ok)
			}
		}
	}
}

// Keys whose hashes are equal, in all bits or in all but the last, are still
// told apart.
func TestEqualHashes(t *testing.T) {
	const same = 0x0123456789abcdef
	hashes := map[string]uint64{"a": same, "b": same, "c": same, "d": same ^ 1<<63, "e": same ^ 1<<60}
	ed := new(edit)
	var root *node
	for _, key := range slices.Sorted(maps.Keys(hashes)) {
		root = root.put(ed, &entry{key: key, hash: hashes[key]}, 0)
	}
	root = root.put(ed, &entry{key: "b", hash: same, revision: 7}, 0)
	for key, h := range hashes {
		if e := root.find(key, h); e == nil || e.key != key {
			t.Errorf("find(%s) = %+v", key, e)
		}
	}
	if e := root.find("b", same); e.revision != 7 {
		t.Errorf("b put twice has revision %d, want that of the last, 7", e.revision)
	}
	if e := root.find("z", same); e != nil {
		t.Errorf("find of an absent key with the same hash = %+v", e)
	}
	for key, h := range hashes {
		root = root.delete(new(edit), key, h, 0)
		if e := root.find(key, h); e != nil {
			t.Errorf("%s is there after its deletion", key)
		}
	}
	if root != nil {
		t.Errorf("a trie without entries is %+v, want nil", root)
	}
}
