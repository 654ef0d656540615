package lunasechttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/jsontext"
)

// config is what the options of a route say.
type config struct {
	deadline  time.Duration
	maxBytes  int64
	expiresIn time.Duration
	metadata  any
	granted   bool
	action    lunasec.Action
	actions   []lunasec.Action
	skip      bool
	goneNull  bool
	instead   func(context.Context, lunasec.Token, *lunasec.Error) (any, error)
}

// The options of each kind of route: the compiler refuses one elsewhere.
type (
	// TokenizeOption is for [Tokenize].
	TokenizeOption interface{ tokenize(*config) }
	// VerifyOption is for [Verify].
	VerifyOption interface{ verify(*config) }
	// GrantOption is for [Grant].
	GrantOption interface{ grant(*config) }
	// RevealOption is for [Reveal].
	RevealOption interface{ reveal(*config) }
	// RouteOption is for all of them.
	RouteOption interface {
		TokenizeOption
		VerifyOption
		GrantOption
		RevealOption
	}
	// LifetimeOption is what [ExpiresIn] gives.
	LifetimeOption interface {
		TokenizeOption
		GrantOption
	}
)

type every func(*config)

func (o every) tokenize(c *config) { o(c) }
func (o every) verify(c *config)   { o(c) }
func (o every) grant(c *config)    { o(c) }
func (o every) reveal(c *config)   { o(c) }

// Deadline is for the calls that a route makes, instead of the client's, and of a page's two seconds.
func Deadline(most time.Duration) RouteOption { return every(func(c *config) { c.deadline = most }) }

// MaxBytes of JSON, or of a form beside a query that is verified, that are read of a request or an answer: 16 MiB unless given.
func MaxBytes(most int64) RouteOption { return every(func(c *config) { c.maxBytes = most }) }

// here is LunaSec for the request, unless it answers that there is none.
func hereOf(w http.ResponseWriter, r *http.Request) (*Here, bool) {
	here := From(r.Context())
	if here == nil {
		fail(w, r, nil, errUnbound)
	}
	return here, here != nil
}

// body of a request that is JSON.
type body struct {
	raw  []byte
	data any
}

func readBody(w http.ResponseWriter, r *http.Request, most int64) (*body, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || (kind != "application/json" && !strings.HasSuffix(kind, "+json")) {
		return nil, lunasec.NewError("unsupported_media_type", "the request has no body of content-type application/json", false)
	}
	raw, err := readRaw(w, r, most)
	if err != nil {
		return nil, err
	}
	body := &body{raw: raw}
	if body.data, err = decode(raw); err != nil {
		return nil, lunasec.NewError("invalid_request", "the body is not JSON, or holds what is no text", false)
	}
	// Written anew, a name that came twice is there once: nobody reads another one than was looked at.
	return body, body.replace(r)
}

func readRaw(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if most == 0 {
		most = bodyBytes
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, lunasec.NewError("payload_too_large", "the body is too large", false)
	}
	if err != nil {
		return nil, lunasec.NewError("invalid_request", "the body cannot be read", false)
	}
	return raw, nil
}

// restore it, for whoever reads it next.
func (b *body) restore(r *http.Request) {
	r.Body = io.NopCloser(bytes.NewReader(b.raw))
	r.ContentLength = int64(len(b.raw))
	r.Header.Del("Content-Length")
}

func (b *body) replace(r *http.Request) error {
	raw, err := encode(b.data)
	if err != nil {
		return err
	}
	b.raw = raw
	b.restore(r)
	return nil
}

// decode one JSON value. Numbers stay as they are written, and so do texts, or there is an error.
func decode(raw []byte) (any, error) {
	if wrong := jsontext.Wrong(raw); wrong != "" {
		return nil, errors.New(wrong)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var data any
	if err := decoder.Decode(&data); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return data, nil
}

func encode(data any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// inBatches makes a call for each thousand, and gives what all came to by its place.
func inBatches[T, U any](items []T, call func([]T) ([]U, error)) ([]U, error) {
	all := make([]U, 0, len(items))
	for start := 0; start < len(items); start += batchItems {
		some, err := call(items[start:min(len(items), start+batchItems)])
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// byToken makes calls about each token once.
func byToken[T any](tokens []lunasec.Token, call func([]lunasec.Token) ([]lunasec.Outcome[T], error)) (map[lunasec.Token]lunasec.Outcome[T], error) {
	known := make(map[lunasec.Token]lunasec.Outcome[T], len(tokens))
	var asked []lunasec.Token
	for _, token := range tokens {
		if _, ok := known[token]; !ok {
			known[token] = lunasec.Outcome[T]{}
			asked = append(asked, token)
		}
	}
	outcomes, err := inBatches(asked, call)
	for i, outcome := range outcomes {
		known[asked[i]] = outcome
	}
	return known, err
}
