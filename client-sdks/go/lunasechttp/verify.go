package lunasechttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// In says where the tokens are that a request hands in.
type In struct {
	// Body are fields of its JSON.
	Body Fields
	// Path are names of the pattern's wildcards: {card} is card.
	Path []string
	// Query are names of parameters, of which each may come several times; with ? at the end, it may be missing. Handlers read
	// them by r.URL.Query(). Fields of these names in a body that is a form are verified, too, since r.FormValue prefers them.
	Query []string
}

type onlyVerify func(*config)

func (o onlyVerify) verify(c *config) { o(c) }

// For is the action that is verified: detokenize unless given.
func For(action lunasec.Action) VerifyOption {
	return onlyVerify(func(c *config) { c.action = action })
}

// Verify lets a request pass only if every token in these fields was granted to its session; 403 otherwise, 401 without a
// session, before the handler has done anything. Somebody else's token and one that never was get the same answer. Where
// nobody can say, nobody passes: 503.
func Verify(in In, options ...VerifyOption) func(http.Handler) http.Handler {
	config := &config{}
	for _, option := range options {
		option.verify(config)
	}
	var body []field
	if len(in.Body) > 0 {
		body = parse(in.Body, "body.")
	}
	if len(in.Body)+len(in.Path)+len(in.Query) == 0 {
		panic("lunasechttp: Verify needs fields of the body, the path or the query: In{Body: Fields{\"card\"}}")
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			here, ok := hereOf(w, r)
			if !ok {
				return
			}
			slots, err := config.handedIn(w, r, in, body)
			if err == nil {
				err = config.mayUse(r.Context(), here, slots)
			}
			if err != nil {
				fail(w, r, here, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func (c *config) handedIn(w http.ResponseWriter, r *http.Request, in In, fields []field) ([]slot, error) {
	var slots []slot
	if len(fields) > 0 {
		body, err := readBody(w, r, c.maxBytes)
		if err != nil {
			return nil, err
		}
		if slots, err = find(&body.data, fields, ofRequest); err != nil {
			return nil, err
		}
	}
	for _, name := range in.Path {
		value := r.PathValue(name)
		if value == "" {
			return nil, refused("path."+name, "is missing")
		}
		slots = append(slots, slot{field: "path." + name, value: value})
	}
	if len(in.Query) == 0 {
		return slots, nil
	}
	form, err := c.formOf(w, r)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	for _, field := range in.Query {
		name, optional := cutOptional(field)
		values := query[name]
		if len(values) == 0 && !optional {
			return nil, refused("query."+name, "is missing")
		}
		for _, value := range values {
			slots = append(slots, slot{field: "query." + name, value: value})
		}
		for _, value := range form[name] {
			slots = append(slots, slot{field: "form." + name, value: value})
		}
	}
	if len(slots) > mostFields {
		return nil, tooMany()
	}
	return slots, nil
}

// formOf is what a handler may read where it means the query: all that is in the request's Form, and what its body adds once
// somebody asks for that. The body is there to be read again.
func (c *config) formOf(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	// As net/http does, past mistakes in the parameters.
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	unread := kind == "application/x-www-form-urlencoded" || (kind == "multipart/form-data" && r.MultipartForm == nil)
	if !unread || r.Body == nil {
		return r.Form, nil
	}
	body := &body{}
	var err error
	if body.raw, err = readRaw(w, r, c.maxBytes); err != nil {
		return nil, err
	}
	body.restore(r)
	// Whatever bounds the handler has, this one finds as much. Where it fails, so does the handler's.
	copied := &http.Request{Method: r.Method, Header: r.Header, Body: http.MaxBytesReader(nil, io.NopCloser(bytes.NewReader(body.raw)), math.MaxInt64)}
	_ = copied.ParseMultipartForm(math.MaxInt64)
	for name, values := range r.Form {
		copied.Form[name] = append(copied.Form[name], values...)
	}
	return copied.Form, nil
}

func cutOptional(name string) (string, bool) {
	if last := len(name) - 1; last >= 0 && name[last] == '?' {
		return name[:last], true
	}
	return name, false
}

// mayUse fails unless the session was granted the tokens of all of these fields.
func (c *config) mayUse(ctx context.Context, here *Here, slots []slot) error {
	if len(slots) == 0 {
		return nil
	}
	tokens := make([]lunasec.Token, len(slots))
	for i, slot := range slots {
		text, ok := slot.value.(string)
		if !ok {
			return refused(slot.field, "is not text: a token is expected")
		}
		token, err := lunasec.ParseToken(text)
		if err != nil {
			return refused(slot.field, "holds no token")
		}
		tokens[i] = token
	}
	session, err := here.Session()
	if err != nil {
		return err
	}
	var options []lunasec.VerifyOption
	if c.deadline > 0 {
		options = append(options, lunasec.Deadline(c.deadline))
	}
	if c.action != "" {
		options = append(options, lunasec.For(c.action))
	}
	outcomes, err := byToken(tokens, func(tokens []lunasec.Token) ([]lunasec.Outcome[lunasec.Verdict], error) {
		return session.Verify(ctx, tokens, options...)
	})
	if err != nil {
		return err
	}
	return verdict(here, slots, tokens, outcomes)
}

// verdict over all: a no is a no, whatever else there is; what is wrong comes before what nobody knows.
func verdict(here *Here, slots []slot, tokens []lunasec.Token, outcomes map[lunasec.Token]lunasec.Outcome[lunasec.Verdict]) error {
	var worst error
	for i, slot := range slots {
		outcome := outcomes[tokens[i]]
		err := outcome.Err
		if err == nil {
			here.noteAge(outcome.Value.Staleness)
			err = outcome.Value.Refusal()
		} else if errors.Is(err, lunasec.ErrGone) {
			// One that never was is refused as somebody else's: whoever tries tokens learns nothing.
			err = lunasec.Verdict{}.Refusal()
		}
		err = ofField(slot.field, err, "holds no token")
		if err != nil && (worst == nil || rank(err) < rank(worst)) {
			worst = err
		}
	}
	return worst
}

func rank(err error) int {
	switch {
	case errors.Is(err, lunasec.ErrUnavailable):
		return 2
	case errors.Is(err, lunasec.ErrBadRequest):
		return 1
	default:
		return 0
	}
}

// ofField is an error that whoever made the request can mend, said of its field; any other as it is.
func ofField(field string, err error, what string) error {
	if errors.Is(err, lunasec.ErrBadRequest) {
		return refused(field, what)
	}
	return err
}
