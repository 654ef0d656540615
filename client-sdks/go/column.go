package lunasec

import (
	"context"
	"errors"
)

// Column is a column of tokens whose values can be revealed: scan into it, [RevealAll], and ask for its Text. It is stored
// as its token, and may be NULL. It prints redacted, as all that it holds does.
type Column struct {
	NullToken
	shown    Revealed[string]
	err      error
	revealed bool
}

// ColumnOf is a column that holds a token: to be stored.
func ColumnOf(token Token) Column { return Column{NullToken: NullToken{token, true}} }

// Scan reads a token or NULL, and forgets what was revealed before.
func (c *Column) Scan(source any) error {
	var token NullToken
	if err := token.Scan(source); err != nil {
		return err
	}
	*c = Column{NullToken: token}
	return nil
}

// ErrNotRevealed is what a [Column] gives that nobody has revealed.
var ErrNotRevealed = errors.New("lunasec: this column was not revealed: call lunasec.RevealAll after scanning")

// Text is the column's text, the mask where that stands in for it, or why there is none. NULL is the empty text.
func (c Column) Text() (string, error) {
	switch {
	case !c.Valid:
		return "", nil
	case !c.revealed:
		return "", ErrNotRevealed
	case c.err != nil:
		return "", c.err
	default:
		return Show(c.shown)
	}
}

// Revealed is what the column came to, for bytes, and for what stands in for a value.
func (c Column) Revealed() (Revealed[string], error) {
	if c.Valid && !c.revealed {
		return Revealed[string]{}, ErrNotRevealed
	}
	return c.shown, c.err
}

// Revealer is a [*Client], a [*Session], or what [Client.Masked] gives.
type Revealer interface {
	revealColumns(context.Context, []Token, []CallOption) ([]Outcome[Revealed[string]], error)
}

func (c *calls) revealColumns(ctx context.Context, tokens []Token, options []CallOption) ([]Outcome[Revealed[string]], error) {
	outcomes, err := c.DetokenizeBatch(ctx, tokens, options...)
	return AsRevealed[string](outcomes), err
}

func (r *Reader[F]) revealColumns(ctx context.Context, tokens []Token, options []CallOption) ([]Outcome[Revealed[string]], error) {
	reader, ok := any(r).(*Reader[string])
	if !ok {
		return nil, failure(invalidRequest, "columns show text: the Reader's fallback has to give a string")
	}
	return reader.DetokenizeBatch(ctx, tokens, options...)
}

// RevealAll reveals the columns of a whole result set: one request for each thousand different tokens. Of none, it asks
// nothing. Columns fail each by itself; it fails only if there was no answer for any of a thousand, and then no column is
// revealed.
//
//	err := lunasec.RevealAll(ctx, session, customers, func(c *Customer) []*lunasec.Column {
//		return []*lunasec.Column{&c.Name, &c.Card}
//	})
func RevealAll[R any](ctx context.Context, from Revealer, rows []R, columns func(*R) []*Column, options ...CallOption) error {
	places := map[Token][]*Column{}
	var tokens []Token
	for i := range rows {
		for _, column := range columns(&rows[i]) {
			if !column.Valid {
				continue
			}
			if places[column.Token] == nil {
				tokens = append(tokens, column.Token)
			}
			places[column.Token] = append(places[column.Token], column)
		}
	}
	all := make([]Outcome[Revealed[string]], 0, len(tokens))
	for start := 0; start < len(tokens); start += batchItems {
		outcomes, err := from.revealColumns(ctx, tokens[start:min(len(tokens), start+batchItems)], options)
		if err != nil {
			return err
		}
		all = append(all, outcomes...)
	}
	for i, outcome := range all {
		for _, column := range places[tokens[i]] {
			column.shown, column.err, column.revealed = outcome.Value, outcome.Err, true
		}
	}
	return nil
}
