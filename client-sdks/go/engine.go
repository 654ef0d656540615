package lunasec

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// exchanger moves bytes; tests bring another.
type exchanger interface {
	exchange(ctx context.Context, until time.Time, wanted *wanted) (*answer, error)
	close()
}

// engine sends requests, again where that helps, and has places for so many calls that wait. All views of a client share one.
type engine struct {
	clock            clock
	transport        exchanger
	pause, pauseMost time.Duration
	answers, breaks  *budget
	reachability     *reachability
	places           *places
	batcher          *batcher
	trace            func(context.Context, http.Header)
}

// limits are what bounds one call.
type limits struct {
	until time.Time
	// patience is what until was made of, for words about it.
	patience time.Duration
	attempts int
	holder   holder
}

// traced are the header lines of a call's trace.
func (e *engine) traced(ctx context.Context) string {
	header := http.Header{}
	if parent := traceparentOf(ctx); parent != "" {
		header.Set("traceparent", parent)
	} else if e.trace == nil {
		return ""
	}
	if e.trace != nil {
		e.trace(ctx, header)
	}
	// What the sidecar reads, and nothing else that somebody put there: an end user's baggage, say.
	var lines strings.Builder
	for _, name := range [...]string{"traceparent", "tracestate"} {
		if text := header.Get(name); text != "" && len(text) <= 512 && sayable(name, text) == nil {
			lines.WriteString(name + ": " + text + "\r\n")
		}
	}
	return lines.String()
}

type traceKey struct{}

// WithTraceparent is a context whose calls say this traceparent, where no [Trace] says its own: for integrations, which
// have it from whoever called.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	return context.WithValue(ctx, traceKey{}, traceparent)
}

func traceparentOf(ctx context.Context) string {
	text, _ := ctx.Value(traceKey{}).(string)
	return text
}

// newKey is an idempotency key.
func newKey() string {
	var bytes [16]byte
	if _, err := rand.Read(bytes[:]); err != nil {
		panic("lunasec: the system gives no random bytes: " + err.Error())
	}
	return hex.EncodeToString(bytes[:])
}

// request is one route of one caller.
type request struct {
	wanted     wanted
	repeatable repeatable
	read       func(answered) error

	engine  *engine
	limits  limits
	trouble *Error
}

func (r *request) attempt(ctx context.Context) error {
	answer, err := r.engine.transport.exchange(ctx, r.limits.until, &r.wanted)
	if err != nil {
		return err
	}
	said, err := read(answer)
	if err != nil {
		return err
	}
	return identified(r.read(said), answer)
}

func (r *request) until() time.Time { return r.limits.until }
func (r *request) again(err *Error) { r.trouble = err }

// identified: what was not understood of an answer can be found in the log, too.
func identified(err error, answer *answer) error {
	if known := asError(err); known != nil {
		known.RequestID = answer.requestID
	}
	return err
}

// send is a request of one caller, tried again as far as its limits go.
func (e *engine) send(ctx context.Context, request *request) error {
	if err := e.places.take(request.limits.holder); err != nil {
		return err
	}
	defer e.places.leave(request.limits.holder)
	request.engine = e
	request.wanted.lines += e.traced(ctx)
	retries := &retries{engine: e, attempts: request.limits.attempts, repeatable: request.repeatable}
	return ended(ctx, retries.persist(ctx, request), request.trouble, request.limits)
}

// ended is what a call comes to: an error of this package, or that the caller gave it up.
func ended(ctx context.Context, err error, trouble *Error, limits limits) error {
	if err == nil || asError(err) != nil {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return givenUp(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return late(trouble, limits)
	}
	return failure(protocol, "the request could not be made").because(err)
}

// late: what went wrong so far is a better answer than that the time is over.
func late(trouble *Error, limits limits) error {
	if trouble != nil {
		return trouble
	}
	return failuref(deadlineExceeded, "there was no answer within %s; a write may have been done", limits.patience.Round(time.Millisecond)).later()
}

// givenUp is both that its context was cancelled and why.
func givenUp(ctx context.Context) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(cause, context.Canceled) {
		return fmt.Errorf("lunasec: the call was given up: %w", context.Canceled)
	}
	return fmt.Errorf("lunasec: the call was given up: %w: %w", context.Canceled, cause)
}
