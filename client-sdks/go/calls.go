package lunasec

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// calls are what clients and sessions have in common: values, metadata, deletion.
type calls struct {
	engine *engine
	// view is what a function gives: it knows the session and the JWT, and fmt looks behind some pointers.
	view func() *view
}

func callsOf(engine *engine, of *view) calls { return calls{engine, func() *view { return of }} }

type view struct {
	config viewConfig
	spoken spoken
	// attempts of a call; 0: as is usual.
	attempts int
}

// with is the same, with something otherwise.
func (c calls) with(config viewConfig) (calls, error) {
	spoken, err := config.spoken()
	if err != nil {
		return calls{}, err
	}
	return callsOf(c.engine, &view{config, spoken, c.view().attempts}), nil
}

const clientPrint = "[lunasec client]"

// Format shows neither a session nor a JWT, whatever the verb.
func (c calls) Format(state fmt.State, _ rune) { fmt.Fprint(state, clientPrint) }

// String shows neither a session nor a JWT.
func (c calls) String() string { return clientPrint }

// LogValue shows neither a session nor a JWT.
func (c calls) LogValue() slog.Value { return slog.StringValue(clientPrint) }

// MarshalJSON shows neither a session nor a JWT.
func (c calls) MarshalJSON() ([]byte, error) { return []byte(`"` + clientPrint + `"`), nil }

// Tokenize tokenizes one value: [Text], [Bytes], or a [Plaintext] from elsewhere. Calls that are made at once may share a
// request. No policy stands in for it: where nobody can take the value, it fails with [ErrUnavailable].
func (c *calls) Tokenize(ctx context.Context, value Plaintext, options ...TokenizeOption) (Tokenized, error) {
	config, err := configured(c, options, TokenizeOption.tokenize)
	if err != nil {
		return Tokenized{}, err
	}
	unit, err := tokenizeUnit(value, config.metadata, config.expiresIn)
	if err != nil {
		return Tokenized{}, err
	}
	return one[Tokenized](c.list(ctx, opTokenize, units(unit), config, how{apart: config.key != ""}))
}

// TokenizeBatch tokenizes 1 to 1,000 values in one request of at most 16 MiB. Items fail each by itself; the call fails
// only if there was no answer for any.
func (c *calls) TokenizeBatch(ctx context.Context, items []TokenizeItem, options ...BatchOption) ([]Outcome[Tokenized], error) {
	config, err := configured(c, options, BatchOption.batch)
	if err != nil {
		return nil, err
	}
	made := make([]unit, len(items))
	for i, item := range items {
		expiresIn := item.ExpiresInWords
		if expiresIn == "" && item.ExpiresIn != 0 {
			expiresIn = words(item.ExpiresIn)
		}
		if made[i], err = tokenizeUnit(item.Value, item.Metadata, expiresIn); err != nil {
			return nil, err
		}
	}
	return many[Tokenized](c.list(ctx, opTokenize, made, config, how{apart: true, asBatch: true}))
}

// Detokenize reveals one value. Calls that are made at once share a request. When nobody can answer, it fails with
// [ErrUnavailable]; for what shows something else then, see [Client.Masked] and [Fallback].
func (c *calls) Detokenize(ctx context.Context, token Token, options ...CallOption) (Value, error) {
	config, err := configured(c, options, CallOption.call)
	if err != nil {
		return Value{}, err
	}
	return c.detokenize(ctx, token, config, how{})
}

func (c *calls) detokenize(ctx context.Context, token Token, config *callConfig, how how) (Value, error) {
	unit, err := tokenUnit(token)
	if err != nil {
		return Value{}, err
	}
	return one[Value](c.list(ctx, opDetokenize, units(unit), config, how))
}

// DetokenizeBatch reveals 1 to 1,000 values in one request. Items fail each by itself; the call fails only if there was no
// answer for any.
func (c *calls) DetokenizeBatch(ctx context.Context, tokens []Token, options ...CallOption) ([]Outcome[Value], error) {
	config, err := configured(c, options, CallOption.call)
	if err != nil {
		return nil, err
	}
	return c.detokenizeBatch(ctx, tokens, config, how{apart: true, asBatch: true})
}

func (c *calls) detokenizeBatch(ctx context.Context, tokens []Token, config *callConfig, how how) ([]Outcome[Value], error) {
	units, err := tokenUnits(tokens)
	if err != nil {
		return nil, err
	}
	return many[Value](c.list(ctx, opDetokenize, units, config, how))
}

// Delete deletes 1 to 1,000 values. A token that never had one is deleted, too. Items fail each by itself.
func (c *calls) Delete(ctx context.Context, tokens []Token, options ...CallOption) ([]Outcome[Deleted], error) {
	config, err := configured(c, options, CallOption.call)
	if err != nil {
		return nil, err
	}
	units, err := tokenUnits(tokens)
	if err != nil {
		return nil, err
	}
	return many[Deleted](c.list(ctx, opDelete, units, config, how{}))
}

