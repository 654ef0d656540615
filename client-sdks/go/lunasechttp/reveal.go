package lunasechttp

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

type onlyReveal func(*config)

func (o onlyReveal) reveal(c *config) { o(c) }

// Masked shows •••• for what nobody can read; the page loads, and waits two seconds at most for all of it.
func Masked() RevealOption { return MaskedWith(lunasec.Mask) }

// MaskedWith shows a text for what nobody can read.
func MaskedWith(text string) RevealOption {
	return Instead(func(context.Context, lunasec.Token, *lunasec.Error) (any, error) { return text, nil })
}

// Instead shows what a function gives for what nobody can read: whatever encodes to JSON.
func Instead(fallback func(ctx context.Context, token lunasec.Token, why *lunasec.Error) (any, error)) RevealOption {
	return onlyReveal(func(c *config) { c.instead = fallback })
}

// GoneIsNull shows null for what was deleted or has expired; otherwise the whole answer is a 404 or 410.
func GoneIsNull() RevealOption { return onlyReveal(func(c *config) { c.goneNull = true }) }

// Reveal puts values where tokens are in these fields of a JSON answer; bytes as base64. It asks under the request's
// session, where there is one. A no to one field is a no to the whole answer. It goes out as no-store, unless the handler has
// a Cache-Control of its own, and without the handler's ETag and Last-Modified, which are of the body without values.
func Reveal(fields Fields, options ...RevealOption) func(http.Handler) http.Handler {
	parsed, config := parse(fields, ""), &config{}
	for _, option := range options {
		option.reveal(config)
	}
	return func(next http.Handler) http.Handler {
		return planned(next, func(plan *plan) {
			plan.bound(config.maxBytes)
			plan.reveals = append(plan.reveals, func(ctx context.Context, here *Here, data *any) error {
				return config.revealIn(ctx, here, data, parsed)
			})
		})
	}
}

func (c *config) revealIn(ctx context.Context, here *Here, data *any, fields []field) error {
	slots, tokens, err := tokensIn(data, fields)
	if err != nil || len(slots) == 0 {
		return err
	}
	caller, err := here.Caller()
	if err != nil {
		return err
	}
	var options []lunasec.CallOption
	if deadline := c.patient(here, c.instead != nil); deadline > 0 {
		options = append(options, lunasec.Deadline(deadline))
	}
	began := time.Now()
	outcomes, err := byToken(tokens, func(tokens []lunasec.Token) ([]lunasec.Outcome[lunasec.Revealed[any]], error) {
		return c.read(ctx, caller, tokens, options)
	})
	if err != nil {
		return err
	}
	inVain := false
	for i, slot := range slots {
		outcome := outcomes[tokens[i]]
		_, stoodIn := outcome.Value.StandIn()
		inVain = inVain || stoodIn
		shown, err := c.shown(here, slot, outcome)
		if err != nil {
			return err
		}
		slot.write(shown)
	}
	if c.instead != nil {
		here.waitedFor(began, inVain)
	}
	return nil
}

func (c *config) read(ctx context.Context, caller Caller, tokens []lunasec.Token, options []lunasec.CallOption) ([]lunasec.Outcome[lunasec.Revealed[any]], error) {
	if c.instead == nil {
		outcomes, err := caller.DetokenizeBatch(ctx, tokens, options...)
		return lunasec.AsRevealed[any](outcomes), err
	}
	return lunasec.Fallback(caller, c.instead).DetokenizeBatch(ctx, tokens, options...)
}

func (c *config) shown(here *Here, slot slot, outcome lunasec.Outcome[lunasec.Revealed[any]]) (any, error) {
	if outcome.Err != nil {
		if c.goneNull && errors.Is(outcome.Err, lunasec.ErrGone) {
			return nil, nil
		}
		return nil, ofData(slot, outcome.Err)
	}
	if standIn, ok := outcome.Value.StandIn(); ok {
		here.NoteMasked(outcome.Value.Err)
		return standIn, nil
	}
	value, _ := outcome.Value.Value()
	here.noteAge(value.Staleness)
	if text, err := value.Reveal(); err == nil {
		return text, nil
	}
	return base64.StdEncoding.EncodeToString(value.RevealBytes()), nil
}
