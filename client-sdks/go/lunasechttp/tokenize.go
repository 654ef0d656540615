package lunasechttp

import (
	"context"
	"net/http"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

type onlyTokenize func(*config)

func (o onlyTokenize) tokenize(c *config) { o(c) }

type lifetime func(*config)

func (o lifetime) tokenize(c *config) { o(c) }
func (o lifetime) grant(c *config)    { o(c) }

// ExpiresIn is for how long values are kept, or grants last.
func ExpiresIn(after time.Duration) LifetimeOption {
	return lifetime(func(c *config) { c.expiresIn = after })
}

// Metadata is kept beside each value: what encodes to a JSON object.
func Metadata(object any) TokenizeOption {
	return onlyTokenize(func(c *config) { c.metadata = object })
}

// KeepGranted leaves a token as it is that a field holds already and that was granted to the request's session, as in a
// form that is sent back unchanged; any other token is a 403. Unless given, tokens are refused: they are no values, and may
// be somebody else's.
func KeepGranted() TokenizeOption { return onlyTokenize(func(c *config) { c.granted = true }) }

// Tokenize puts tokens in the place of the values in these fields of a JSON request, as text, before the handler reads it.
// All or nothing: where one field fails, the handler does not run.
func Tokenize(fields Fields, options ...TokenizeOption) func(http.Handler) http.Handler {
	parsed, config := parse(fields, ""), &config{}
	for _, option := range options {
		option.tokenize(config)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			here, ok := hereOf(w, r)
			if !ok {
				return
			}
			if err := config.tokenizeIn(here, w, r, parsed); err != nil {
				fail(w, r, here, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func (c *config) tokenizeIn(here *Here, w http.ResponseWriter, r *http.Request, fields []field) error {
	body, err := readBody(w, r, c.maxBytes)
	if err != nil {
		return err
	}
	slots, err := find(&body.data, fields, ofRequest)
	if err != nil {
		return err
	}
	values, tokens, err := sorted(slots, c.granted)
	if err != nil {
		return err
	}
	if err := c.mayUse(r.Context(), here, tokens); err != nil {
		return err
	}
	if len(values) == 0 {
		return nil
	}
	if err := c.replace(r.Context(), here, values); err != nil {
		return err
	}
	return body.replace(r)
}

// sorted into values, and tokens where those may be.
func sorted(slots []slot, tokensToo bool) (values, tokens []slot, err error) {
	for _, slot := range slots {
		text, ok := slot.value.(string)
		if !ok {
			return nil, nil, refused(slot.field, "is not text")
		}
		switch what := lunasec.NoValue(text); {
		case what == "":
			values = append(values, slot)
		case what == lunasec.HoldsToken && tokensToo:
			tokens = append(tokens, slot)
		default:
			return nil, nil, refused(slot.field, what)
		}
	}
	return values, tokens, nil
}

func (c *config) replace(ctx context.Context, here *Here, slots []slot) error {
	caller, err := here.Caller()
	if err != nil {
		return err
	}
	var options []lunasec.BatchOption
	if c.deadline > 0 {
		options = append(options, lunasec.Deadline(c.deadline))
	}
	outcomes, err := inBatches(slots, func(slots []slot) ([]lunasec.Outcome[lunasec.Tokenized], error) {
		items := make([]lunasec.TokenizeItem, len(slots))
		for i, slot := range slots {
			items[i] = lunasec.TokenizeItem{Value: lunasec.Text(slot.value.(string)), Metadata: c.metadata, ExpiresIn: c.expiresIn}
		}
		return caller.TokenizeBatch(ctx, items, options...)
	})
	if err != nil {
		return err
	}
	for i, outcome := range outcomes {
		if outcome.Err != nil {
			return ofField(slots[i].field, outcome.Err, "cannot be taken: it is too large, or what goes with it is wrong")
		}
		here.noteWritten(outcome.Value.Durability)
	}
	for i, outcome := range outcomes {
		slots[i].write(outcome.Value.Token.Expose())
	}
	return nil
}
