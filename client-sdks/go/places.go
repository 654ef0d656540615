package lunasec

import "sync"

// places are the calls under way in a process: so many, and no more. What one session has of them is bounded, too, for what
// one user may have an application ask is often more than it looks like.
type places struct {
	most int

	mutex sync.Mutex
	taken int
	// The calls of each session, and those of them that are requests of their own.
	sessions, alone map[string]int
}

// holder is who takes a place.
type holder struct {
	session string
	// alone: it can share its request with nobody.
	alone bool
}

func newPlaces(most int) *places {
	return &places{most: most, sessions: map[string]int{}, alone: map[string]int{}}
}

// take a place for one caller to wait; refused where too many do.
func (p *places) take(h holder) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.taken >= p.most {
		return tooMany("%d calls are under way in this process", p.taken)
	}
	if h.session != "" {
		if held := p.sessions[h.session]; held >= max(1, p.most/sessionShare) {
			return tooMany("%d calls of one session are under way", held)
		}
		if held := p.alone[h.session]; h.alone && held >= max(1, p.most/aloneShare) {
			return tooMany("%d requests for metadata of one session are under way", held)
		}
		p.sessions[h.session]++
		if h.alone {
			p.alone[h.session]++
		}
	}
	p.taken++
	return nil
}

func (p *places) leave(h holder) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.taken--
	if h.session == "" {
		return
	}
	oneLess(p.sessions, h.session)
	if h.alone {
		oneLess(p.alone, h.session)
	}
}

func oneLess(counts map[string]int, of string) {
	if counts[of] <= 1 {
		delete(counts, of)
		return
	}
	counts[of]--
}

func tooMany(what string, count int) error {
	return failuref(overloaded, what+", which is all that may be: make fewer at once, or raise PendingCalls", count).later()
}
