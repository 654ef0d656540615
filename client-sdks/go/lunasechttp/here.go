package lunasechttp

import (
	"context"
	"errors"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// Who makes a request: the text that the application knows the user's session by, and their JWT where the sidecar asks for
// one. The zero Who has no session.
type Who struct{ Session, JWT string }

// Caller is what [*lunasec.Client] and [*lunasec.Session] can both do.
type Caller interface {
	lunasec.Speaker
	Tokenize(context.Context, lunasec.Plaintext, ...lunasec.TokenizeOption) (lunasec.Tokenized, error)
	TokenizeBatch(context.Context, []lunasec.TokenizeItem, ...lunasec.BatchOption) ([]lunasec.Outcome[lunasec.Tokenized], error)
	Detokenize(context.Context, lunasec.Token, ...lunasec.CallOption) (lunasec.Value, error)
	DetokenizeBatch(context.Context, []lunasec.Token, ...lunasec.CallOption) ([]lunasec.Outcome[lunasec.Value], error)
	GetMetadata(context.Context, lunasec.Token, ...lunasec.CallOption) (lunasec.Described, error)
	SetMetadata(context.Context, lunasec.Token, any, ...lunasec.SetOption) (lunasec.Written, error)
	Delete(context.Context, []lunasec.Token, ...lunasec.CallOption) ([]lunasec.Outcome[lunasec.Deleted], error)
	Masked() *lunasec.Reader[string]
	MaskedWith(string) *lunasec.Reader[string]
}

// Here is LunaSec for one request: everything goes out under its session, which is asked for once, when it is needed first.
type Here struct {
	client  *lunasec.Client
	resolve func() (Who, error)
	onError func(*http.Request, error)

	mutex   sync.Mutex
	asked   bool
	session *lunasec.Session
	reasons map[string]bool
	noted   Noted
	waited  time.Duration
	inVain  bool
	planned *plan
}

// Noted is what a request came to that is not as on a healthy day.
type Noted struct {
	// Reasons are storage, keys, or codes of errors that something stands in for; none where all is as it should be.
	Reasons []string
	// Age of the oldest answer.
	Age time.Duration
	// Masked is how many fields show something else.
	Masked int
	// Journaled: a write is not in central storage yet.
	Journaled bool
}

type hereKey struct{}

var errUnbound = errors.New("lunasechttp: this handler is not behind Bind: wrap the whole application in it")

// From gives LunaSec for the request whose context it is; nil where the handler is not behind [Bind].
func From(ctx context.Context) *Here {
	here, _ := ctx.Value(hereKey{}).(*Here)
	return here
}

// Option of [Bind].
type Option func(*Here)

// OnError is told of each error that is answered, for the application's log. It holds no token and no value.
func OnError(told func(*http.Request, error)) Option {
	return func(here *Here) { here.onError = told }
}

// Bind gives every request LunaSec under its own session. The function is asked where a session is needed, and once; do not
// take it from what a user can simply write.
func Bind(client *lunasec.Client, session func(*http.Request) (Who, error), options ...Option) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if From(r.Context()) != nil {
				// Whatever is granted behind it would be granted to another session than what is revealed before it.
				panic("lunasechttp: this request is bound already: have one Bind before all, whose function tells them apart")
			}
			here := &Here{client: client, reasons: map[string]bool{}}
			for _, option := range options {
				option(here)
			}
			ctx := context.WithValue(r.Context(), hereKey{}, here)
			if parent := r.Header.Get("traceparent"); parent != "" {
				ctx = lunasec.WithTraceparent(ctx, parent)
			}
			bound := r.WithContext(ctx)
			here.resolve = func() (Who, error) { return session(bound) }
			next.ServeHTTP(w, bound)
		})
	}
}

// Session of this request. It fails with [lunasec.ErrUnauthenticated] where it has none.
func (h *Here) Session() (*lunasec.Session, error) {
	session, err := h.bound()
	if err == nil && session == nil {
		err = lunasec.NewError("unauthenticated", "this needs a session, and the request has none: the function of lunasechttp.Bind gave none", false)
	}
	return session, err
}

// Caller is the session's client, or the application's own where there is no session.
func (h *Here) Caller() (Caller, error) {
	session, err := h.bound()
	if err != nil {
		return nil, err
	}
	if session == nil {
		return h.client, nil
	}
	return session, nil
}

// Rebind asks for the session anew: after a login or a logout gave the user another one.
func (h *Here) Rebind() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.asked, h.session = false, nil
}

func (h *Here) bound() (*lunasec.Session, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.asked {
		return h.session, nil
	}
	who, err := h.resolve()
	if err != nil {
		return nil, err
	}
	if who.Session != "" {
		var options []lunasec.SessionOption
		if who.JWT != "" {
			options = append(options, lunasec.JWT(who.JWT))
		}
		if h.session, err = h.client.ForSession(who.Session, options...); err != nil {
			return nil, err
		}
	}
	h.asked = true
	return h.session, nil
}

// Noted is what was noted until now.
func (h *Here) Noted() Noted {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	noted := h.noted
	for reason := range h.reasons {
		noted.Reasons = append(noted.Reasons, reason)
	}
	sort.Strings(noted.Reasons)
	return noted
}

// NoteMasked says of the answer that your own code shows something else where nobody could answer.
func (h *Here) NoteMasked(why *lunasec.Error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.noted.Masked++
	h.reasons[why.Code] = true
}

func (h *Here) noteAge(staleness lunasec.Staleness) {
	if staleness.Degraded == "" {
		return
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, reason := range strings.Split(staleness.Degraded, ",") {
		h.reasons[reason] = true
	}
	h.noted.Age = max(h.noted.Age, staleness.Age)
}

func (h *Here) noteWritten(durability lunasec.Durability) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.noted.Journaled = h.noted.Journaled || durability == lunasec.Journaled
}

func (h *Here) noteSkipped(why *lunasec.Error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.reasons[why.Code] = true
}

// patience is what is left of what a page waits for all that it can do without, together.
func (h *Here) patience() time.Duration {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if left := pagePatience - h.waited; !h.inVain || left > hopeless {
		return max(left, hopeless)
	}
	return hopeless
}

func (h *Here) waitedFor(began time.Time, inVain bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.waited += time.Since(began)
	h.inVain = h.inVain || inVain
}
