package lunasechttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

type onlyGrant func(*config)

func (o onlyGrant) grant(c *config) { o(c) }

// Actions are what is granted: detokenize and metadata unless given.
func Actions(actions ...lunasec.Action) GrantOption {
	return onlyGrant(func(c *config) { c.actions = actions })
}

// SkipGrants lets an answer go out without its grants where nobody can grant; it is then marked as degraded.
func SkipGrants() GrantOption { return onlyGrant(func(c *config) { c.skip = true }) }

// Grant grants the tokens in these fields of a JSON answer to the request's session before it goes out: the user may hand
// them in again, past [Verify]. Fields that are missing or null are passed over. Grant what comes from your own data, or
// was tokenized or verified before.
func Grant(fields Fields, options ...GrantOption) func(http.Handler) http.Handler {
	parsed, config := parse(fields, ""), &config{}
	for _, option := range options {
		option.grant(config)
	}
	return func(next http.Handler) http.Handler {
		return planned(next, func(plan *plan) {
			plan.bound(config.maxBytes)
			plan.grants = append(plan.grants, func(ctx context.Context, here *Here, data *any) error {
				return config.grantIn(ctx, here, data, parsed)
			})
		})
	}
}

func (p *plan) bound(most int64) {
	if most > 0 {
		p.maxBytes = most
	}
}

func (c *config) grantIn(ctx context.Context, here *Here, data *any, fields []field) error {
	slots, tokens, err := tokensIn(data, fields)
	if err != nil || len(slots) == 0 {
		return err
	}
	session, err := here.Session()
	if err != nil {
		return err
	}
	var options []lunasec.GrantOption
	if c.expiresIn > 0 {
		options = append(options, lunasec.ExpiresIn(c.expiresIn))
	}
	if len(c.actions) > 0 {
		options = append(options, lunasec.Actions(c.actions...))
	}
	if deadline := c.patient(here, c.skip); deadline > 0 {
		options = append(options, lunasec.Deadline(deadline))
	}
	began := time.Now()
	outcomes, err := byToken(tokens, func(tokens []lunasec.Token) ([]lunasec.Outcome[lunasec.Granted], error) {
		return session.Grant(ctx, tokens, options...)
	})
	for i := 0; err == nil && i < len(slots); i++ {
		outcome := outcomes[tokens[i]]
		here.noteWritten(outcome.Value.Durability)
		err = ofData(slots[i], outcome.Err)
	}
	if !c.skip {
		return err
	}
	unavailable := errors.Is(err, lunasec.ErrUnavailable)
	here.waitedFor(began, unavailable)
	if unavailable {
		var known *lunasec.Error
		errors.As(err, &known)
		here.noteSkipped(known)
		return nil
	}
	return err
}

// patient is the deadline of a call: of one that a page can do without, what is left of the page's patience.
func (c *config) patient(here *Here, canDoWithout bool) time.Duration {
	if c.deadline > 0 || !canDoWithout {
		return c.deadline
	}
	return here.patience()
}

// tokensIn the fields of the application's own data.
func tokensIn(data *any, fields []field) ([]slot, []lunasec.Token, error) {
	slots, err := find(data, fields, ofAnswer)
	if err != nil {
		return nil, nil, err
	}
	tokens := make([]lunasec.Token, len(slots))
	for i, slot := range slots {
		text, _ := slot.value.(string)
		if tokens[i], err = lunasec.ParseToken(text); err != nil {
			return nil, nil, ofAnswer.refuse(slot.field, "holds no token: give what Token.Expose() gives, or a lunasec.Exposed")
		}
	}
	return slots, tokens, nil
}

// ofData is why a field of an answer failed: a call that was refused is nothing that whoever made the request could mend.
func ofData(slot slot, err error) error {
	if errors.Is(err, lunasec.ErrBadRequest) {
		var known *lunasec.Error
		errors.As(err, &known)
		return fmt.Errorf("lunasechttp: the field %s of the answer, or an option of its route, was refused: %s", slot.field, known.Detail)
	}
	return err
}
