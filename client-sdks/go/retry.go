package lunasec

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// clock is time and randomness: the only ambient access, so that tests bring their own.
type clock interface {
	now() time.Time
	// random is from 0 to 1.
	random() float64
	// sleep ends with the context, too, and then gives its error.
	sleep(ctx context.Context, pause time.Duration) error
}

type systemClock struct{}

func (systemClock) now() time.Time  { return time.Now() }
func (systemClock) random() float64 { return rand.Float64() }

func (systemClock) sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// repeatable is what may be sent twice.
type repeatable bool

const (
	// always: another time changes nothing.
	always repeatable = true
	// undone: only what certainly had no effect.
	undone repeatable = false
)

// budget is a bucket of retries that all calls of a client share: when most calls fail, few are tried again. Answers and
// broken connections have one each: who was told overloaded a hundred times must not notice a restart.
type budget struct {
	mutex sync.Mutex
	// Counted in successes: tenths of a retry are not what ten of them sum up to.
	left, most int
}

func newBudget(retries int) *budget {
	most := retries * successesForARetry
	return &budget{left: most, most: most}
}

func (b *budget) take() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.left < successesForARetry {
		return false
	}
	b.left -= successesForARetry
	return true
}

func (b *budget) succeeded() {
	b.mutex.Lock()
	b.left = min(b.most, b.left+1)
	b.mutex.Unlock()
}

// reachability is since when nobody answers at the socket, and how long calls still wait for that to change. Afterwards a
// call asks once, which costs next to nothing on a Unix socket, and fails at once: so it is noticed when the sidecar is
// back.
type reachability struct {
	start, grace time.Duration

	mutex   sync.Mutex
	since   time.Time
	reached bool
}

func (r *reachability) answered() {
	r.mutex.Lock()
	r.since, r.reached = time.Time{}, true
	r.mutex.Unlock()
}

// missed is how long a call may still wait; 0 or less: not at all.
func (r *reachability) missed(now time.Time) time.Duration {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.since.IsZero() {
		r.since = now
	}
	patience := r.start
	if r.reached {
		patience = r.grace
	}
	return r.since.Add(patience).Sub(now)
}

// mayHelp says whether another attempt may do better. Not where a rate is used up and nobody says until when, as of an item
// of a batch: a call's pauses are shorter than rates are, and more attempts would only use up more.
func mayHelp(err *Error) bool {
	return err.Retryable && (err.kind != rateLimited || err.knownAfter)
}

// retries decides, for one request, whether and when it is tried again.
type retries struct {
	engine                  *engine
	attempts                int
	repeatable              repeatable
	answers, breaks, misses int
}

// jitter is full: anything from nothing to twice the last one's most.
func (r *retries) jitter(attempt int) time.Duration {
	most := r.engine.pause << min(attempt-1, 20)
	if most <= 0 || most > r.engine.pauseMost {
		most = r.engine.pauseMost
	}
	return time.Duration(r.engine.clock.random() * float64(most))
}

func (r *retries) succeeded() {
	r.engine.reachability.answered()
	r.engine.answers.succeeded()
	r.engine.breaks.succeeded()
}

// after is how long until the next attempt, and whether there is one.
func (r *retries) after(err *Error) (time.Duration, bool) {
	if err.kind != sidecarUnreachable {
		return r.answered(err)
	}
	if err.sent && err.Retryable {
		return r.broken()
	}
	return r.missed(err)
}

func (r *retries) missed(err *Error) (time.Duration, bool) {
	r.misses++
	left := r.engine.reachability.missed(r.engine.clock.now())
	if !err.Retryable || left <= 0 {
		return 0, false
	}
	return min(left, max(leastPause, r.jitter(min(r.misses, 3)))), true
}

func (r *retries) broken() (time.Duration, bool) {
	r.breaks++
	if r.repeatable == undone || r.breaks >= max(r.attempts, connectionAttempts) || !r.engine.breaks.take() {
		return 0, false
	}
	return r.jitter(r.breaks), true
}

func (r *retries) answered(err *Error) (time.Duration, bool) {
	r.engine.reachability.answered()
	r.answers++
	certainlyNot := err.kind == rateLimited || err.kind == overloaded
	if !mayHelp(err) || (r.repeatable == undone && !certainlyNot) {
		return 0, false
	}
	if r.answers >= r.attempts || !r.engine.answers.take() {
		return 0, false
	}
	return err.retryAfter + r.jitter(r.answers), true
}

// journey is one request on its way, however many wait for it.
type journey interface {
	// attempt once.
	attempt(ctx context.Context) error
	// until is when the last who waits is gone.
	until() time.Time
	// again: it did not work, and will be tried again.
	again(err *Error)
}

// persist tries until it works, or until no other attempt would be right.
func (r *retries) persist(ctx context.Context, journey journey) error {
	for {
		err := journey.attempt(ctx)
		if err == nil {
			r.succeeded()
			return nil
		}
		known := asError(err)
		if known == nil {
			return err
		}
		pause, again := r.after(known)
		if !again || ctx.Err() != nil || !r.engine.clock.now().Add(pause).Before(journey.until()) {
			return err
		}
		journey.again(known)
		if err := r.engine.clock.sleep(ctx, pause); err != nil {
			return err
		}
	}
}
