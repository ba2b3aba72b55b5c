package deliver

import "github.com/patchbay/patchbay"

// LaneStates counts lanes by what they are doing; each is counted once, as the first of these that fits it.
type LaneStates struct {
	// Held are paused or disabled. Open wait for their breaker, Probing try whether it may close. Throttled wait because
	// the partner or their rate says so. Failing had a failure last. Working have something to send, Idle have not.
	Held, Open, Probing, Throttled, Failing, Working, Idle int
}

// LaneStates says what the lanes are doing.
func (e *Engine) LaneStates() LaneStates {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	var out LaneStates
	for _, l := range e.lanes {
		switch {
		case l.link.holds():
			out.Held++
		case l.openUntil.After(now):
			out.Open++
		case l.failures >= breakAfter:
			out.Probing++
		case l.throttled.After(now) || l.limited.After(now):
			out.Throttled++
		case l.failures > 0:
			out.Failing++
		case l.inflight > 0 || l.ready.n > 0 || !l.due.IsZero() && !l.due.After(now):
			out.Working++
		default:
			out.Idle++
		}
	}
	return out
}

// Failing returns the links whose last attempt failed.
func (e *Engine) Failing() []patchbay.LinkID {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []patchbay.LinkID
	for id, l := range e.lanes {
		if l.failures > 0 {
			out = append(out, id)
		}
	}
	return out
}
