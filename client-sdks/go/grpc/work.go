package lunasecgrpc

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// work carries out the rules in the messages of one call.
type work struct {
	interceptor *interceptor
	method      string
	ask         func() (Who, error)
	// over when nobody waits for the call any more.
	over context.Context

	mutex sync.Mutex
	// asked is what Session gave or is about to give; nil where it is to be asked.
	asked *asked
}

// asked is a question that whoever comes meanwhile waits for, too.
type asked struct {
	done    chan struct{}
	session *lunasec.Session
	err     error
}

var errAsking = errors.New("lunasecgrpc: Options.Session makes a call that needs the session that it is to give: make it without this interceptor")
var errUnanswered = errors.New("lunasecgrpc: Options.Session did not return")

// askingKey is in the context of a Session function that the interceptor asks.
type askingKey struct{ interceptor *interceptor }

// bound is the call's session, which is asked for once; nil where it has none.
func (w *work) bound() (*lunasec.Session, error) {
	if w.ask == nil {
		return nil, nil
	}
	w.mutex.Lock()
	question, mine := w.asked, w.asked == nil
	if mine {
		question = &asked{done: make(chan struct{}), err: errUnanswered}
		w.asked = question
	}
	w.mutex.Unlock()
	if mine {
		w.answer(question)
		return question.session, question.err
	}
	select {
	case <-question.done:
		return question.session, question.err
	case <-w.over.Done():
		return nil, w.over.Err()
	}
}

// answer without the mutex: the function may do what it likes, and panic. After an error it is asked again.
func (w *work) answer(question *asked) {
	defer func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		if question.err != nil {
			w.asked = nil
		}
		close(question.done)
	}()
	question.session, question.err = w.sessionOf()
}

func (w *work) sessionOf() (*lunasec.Session, error) {
	who, err := w.ask()
	if err != nil || who.Session == "" {
		return nil, err
	}
	var options []lunasec.SessionOption
	if who.JWT != "" {
		options = append(options, lunasec.JWT(who.JWT))
	}
	return w.interceptor.options.Client.ForSession(who.Session, options...)
}

func (w *work) needed() (*lunasec.Session, error) {
	session, err := w.bound()
	if err == nil && session == nil {
		err = lunasec.NewError("unauthenticated", "the call has no session: the interceptor's Session gave none", false)
	}
	return session, err
}

type caller interface {
	lunasec.Speaker
	TokenizeBatch(context.Context, []lunasec.TokenizeItem, ...lunasec.BatchOption) ([]lunasec.Outcome[lunasec.Tokenized], error)
	DetokenizeBatch(context.Context, []lunasec.Token, ...lunasec.CallOption) ([]lunasec.Outcome[lunasec.Value], error)
}

func (w *work) any() (caller, error) {
	session, err := w.bound()
	if err != nil {
		return nil, err
	}
	if session == nil {
		return w.interceptor.options.Client, nil
	}
	return session, nil
}

// request as its handler gets it, or as it leaves the client: in place.
func (w *work) request(ctx context.Context, plan *plan, message proto.Message) error {
	slots, err := open(plan, message.ProtoReflect(), itemsIn)
	if err != nil {
		return err
	}
	var values, tokens []*slot
	for _, slot := range slots {
		known, err := w.isKnown(slot)
		if err != nil {
			return err
		}
		switch {
		case slot.rule.tokenize && !known:
			values = append(values, slot)
		case slot.rule.verify && w.interceptor.role != atClient && slot.raw != "":
			tokens = append(tokens, slot)
		}
	}
	// First of all: nothing is made for a call that is refused.
	if err := w.verify(ctx, tokens); err != nil {
		return err
	}
	return w.tokenize(ctx, values)
}

// isKnown: it is a token already; refused where nobody would look at whose it is.
func (w *work) isKnown(slot *slot) (bool, error) {
	if !slot.rule.tokenize {
		return true, nil
	}
	if w.interceptor.role == behindClients {
		if _, err := lunasec.ParseToken(slot.raw); err != nil {
			return false, slot.refuse("invalid_request", "clients tokenize this field; it holds something else")
		}
		return true, nil
	}
	switch wrong := lunasec.NoValue(slot.raw); {
	case wrong == "":
		return false, nil
	case wrong == lunasec.HoldsToken && slot.rule.verify:
		return true, nil
	case wrong == lunasec.HoldsToken:
		return false, slot.refuse("invalid_request", "it "+wrong+", and would be anybody's who found one; let the field say verify, too")
	default:
		return false, slot.refuse("invalid_request", "it "+wrong)
	}
}

// response as it leaves the server, or as the client's application gets it: in place.
func (w *work) response(ctx context.Context, plan *plan, message proto.Message) error {
	slots, err := open(plan, message.ProtoReflect(), itemsOut)
	if err != nil {
		return err
	}
	var granted, revealed []*slot
	for _, slot := range slots {
		if slot.raw == "" {
			continue
		}
		if slot.rule.grant != "" && w.interceptor.role != atClient {
			granted = append(granted, slot)
		}
		if slot.rule.detokenize && w.interceptor.role != behindClients {
			revealed = append(revealed, slot)
		}
	}
	if err := w.grant(ctx, granted, func(slot *slot) string { return slot.raw }); err != nil {
		return err
	}
	return w.detokenize(ctx, revealed)
}

