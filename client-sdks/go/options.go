package lunasec

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Options are given to what takes them: the compiler refuses one elsewhere. What they hold is checked where they are given.

// An Option of [New].
type Option interface{ client(*config) error }

// A ViewOption is for [Client.With], and for [New].
type ViewOption interface {
	Option
	view(*viewConfig) error
}

// A CallOption is for every call, and for views and clients.
type CallOption interface {
	ViewOption
	TokenizeOption
	BatchOption
	GrantOption
	VerifyOption
	SetOption
	call(*callConfig) error
}

// A TokenizeOption is for [Client.Tokenize].
type TokenizeOption interface{ tokenize(*callConfig) error }

// A BatchOption is for [Client.TokenizeBatch].
type BatchOption interface{ batch(*callConfig) error }

// A GrantOption is for [Session.Grant].
type GrantOption interface{ grant(*callConfig) error }

// A VerifyOption is for [Session.Verify].
type VerifyOption interface{ verify(*callConfig) error }

// A SetOption is for [Client.SetMetadata].
type SetOption interface{ set(*callConfig) error }

// A SessionOption is for [Client.ForSession].
type SessionOption interface{ session(*viewConfig) error }

type config struct {
	viewConfig
	socket       string
	retry        Retry
	start, grace time.Duration
	connections  int
	pending      int
	batchItems   int
	trace        func(context.Context, http.Header)
}

type viewConfig struct {
	said
	deadline time.Duration
	timed    bool
}

type callConfig struct {
	viewConfig
	key       string
	metadata  any
	expiresIn string
	actions   []Action
	action    Action
	ifVersion *uint64
}

// common works everywhere.
type common func(*viewConfig) error

func (o common) client(c *config) error       { return o(&c.viewConfig) }
func (o common) view(c *viewConfig) error     { return o(c) }
func (o common) call(c *callConfig) error     { return o(&c.viewConfig) }
func (o common) tokenize(c *callConfig) error { return o(&c.viewConfig) }
func (o common) batch(c *callConfig) error    { return o(&c.viewConfig) }
func (o common) grant(c *callConfig) error    { return o(&c.viewConfig) }
func (o common) verify(c *callConfig) error   { return o(&c.viewConfig) }
func (o common) set(c *callConfig) error      { return o(&c.viewConfig) }

// Namespace is another than the caller's default.
func Namespace(name string) CallOption {
	return common(func(c *viewConfig) error {
		c.namespace = name
		return sayable("namespace", name)
	})
}

// Purpose is what it is for, for the audit record; the policy may ask for it.
func Purpose(text string) CallOption {
	return common(func(c *viewConfig) error {
		c.purpose = text
		return sayable("purpose", text)
	})
}

// Deadline is for a whole call, its retries included: 15 s unless given, and 2 s where a policy stands in for an answer.
// A call's context may end it sooner.
func Deadline(most time.Duration) CallOption {
	return common(func(c *viewConfig) error {
		c.deadline, c.timed = most, true
		return waitable("Deadline", most)
	})
}

// jwtOption keeps it in a function, into which nothing looks that prints.
type jwtOption struct{ say func(*viewConfig) error }

func (o jwtOption) client(c *config) error      { return o.say(&c.viewConfig) }
func (o jwtOption) session(c *viewConfig) error { return o.say(c) }

// JWTOption is what [JWT] gives.
type JWTOption interface {
	Option
	SessionOption
}

// JWT speaks for whom it proves: of [New] the application, of [Client.ForSession] the user whose session it is.
func JWT(jwt string) JWTOption {
	return jwtOption{func(c *viewConfig) error { c.jwt = jwt; return sayable("JWT", jwt) }}
}

type clientOption func(*config) error

func (o clientOption) client(c *config) error { return o(c) }

// Socket is the path of the sidecar's socket: LUNASEC_SOCKET unless given, else [DefaultSocket].
func Socket(path string) Option {
	return clientOption(func(c *config) error { c.socket = path; return socketPath(path) })
}

// Retry says how calls are tried again. What is 0 is as it is by default.
type Retry struct {
	// Attempts of a call, the first included: 3; where a policy stands in for an answer, 1.
	Attempts int
	// Pause is the longest before the second attempt: 50 ms. Each next one may be twice as long.
	Pause time.Duration
	// PauseMost is the longest pause of all: 1 s. What the sidecar asks for comes on top.
	PauseMost time.Duration
	// Budget is how many retries after answers may be saved up, for all calls of a client together: 100. Ten successes
	// save up one more. Connections that break have their own. Negative: none.
	Budget int
}

// Retries says how calls are tried again.
func Retries(retry Retry) Option {
	return clientOption(func(c *config) error {
		c.retry = retry
		if retry.Attempts < 0 {
			return failure(invalidRequest, "Retry.Attempts is no count: it is a whole number from 1 on, or 0 for what is usual")
		}
		if err := waitable("Retry.Pause", retry.Pause); err != nil {
			return err
		}
		return waitable("Retry.PauseMost", retry.PauseMost)
	})
}

