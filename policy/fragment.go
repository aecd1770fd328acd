package policy

import (
	"iter"
	"math"
	"math/bits"
	"slices"
)

// A fragmentIndex finds resource patterns by their fixed text. Of each pattern it
// knows one fragment, a few bytes in a row that stand in every ARN that the pattern
// matches, and has chosen the one that the fewest other patterns have:
//
//	arn:aws:s3:::bucket-0001/*                  et-0001/
//	arn:aws:s3:::bucket-0002/*                  et-0002/
//	arn:aws:s3:::${aws:username}/archive/*      archive/
//	arn:aws:s3:::*-0001                         0001
//
// Going over an ARN once, from left to right, it sees all fragments of that ARN;
// the patterns whose fragment comes by are the only ones that can match. It costs
// the same for ten patterns as for ten thousand.
type fragmentIndex struct {
	width    int        // of a fragment
	from, to int        // where in an ARN fragments begin and end
	entries  []fragment // by hash
	lists    []int32    // where in entries the hashes begin that have the same upper bits
	filter   []uint64   // a bit for every hash that occurs, by its upper bits and three more
	shift    uint8      // leaves the upper bits of a hash
}

// A fragment is the fragment of one pattern.
type fragment struct {
	tag     uint32 // of its hash
	pattern int32
}

// Fragments are of eight bytes or, of patterns that have no rare eight bytes in a row, of four.
const (
	longFragment  = 8
	shortFragment = 4
)

// hashFragment gives the hash of the fragment that stands in the upper bytes of window.
func hashFragment(window uint64, width int) uint64 {
	return window >> ((64 - 8*width) & 63) * 0x9E3779B97F4A7C15
}

// fragmentTag is the part of a hash that an index keeps.
func fragmentTag(hash uint64) uint32 { return uint32(hash >> 16) }

// may says whether some fragment may have the hash. It is wrong one time in ten.
func (x *fragmentIndex) may(hash uint64) bool {
	bit := hash >> ((x.shift - 3) & 63)
	return x.filter[bit/64]>>(bit%64)&1 != 0
}

// list gives the fragments among which those with a hash are.
func (x *fragmentIndex) list(hash uint64) []fragment {
	n := hash >> x.shift
	return x.entries[x.lists[n]:x.lists[n+1]]
}

// fragments gives the hashes of the fragments of a pattern, and where they stand:
// from the beginning, or -1 for anywhere.
func (g *Program) fragments(r *resourcePattern, width int) iter.Seq2[uint64, int] {
	return func(yield func(hash uint64, at int) bool) {
		for text, at := range g.fixed(r) {
			var window uint64
			for i := range len(text) {
				window = window>>8 | uint64(text[i])<<56
				first := i + 1 - width
				if first < 0 {
					continue
				}
				if at < 0 {
					first = -1
				}
				if !yield(hashFragment(window, width), first) {
					return
				}
			}
		}
	}
}

// A choice is the fragment that was chosen for a pattern.
type choice struct {
	pattern int32
	hash    uint64
	at      int // from the beginning, or -1 for anywhere
	count   int // how many fragments of all patterns are the same, as far as one knows by their hashes
}

// choose gives for each pattern its rarest fragment of a width. The count of a
// pattern without one is math.MaxInt.
func (g *Program) choose(patterns []int32, width int) []choice {
	size := 0
	for _, i := range patterns {
		size += len(g.resources[i].text)
	}
	counts := make([]int32, 1<<bits.Len(uint(size)))
	shift := 64 - bits.Len(uint(size))
	for _, i := range patterns {
		for hash := range g.fragments(&g.resources[i], width) {
			counts[hash>>shift]++
		}
	}
	choices := make([]choice, len(patterns))
	for j, i := range patterns {
		c := choice{pattern: i, count: math.MaxInt}
		for hash, at := range g.fragments(&g.resources[i], width) {
			if n := int(counts[hash>>shift]); n < c.count {
				c.hash, c.at, c.count = hash, at, n
			}
		}
		choices[j] = c
	}
	return choices
}

// newFragmentIndex makes an index of fragments of one width.
func (g *Program) newFragmentIndex(width int, choices []choice) fragmentIndex {
	x := fragmentIndex{width: width}
	if len(choices) == 0 {
		return x
	}
	x.from = math.MaxInt
	for _, c := range choices {
		if c.at >= 0 {
			x.from, x.to = min(x.from, c.at), max(x.to, c.at+width)
		} else {
			x.from, x.to = min(x.from, int(g.resources[c.pattern].literal)), math.MaxInt
		}
	}

	// The lists are laid out one after the other: first where they end, then, filled
	// from the end, where they begin.
	x.shift = uint8(64 - bits.Len(uint(len(choices))))
	x.lists = make([]int32, 1<<(64-x.shift)+1)
	x.filter = make([]uint64, 1<<(64-x.shift+3)/64+1)
	for _, c := range choices {
		bit := c.hash >> (x.shift - 3)
		x.filter[bit/64] |= 1 << (bit % 64)
		x.lists[c.hash>>x.shift]++
	}
	for n := 1; n < len(x.lists); n++ {
		x.lists[n] += x.lists[n-1]
	}
	x.entries = make([]fragment, len(choices))
	for _, c := range slices.Backward(choices) {
		list := &x.lists[c.hash>>x.shift]
		*list--
		x.entries[*list] = fragment{fragmentTag(c.hash), c.pattern}
	}
	return x
}
