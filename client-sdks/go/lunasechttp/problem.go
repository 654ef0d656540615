package lunasechttp

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// Problem is an error as application/problem+json says it (RFC 9457).
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Retryable bool   `json:"retryable"`
	// RetryAfterMS is when to try again, where that is any use.
	RetryAfterMS int64 `json:"retry_after_ms,omitempty"`
	// Field of the request that is to be mended, as the route names it.
	Field string `json:"field,omitempty"`
	// RequestID names the call in the sidecar's log.
	RequestID string `json:"request_id,omitempty"`
}

type words struct {
	status        int
	title, detail string
}

var (
	away   = words{503, "Unavailable", "Protected data cannot be read or written just now. Please try again."}
	failed = words{500, "Internal error", "Something went wrong, and it was not the request."}
	denied = words{403, "Forbidden", "You may not use this."}
)

// In words for whoever made the request. What the sidecar says is for the application: it names rules and places.
var byCode = map[string]words{
	"invalid_request":        {400, "Invalid request", "The request was not understood."},
	"invalid_token":          {400, "Invalid token", "This is not a token."},
	"unauthenticated":        {401, "Unauthenticated", "Please sign in."},
	"forbidden":              denied,
	"grant_denied":           denied,
	"grant_expired":          {403, "Grant expired", "You may not use this any more. Please load the page again."},
	"not_found":              {404, "Not found", "There is nothing here."},
	"conflict":               {409, "Conflict", "It was changed meanwhile. Please look again."},
	"expired":                {410, "Expired", "There is nothing here any more."},
	"payload_too_large":      {413, "Too large", "The request is too large."},
	"unsupported_media_type": {415, "Unsupported media type", "The request is not JSON."},
	"rate_limited":           {429, "Too many requests", "This was too often. Please try again later."},
}

// ProblemOf is what an HTTP answer may say of an error, and whether it is one of LunaSec's.
func ProblemOf(err error) (Problem, bool) {
	var known *lunasec.Error
	if !errors.As(err, &known) {
		return Problem{}, false
	}
	said, ok := byCode[known.Code]
	if !ok {
		// What the application or its operator has to mend is nothing that the user could.
		said = failed
	}
	if errors.Is(err, lunasec.ErrUnavailable) {
		said = away
	}
	code := known.Code
	if said == failed {
		code = "internal"
	}
	problem := Problem{
		Type: "urn:lunasec:error:" + code, Title: said.title, Status: said.status, Detail: said.detail, Code: code,
		RequestID: known.RequestID,
	}
	if said.status == 429 || said.status == 503 {
		after, known := known.RetryAfter()
		if !known {
			after = retryAfter
		}
		problem.Retryable, problem.RetryAfterMS = true, after.Milliseconds()
	}
	var field *FieldError
	if errors.As(err, &field) {
		problem.Detail, problem.Field = field.err.Detail, field.Field
	}
	return problem, true
}

// WriteError answers one of LunaSec's errors, and says whether it was one; any other is yours to answer. That the request's
// context has ended is one, too, and answered with 503: it does not say that whoever asked has gone.
func WriteError(w http.ResponseWriter, r *http.Request, err error) bool {
	problem, ok := ProblemOf(err)
	if !ok && r.Context().Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		problem, ok = ProblemOf(lunasec.NewError("deadline_exceeded", "", true))
	}
	if !ok {
		return false
	}
	if here := From(r.Context()); here != nil && here.onError != nil {
		here.onError(r, err)
	}
	write(w, problem)
	return true
}

func write(w http.ResponseWriter, problem Problem) {
	text, err := encode(problem)
	if err != nil {
		// Texts and numbers always encode.
		panic(err)
	}
	header := w.Header()
	header.Del("Content-Encoding")
	forgetBody(header)
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	if problem.RetryAfterMS > 0 {
		header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(float64(problem.RetryAfterMS)/1_000)))))
	}
	w.WriteHeader(problem.Status)
	// Whoever is gone does not read it.
	_, _ = w.Write(text)
}

// fail answers whatever went wrong in a route.
func fail(w http.ResponseWriter, r *http.Request, here *Here, err error) {
	if WriteError(w, r, err) {
		return
	}
	if here != nil && here.onError != nil {
		here.onError(r, err)
	}
	write(w, Problem{
		Type: "urn:lunasec:error:internal", Title: failed.title, Status: failed.status, Detail: failed.detail, Code: "internal",
	})
}

// Handler is one that may fail: LunaSec's errors are answered as problems, and all others as 500, in no words of their own.
type Handler func(http.ResponseWriter, *http.Request) error

// ServeHTTP answers the handler's error.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		fail(w, r, From(r.Context()), err)
	}
}
