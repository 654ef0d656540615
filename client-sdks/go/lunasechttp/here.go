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
	*request
	// asking: it is what the function of [Bind] itself sees, which cannot have the session that it is to give.
	asking bool
}

type request struct {
	client  *lunasec.Client
	resolve func() (Who, error)
	onError func(*http.Request, error)
	// over when nobody waits for the answer any more.
	over context.Context

	mutex sync.Mutex
	// asked is what the function gave or is about to give; nil where it is to be asked.
	asked   *asked
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

// asked is a question that whoever comes meanwhile waits for, too.
type asked struct {
	done    chan struct{}
	session *lunasec.Session
	err     error
}

type hereKey struct{}

var errAsking = errors.New("lunasechttp: the function of Bind asks for the session that it is to give: use the client itself there")
var errUnanswered = errors.New("lunasechttp: the function of Bind did not return")
var errUnbound = errors.New("lunasechttp: this handler is not behind Bind: wrap the whole application in it")

// From gives LunaSec for the request whose context it is; nil where the handler is not behind [Bind].
func From(ctx context.Context) *Here {
	here, _ := ctx.Value(hereKey{}).(*Here)
	return here
}

// Option of [Bind].
type Option func(*Here)

// OnError is told of each error that is answered, for the application's log. It holds no token and no value. One that is
// [context.Canceled] is of a request whose context has ended, most often because whoever asked has gone.
func OnError(told func(*http.Request, error)) Option {
	return func(here *Here) { here.onError = told }
}

// Bind gives every request LunaSec under its own session. The function is asked where a session is needed, and once; do not
// take it from what a user can simply write. [From] of its own request gives no session.
func Bind(client *lunasec.Client, session func(*http.Request) (Who, error), options ...Option) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if From(r.Context()) != nil {
				// Whatever is granted behind it would be granted to another session than what is revealed before it.
				panic("lunasechttp: this request is bound already: have one Bind before all, whose function tells them apart")
			}
			here := &Here{request: &request{client: client, reasons: map[string]bool{}}}
			for _, option := range options {
				option(here)
			}
			ctx := context.WithValue(r.Context(), hereKey{}, here)
			if parent := r.Header.Get("traceparent"); parent != "" {
				ctx = lunasec.WithTraceparent(ctx, parent)
			}
			bound := r.WithContext(ctx)
			here.over = ctx
			here.resolve = func() (Who, error) {
				asking := bound.WithContext(context.WithValue(ctx, hereKey{}, &Here{here.request, true}))
				who, err := session(asking)
				if bound.Form == nil && asking.Form != nil {
					// Its body is read, so that the handler could not read it again.
					bound.Form, bound.PostForm, bound.MultipartForm = asking.Form, asking.PostForm, asking.MultipartForm
				}
				return who, err
			}
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
	h.asked = nil
}

func (h *Here) bound() (*lunasec.Session, error) {
	if h.asking {
		return nil, errAsking
	}
	h.mutex.Lock()
	question, mine := h.asked, h.asked == nil
	if mine {
		question = &asked{done: make(chan struct{}), err: errUnanswered}
		h.asked = question
	}
	h.mutex.Unlock()
	if mine {
		h.ask(question)
		return question.session, question.err
	}
	select {
	case <-question.done:
		return question.session, question.err
	case <-h.over.Done():
		return nil, h.over.Err()
	}
}

// ask without the mutex: the function may do what it likes, and panic. After an error it is asked again.
func (h *Here) ask(question *asked) {
	defer func() {
		h.mutex.Lock()
		defer h.mutex.Unlock()
		if question.err != nil && h.asked == question {
			h.asked = nil
		}
		close(question.done)
	}()
	question.session, question.err = h.sessionOf()
}

func (h *Here) sessionOf() (*lunasec.Session, error) {
	who, err := h.resolve()
	if err != nil || who.Session == "" {
		return nil, err
	}
	var options []lunasec.SessionOption
	if who.JWT != "" {
		options = append(options, lunasec.JWT(who.JWT))
	}
	return h.client.ForSession(who.Session, options...)
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
