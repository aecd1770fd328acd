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
//	arn:aws:s3:::${aws:username}/archive/*      /archive/
//
// Going over an ARN once, from left to right, it sees all fragments of that ARN;
// the patterns whose fragment comes by are the only ones that can match. It costs
// the same for ten patterns as for ten thousand.
type fragmentIndex struct {
	width    int        // of a fragment
	from, to int        // where in an ARN fragments begin and end
	entries  []fragment // by hash
	lists    []int32    // where in entries the hashes begin that have the same upper bits
	shift    uint8      // leaves the upper bits of a hash
}

// A fragment is the fragment of one pattern.
type fragment struct {
	tag     uint32 // of its hash
	pattern int32
}

// Fragments are of eight bytes or, if a pattern has no eight bytes in a row, of four.
const (
	longFragment  = 8
	shortFragment = 4
)

// hashFragment takes the last bytes that were read, the latest on top.
func hashFragment(window uint64, width int) uint64 {
	return window >> (64 - 8*width) * 0x9E3779B97F4A7C15
}

// fragmentTag is the part of a hash that an index keeps.
func fragmentTag(hash uint64) uint32 { return uint32(hash >> 16) }

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

// newFragmentIndex makes an index of patterns of the program, each of which has a
// fragment of that width.
func (g *Program) newFragmentIndex(width int, patterns []int32) fragmentIndex {
	x := fragmentIndex{width: width}
	if len(patterns) == 0 {
		return x
	}

	// How often a fragment occurs is counted by its hash, which is near enough.
	size := 0
	for _, i := range patterns {
		size += len(g.resources[i].text)
	}
	counts := make([]uint16, 1<<bits.Len(uint(size)))
	shift := 64 - bits.Len(uint(size))
	for _, i := range patterns {
		for h := range g.fragments(&g.resources[i], width) {
			counts[h>>shift] = min(counts[h>>shift], 1<<16-2) + 1
		}
	}

	x.shift = uint8(64 - bits.Len(uint(2*len(patterns))))
	x.lists = make([]int32, 1<<(64-x.shift)+1)
	x.from = math.MaxInt
	chosen := make([]uint64, len(patterns))
	for j, i := range patterns {
		least, place := uint16(1<<16-1), 0
		for h, at := range g.fragments(&g.resources[i], width) {
			if n := counts[h>>shift]; n < least {
				least, place, chosen[j] = n, at, h
			}
		}
		if place >= 0 {
			x.from, x.to = min(x.from, place), max(x.to, place+width)
		} else {
			x.from, x.to = min(x.from, int(g.resources[i].literal)), math.MaxInt
		}
		x.lists[chosen[j]>>x.shift]++
	}

	// The lists are laid out one after the other: first where they end, then, filled
	// from the end, where they begin.
	for h := 1; h < len(x.lists); h++ {
		x.lists[h] += x.lists[h-1]
	}
	x.entries = make([]fragment, len(patterns))
	for j, i := range slices.Backward(patterns) {
		list := &x.lists[chosen[j]>>x.shift]
		*list--
		x.entries[*list] = fragment{fragmentTag(chosen[j]), i}
	}
	return x
}
