package policy

// A truth is the answer of a part of a statement. What cannot be evaluated is
// neither true nor false: it keeps an Allow statement from matching and does not
// keep a Deny statement from matching. The logic is Kleene's.
type truth uint8

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// or gives the greater: no < unknown < yes.
func (t truth) or(u truth) truth { return max(t, u) }

// and gives the lesser.
func (t truth) and(u truth) truth { return min(t, u) }

// not turns yes and no round; what is unknown stays so.
func (t truth) not() truth { return yes - t }