// StartDeadline is how long the first calls wait for the socket to be there, within their deadlines: 10 s.
func StartDeadline(most time.Duration) Option {
	return clientOption(func(c *config) error { c.start = most; return waitable("StartDeadline", most) })
}

// RestartGrace is how long calls wait for the socket to come back, within their deadlines: 2 s.
func RestartGrace(most time.Duration) Option {
	return clientOption(func(c *config) error { c.grace = most; return waitable("RestartGrace", most) })
}

// Connections to the socket: 16.
func Connections(most int) Option {
	return clientOption(func(c *config) error { c.connections = most; return counted("Connections", most, 1) })
}

// PendingCalls under way; more are refused as overloaded: 10,000.
func PendingCalls(most int) Option {
	return clientOption(func(c *config) error { c.pending = most; return counted("PendingCalls", most, 1) })
}

// BatchItems of the requests that calls share: 1,000, which is also the most. 1: each call is a request.
func BatchItems(most int) Option {
	return clientOption(func(c *config) error { c.batchItems = min(most, batchItems); return counted("BatchItems", most, 1) })
}

// Trace puts traceparent and tracestate of a call's context into a header; whatever else it puts there stays here. With
// OpenTelemetry:
//
//	lunasec.Trace(func(ctx context.Context, header http.Header) {
//		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
//	})
func Trace(inject func(context.Context, http.Header)) Option {
	return clientOption(func(c *config) error { c.trace = inject; return nil })
}

type itemOption func(*callConfig) error

func (o itemOption) tokenize(c *callConfig) error { return o(c) }
func (o itemOption) grant(c *callConfig) error    { return o(c) }

type tokenizeOption func(*callConfig) error

func (o tokenizeOption) tokenize(c *callConfig) error { return o(c) }
func (o tokenizeOption) batch(c *callConfig) error    { return o(c) }

type onlyTokenize func(*callConfig) error

func (o onlyTokenize) tokenize(c *callConfig) error { return o(c) }

type grantOption func(*callConfig) error

func (o grantOption) grant(c *callConfig) error { return o(c) }

type verifyOption func(*callConfig) error

func (o verifyOption) verify(c *callConfig) error { return o(c) }

type setOption func(*callConfig) error

func (o setOption) set(c *callConfig) error { return o(c) }

// KeyOption is what [IdempotencyKey] gives.
type KeyOption interface {
	TokenizeOption
	BatchOption
}

// LifetimeOption is what [ExpiresIn] gives.
type LifetimeOption interface {
	TokenizeOption
	GrantOption
}

// IdempotencyKey names a value for 24 hours by 1 to 255 visible ASCII characters: the same key with the same value gives
// the same token, also from another process beside the same sidecar. Unless given, the client makes one for each call, so
// that its own retries give one token. Of a batch, the values and their order belong to it. All sessions of a client share
// its keys: do not let a user choose one.
func IdempotencyKey(key string) KeyOption {
	return tokenizeOption(func(c *callConfig) error { c.key = key; return sayable("idempotency key", key) })
}

// Metadata is kept beside a value, in the clear for whoever may read it, and encrypted at rest: what encodes to a JSON
// object of at most 16 KiB.
func Metadata(object any) TokenizeOption {
	return onlyTokenize(func(c *callConfig) error { c.metadata = object; return nil })
}

// ExpiresIn is for how long a value is kept, for ever unless given; of a grant, how long it lasts: 15 minutes unless
// given, and the operator sets the most.
func ExpiresIn(after time.Duration) LifetimeOption {
	return itemOption(func(c *callConfig) error { c.expiresIn = words(after); return nil })
}

// ExpiresInWords is [ExpiresIn] in the contract's words: 720h, 36500d.
func ExpiresInWords(after string) LifetimeOption {
	return itemOption(func(c *callConfig) error { c.expiresIn = after; return nil })
}

// Actions are what is granted: detokenize and metadata unless given.
func Actions(actions ...Action) GrantOption {
	return grantOption(func(c *callConfig) error { c.actions = actions; return nil })
}

// For is the action that is verified: detokenize unless given.
func For(action Action) VerifyOption {
	return verifyOption(func(c *callConfig) error { c.action = action; return nil })
}

// IfVersion sets metadata only if this is still its version; [ErrConflict] otherwise. It is not tried again where it may
// have been done.
func IfVersion(version uint64) SetOption {
	return setOption(func(c *callConfig) error { c.ifVersion = &version; return nil })
}

// waitable is a time that can be waited for.
func waitable(what string, time time.Duration) error {
	if time < 0 || time > longest {
		return failuref(invalidRequest, "%s is no time that can be waited for: it is from 0 to 24 days", what)
	}
	return nil
}

func counted(what string, count, least int) error {
	if count < least {
		return failuref(invalidRequest, "%s is no count: it is a whole number from %d on", what, least)
	}
	return nil
}

// words says a time as the contract does.
func words(after time.Duration) string {
	for _, unit := range [...]struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if after >= unit.of && after%unit.of == 0 {
			return strconv.FormatInt(int64(after/unit.of), 10) + unit.name
		}
	}
	return strconv.FormatInt(after.Milliseconds(), 10) + "ms"
}
