package lunasec

import (
	"context"
	"errors"
	"fmt"
)

// Speaker is a [*Client] or a [*Session].
type Speaker interface{ speaker() *calls }

func (c *calls) speaker() *calls { return c }

// Reader reveals values, and shows something else when nobody can answer: the sidecar, its storage or its keys are away.
// Never when the answer is no: [ErrGrantDenied], [ErrForbidden], [ErrNotFound], [ErrRateLimited] and all else are errors
// as ever. It asks once, and waits 2 s unless [Deadline] says otherwise: a page waits for it.
//
// F is what it shows instead: a string for masks, and whatever a [Fallback] gives.
type Reader[F any] struct {
	calls    *calls
	fallback func(context.Context, Token, *Error) (F, error)
	quick    bool
}

// Revealed is a value, or what stands in for it. Whoever wants either has to look which it is.
type Revealed[F any] struct {
	// Token that it is about.
	Token Token
	// Reason is the code of the error that something stands in for; empty where there is a value.
	Reason string
	// Err is all that is known about it.
	Err *Error

	value Value
	// Behind a pointer: it may be the value, from elsewhere.
	standIn *F
}

// Value is what was revealed, and whether it was.
func (r Revealed[F]) Value() (Value, bool) { return r.value, r.Err == nil }

// StandIn is what stands in for it, and whether something does.
func (r Revealed[F]) StandIn() (F, bool) {
	if r.standIn == nil {
		var none F
		return none, false
	}
	return *r.standIn, true
}

// Format says which it is, and shows neither.
func (r Revealed[F]) Format(state fmt.State, _ rune) { fmt.Fprint(state, r.String()) }

// String says which it is, and shows neither.
func (r Revealed[F]) String() string {
	if r.Err == nil {
		return plaintextPrint
	}
	return "[lunasec: something stands in for a value: " + r.Reason + "]"
}

// Show is the text of a value, or the mask that stands in for it.
func Show(revealed Revealed[string]) (string, error) {
	if mask, ok := revealed.StandIn(); ok {
		return mask, nil
	}
	return revealed.value.Reveal()
}

// Masked shows •••• when nobody can answer.
func (c *calls) Masked() *Reader[string] { return c.MaskedWith(Mask) }

// MaskedWith shows a text when nobody can answer.
func (c *calls) MaskedWith(text string) *Reader[string] {
	return &Reader[string]{calls: c, quick: true, fallback: func(context.Context, Token, *Error) (string, error) {
		return text, nil
	}}
}

// Fallback shows what a function gives when nobody can answer. Its context has the call's deadline, which begins anew for
// it. Its error is the call's; in a batch, that of the item is [ErrUnavailable], and its cause.
func Fallback[F any](from Speaker, fallback func(ctx context.Context, token Token, why *Error) (F, error)) *Reader[F] {
	return &Reader[F]{calls: from.speaker(), fallback: fallback}
}

// Format shows nothing of its session.
func (r *Reader[F]) Format(state fmt.State, verb rune) { r.calls.Format(state, verb) }

// String shows nothing of its session.
func (r *Reader[F]) String() string { return clientPrint }

// Detokenize reveals one value, or gives what stands in for it.
func (r *Reader[F]) Detokenize(ctx context.Context, token Token, options ...CallOption) (Revealed[F], error) {
	config, err := configured(r.calls, options, CallOption.call)
	if err != nil {
		return Revealed[F]{}, err
	}
	value, err := r.calls.detokenize(ctx, token, config, how{standing: true})
	away := standsInFor(err)
	if err == nil || away == nil {
		return Revealed[F]{Token: token, value: value}, err
	}
	within, cancel, err := r.within(ctx, config)
	if err != nil {
		return Revealed[F]{}, err
	}
	defer cancel()
	return r.instead(within, token, away)
}

// DetokenizeBatch reveals 1 to 1,000 values in one request. Items fail each by itself, and what nobody can answer is stood
// in for.
func (r *Reader[F]) DetokenizeBatch(ctx context.Context, tokens []Token, options ...CallOption) ([]Outcome[Revealed[F]], error) {
	config, err := configured(r.calls, options, CallOption.call)
	if err != nil {
		return nil, err
	}
	outcomes, err := r.calls.detokenizeBatch(ctx, tokens, config, how{standing: true, apart: true, asBatch: true})
	if err != nil {
		away := standsInFor(err)
		if away == nil {
			return nil, err
		}
		outcomes = make([]Outcome[Value], len(tokens))
		for i, token := range tokens {
			outcomes[i] = Outcome[Value]{Token: token, Err: away}
		}
	}
	within, cancel, err := r.within(ctx, config)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return r.all(ctx, within, outcomes)
}

func (r *Reader[F]) all(ctx, within context.Context, outcomes []Outcome[Value]) ([]Outcome[Revealed[F]], error) {
	revealed := make([]Outcome[Revealed[F]], len(outcomes))
	for i, outcome := range outcomes {
		revealed[i] = Outcome[Revealed[F]]{Token: outcome.Token, Err: outcome.Err}
		away := standsInFor(outcome.Err)
		if away == nil {
			revealed[i].Value = Revealed[F]{Token: outcome.Token, value: outcome.Value}
			continue
		}
		instead, err := r.instead(within, outcome.Token, away)
		if err != nil && errors.Is(ctx.Err(), context.Canceled) {
			return nil, givenUp(ctx)
		}
		revealed[i].Value, revealed[i].Err = instead, ofItem(err, away)
	}
	return revealed, nil
}

// ofItem is what an item failed with: whoever reads items finds errors of this package only.
func ofItem(err error, away *Error) error {
	if err == nil {
		return nil
	}
	if known := asError(err); known != nil {
		return known
	}
	of := *away
	of.Detail += "; and the fallback failed: see errors.Unwrap, and mend the fallback"
	return of.because(err)
}

func (r *Reader[F]) within(ctx context.Context, config *callConfig) (context.Context, context.CancelFunc, error) {
	if r.quick {
		return ctx, func() {}, nil
	}
	return r.calls.timeOf(ctx, config)
}

func (r *Reader[F]) instead(ctx context.Context, token Token, away *Error) (Revealed[F], error) {
	given, err := r.fallback(ctx, token, away)
	if err != nil {
		return Revealed[F]{}, err
	}
	return Revealed[F]{Token: token, Reason: away.Code, Err: away, standIn: &given}, nil
}

// standsInFor is the error that something may stand in for; nil for any other. Not where the client was closed: that is no
// outage, but a mistake to be seen.
func standsInFor(err error) *Error {
	known := asError(err)
	if known == nil || known.kind == nil || !known.kind.is(unavailable) || known.closed {
		return nil
	}
	return known
}

// AsRevealed are values as a [Reader] gives them, where nothing stood in for any: for code that takes both.
func AsRevealed[F any](outcomes []Outcome[Value]) []Outcome[Revealed[F]] {
	revealed := make([]Outcome[Revealed[F]], len(outcomes))
	for i, outcome := range outcomes {
		revealed[i] = Outcome[Revealed[F]]{outcome.Token, Revealed[F]{Token: outcome.Token, value: outcome.Value}, outcome.Err}
	}
	return revealed
}