func (w *work) verify(ctx context.Context, slots []*slot) error {
	if len(slots) == 0 {
		return nil
	}
	for _, slot := range slots {
		if _, err := lunasec.ParseToken(slot.raw); err != nil {
			return slot.refuse("invalid_token", "it holds no token")
		}
	}
	session, err := w.needed()
	if err != nil {
		return &fieldError{where: slots[0].where, err: err}
	}
	return byToken(slots, rawOf, func(tokens []lunasec.Token) ([]lunasec.Outcome[lunasec.Verdict], error) {
		return session.Verify(ctx, tokens)
	}, func(_ *slot, outcome lunasec.Outcome[lunasec.Verdict]) error {
		if errors.Is(outcome.Err, lunasec.ErrGone) {
			// One that never was is refused as somebody else's is: whoever tries tokens learns nothing.
			return lunasec.Verdict{}.Refusal()
		}
		if outcome.Err != nil {
			return outcome.Err
		}
		return outcome.Value.Refusal()
	})
}

func (w *work) tokenize(ctx context.Context, slots []*slot) error {
	if len(slots) == 0 {
		return nil
	}
	client, err := w.any()
	if err != nil {
		return err
	}
	made := make(map[*slot]string, len(slots))
	var granted []*slot
	for start := 0; start < len(slots); start += batchItems {
		some := slots[start:min(len(slots), start+batchItems)]
		items := make([]lunasec.TokenizeItem, len(some))
		for i, slot := range some {
			items[i].Value = slot.plaintext()
		}
		outcomes, err := client.TokenizeBatch(ctx, items)
		if err != nil {
			return &fieldError{where: some[0].where, err: err}
		}
		for i, outcome := range outcomes {
			if outcome.Err != nil {
				return &fieldError{where: some[i].where, err: outcome.Err}
			}
			made[some[i]] = outcome.Value.Token.Expose()
			if some[i].rule.grant != "" {
				granted = append(granted, some[i])
			}
		}
	}
	if err := w.grant(ctx, granted, func(slot *slot) string { return made[slot] }); err != nil {
		return err
	}
	for slot, token := range made {
		slot.write(token)
	}
	return nil
}

// grant the tokens of some fields, for as long as each rule says.
func (w *work) grant(ctx context.Context, slots []*slot, token func(*slot) string) error {
	if len(slots) == 0 {
		return nil
	}
	session, err := w.needed()
	if err != nil {
		return &fieldError{where: slots[0].where, err: err}
	}
	byLifetime := map[string][]*slot{}
	for _, slot := range slots {
		byLifetime[slot.rule.grant] = append(byLifetime[slot.rule.grant], slot)
	}
	for lifetime, slots := range byLifetime {
		err := byToken(slots, token, func(tokens []lunasec.Token) ([]lunasec.Outcome[lunasec.Granted], error) {
			return session.Grant(ctx, tokens, lunasec.ExpiresInWords(lifetime))
		}, func(_ *slot, outcome lunasec.Outcome[lunasec.Granted]) error { return outcome.Err })
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *work) detokenize(ctx context.Context, slots []*slot) error {
	if len(slots) == 0 {
		return nil
	}
	client, err := w.any()
	if err != nil {
		return err
	}
	return byToken(slots, rawOf, func(tokens []lunasec.Token) ([]lunasec.Outcome[lunasec.Revealed[string]], error) {
		if w.interceptor.options.Instead == nil {
			outcomes, err := client.DetokenizeBatch(ctx, tokens)
			return lunasec.AsRevealed[string](outcomes), err
		}
		return lunasec.Fallback(client, w.interceptor.options.Instead).DetokenizeBatch(ctx, tokens)
	}, func(slot *slot, outcome lunasec.Outcome[lunasec.Revealed[string]]) error {
		if outcome.Err != nil {
			return outcome.Err
		}
		if standIn, ok := outcome.Value.StandIn(); ok {
			slot.write(standIn)
			return nil
		}
		value, _ := outcome.Value.Value()
		return slot.reveal(value)
	})
}

func rawOf(slot *slot) string { return slot.raw }

// byToken asks about each token once, and tells each field what it came to; an error says which field it is about.
func byToken[T any](slots []*slot, of func(*slot) string, ask func([]lunasec.Token) ([]lunasec.Outcome[T], error), tell func(*slot, lunasec.Outcome[T]) error) error {
	places := map[lunasec.Token][]*slot{}
	var tokens []lunasec.Token
	for _, slot := range slots {
		token := lunasec.TokenOf(of(slot))
		if places[token] == nil {
			tokens = append(tokens, token)
		}
		places[token] = append(places[token], slot)
	}
	for start := 0; start < len(tokens); start += batchItems {
		some := tokens[start:min(len(tokens), start+batchItems)]
		outcomes, err := ask(some)
		if err != nil {
			return &fieldError{where: places[some[0]][0].where, err: err}
		}
		for i, outcome := range outcomes {
			for _, slot := range places[some[i]] {
				if err := tell(slot, outcome); err != nil {
					return ofField(slot, err)
				}
			}
		}
	}
	return nil
}

func ofField(slot *slot, err error) error {
	var known *fieldError
	if errors.As(err, &known) {
		return err
	}
	return &fieldError{where: slot.where, err: err}
}