// GetMetadata reads what is kept beside a value.
func (c *calls) GetMetadata(ctx context.Context, token Token, options ...CallOption) (Described, error) {
	config, err := configured(c, options, CallOption.call)
	if err != nil {
		return Described{}, err
	}
	text, err := sendable(token)
	if err != nil {
		return Described{}, err
	}
	body, err := encode(map[string]string{"token": text})
	if err != nil {
		return Described{}, err
	}
	var described Described
	err = c.send(ctx, "/v1/metadata/get", body, always, described.read, config, holder{c.view().config.session, true})
	return described, err
}

// SetMetadata replaces the whole of what is kept beside a value: by what encodes to a JSON object of at most 16 KiB.
func (c *calls) SetMetadata(ctx context.Context, token Token, metadata any, options ...SetOption) (Written, error) {
	config, err := configured(c, options, SetOption.set)
	if err != nil {
		return Written{}, err
	}
	text, err := sendable(token)
	if err != nil {
		return Written{}, err
	}
	object, err := metadataJSON(metadata)
	if err != nil {
		return Written{}, err
	}
	body, err := encode(setBody{text, object, config.ifVersion})
	if err != nil {
		return Written{}, err
	}
	// A second attempt would meet the version that the first one wrote.
	again := repeatable(config.ifVersion == nil)
	var written Written
	err = c.send(ctx, "/v1/metadata/set", body, again, written.read, config, holder{c.view().config.session, true})
	return written, err
}

type setBody struct {
	Token     string  `json:"token"`
	Metadata  rawJSON `json:"metadata"`
	IfVersion *uint64 `json:"if_version,omitempty"`
}

// rawJSON goes as it is.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// how a list is sent.
type how struct {
	// standing: a policy stands in for what nobody can answer.
	standing bool
	// apart from all others; asBatch: as a batch, also of one item.
	apart, asBatch bool
}

func (c *calls) list(ctx context.Context, operation *operation, units []unit, config *callConfig, how how) ([]unit, []result, error) {
	if len(units) == 0 {
		return nil, nil, failure(invalidRequest, "the list is empty: give 1 to 1,000 items")
	}
	spoken, limits, err := c.limits(ctx, config, how.standing)
	if err != nil {
		return nil, nil, err
	}
	limits.holder = holder{session: c.view().config.session}
	shared := shared{operation: operation, lines: spoken.lines, attempts: limits.attempts, asBatch: how.asBatch, key: config.key}
	submit := c.engine.batcher.submit
	if how.apart {
		submit = c.engine.batcher.alone
	}
	results, err := submit(ctx, shared, units, limits)
	return units, results, err
}

func (c *calls) send(ctx context.Context, path string, body []byte, again repeatable, read func(answered) error, config *callConfig, holder holder) error {
	spoken, limits, err := c.limits(ctx, config, false)
	if err != nil {
		return err
	}
	limits.holder = holder
	method := "POST"
	if body == nil {
		method = "GET"
	}
	wanted := wanted{method: method, path: path, lines: spoken.lines, body: body}
	return c.engine.send(ctx, &request{wanted: wanted, repeatable: again, read: read, limits: limits})
}

// limits of a call, and what it says beside its body.
func (c *calls) limits(ctx context.Context, config *callConfig, standing bool) (spoken, limits, error) {
	view, err := c.view(), error(nil)
	spoken, of := view.spoken, &view.config
	if config != nothing {
		of = &config.viewConfig
		if of.said != view.config.said {
			spoken, err = of.said.spoken()
		}
	}
	patience, attempts := of.deadline, view.attempts
	if !of.timed {
		patience = defaultDeadline
		if standing {
			patience = displayDeadline
		}
	}
	if attempts == 0 {
		attempts = defaultAttempts
		if standing {
			attempts = 1
		}
	}
	now := c.engine.clock.now()
	until := now.Add(patience)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until, patience = deadline, max(0, deadline.Sub(now))
	}
	return spoken, limits{until: until, patience: patience, attempts: attempts}, err
}

// nothing is what a call says of itself that has no options.
var nothing = &callConfig{}

// configured is what a call says of itself beyond its view. Without options nothing is made.
func configured[O any](c *calls, options []O, with func(O, *callConfig) error) (*callConfig, error) {
	if len(options) == 0 {
		return nothing, nil
	}
	config := &callConfig{viewConfig: c.view().config}
	for _, option := range options {
		if err := with(option, config); err != nil {
			return nil, err
		}
	}
	return config, nil
}

func units(one unit) []unit { return []unit{one} }

// one is the only item's.
func one[T any](_ []unit, results []result, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	if results[0].err != nil {
		return none, results[0].err
	}
	return *results[0].value.(*T), nil
}

// many are all items', in their order.
func many[T any](units []unit, results []result, err error) ([]Outcome[T], error) {
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome[T], len(results))
	for i := range results {
		outcomes[i].Token = units[i].token
		if results[i].err != nil {
			outcomes[i].Err = results[i].err
			continue
		}
		outcomes[i].Value = *results[i].value.(*T)
	}
	return outcomes, nil
}

// timeOf a call: for what has to be done within the same again.
func (c *calls) timeOf(ctx context.Context, config *callConfig) (context.Context, context.CancelFunc, error) {
	_, limits, err := c.limits(ctx, config, true)
	if err != nil {
		return nil, nil, err
	}
	within, cancel := context.WithDeadline(ctx, time.Now().Add(limits.patience))
	return within, cancel, nil
}
