package lunasec

import (
	"sync"
	"time"
)

// entry is one caller's items of a list, and the caller who waits for what they come to.
type entry struct {
	units  []unit
	limits limits
	// lines of its trace.
	lines string
	// done is closed when it is over; nil where its caller makes the request by itself.
	done    chan struct{}
	results []result
	err     error

	mutex   sync.Mutex
	over    bool
	trouble *Error
	flight  *flight
}

// isOver: nobody waits any more.
func (e *entry) isOver() bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.over
}

func (e *entry) board(flight *flight) {
	e.mutex.Lock()
	e.flight = flight
	e.mutex.Unlock()
}

func (e *entry) troubled(err *Error) {
	e.mutex.Lock()
	e.trouble = err
	e.mutex.Unlock()
}

// before is what went wrong so far.
func (e *entry) before() *Error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.trouble
}

// finish answers the caller, unless it has left.
func (e *entry) finish(results []result, err error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.over {
		return
	}
	e.over, e.results, e.err = true, results, err
	if e.done != nil {
		close(e.done)
	}
}

// leave before there is an answer; false if there is one. Others that share its request are not touched.
func (e *entry) leave() bool {
	e.mutex.Lock()
	if e.over {
		e.mutex.Unlock()
		return false
	}
	e.over = true
	flight := e.flight
	e.mutex.Unlock()
	if flight != nil {
		flight.left()
	}
	return true
}

// latest is when the last of them who waits is gone.
func latest(entries []*entry) time.Time {
	var until time.Time
	for _, entry := range entries {
		if !entry.isOver() && entry.limits.until.After(until) {
			until = entry.limits.until
		}
	}
	return until
}
