package lunasec

import "context"

// Session is a client that speaks for one session of one end user: what it grants, verifies and reveals is that session's,
// so that no two ids can be mixed up. Made by [Client.ForSession].
type Session struct {
	calls
}

// Grant lets the session do something with 1 to 1,000 tokens, for a time. Calls that are made at once share a request. No
// policy stands in for it.
func (s *Session) Grant(ctx context.Context, tokens []Token, options ...GrantOption) ([]Outcome[Granted], error) {
	config, err := configured(&s.calls, options, GrantOption.grant)
	if err != nil {
		return nil, err
	}
	units, err := tokenUnits(tokens)
	if err != nil {
		return nil, err
	}
	operation := opGrant(s.view().config.session, config.expiresIn, config.actions)
	return many[Granted](s.list(ctx, operation, units, config, how{}))
}

// Verify asks whether the session may do something with 1 to 1,000 tokens. Calls that are made at once share a request. No
// policy stands in for it: where nobody knows, items or the call fail, and neither is a yes.
func (s *Session) Verify(ctx context.Context, tokens []Token, options ...VerifyOption) ([]Outcome[Verdict], error) {
	config, err := configured(&s.calls, options, VerifyOption.verify)
	if err != nil {
		return nil, err
	}
	units, err := tokenUnits(tokens)
	if err != nil {
		return nil, err
	}
	return many[Verdict](s.list(ctx, opVerify(s.view().config.session, config.action), units, config, how{}))
}

// Revoke takes back all that the session was granted for 1 to 1,000 tokens.
func (s *Session) Revoke(ctx context.Context, tokens []Token, options ...CallOption) (Revoked, error) {
	if len(tokens) == 0 {
		return Revoked{}, failure(invalidRequest, "the list is empty: give 1 to 1,000 tokens, or ask for RevokeAll")
	}
	texts := make([]string, len(tokens))
	for i, token := range tokens {
		text, err := sendable(token)
		if err != nil {
			return Revoked{}, err
		}
		texts[i] = text
	}
	return s.revoke(ctx, texts, options)
}

// RevokeAll takes back all that the session was granted: for a logout.
func (s *Session) RevokeAll(ctx context.Context, options ...CallOption) (Revoked, error) {
	return s.revoke(ctx, nil, options)
}

func (s *Session) revoke(ctx context.Context, texts []string, options []CallOption) (Revoked, error) {
	config, err := configured(&s.calls, options, CallOption.call)
	if err != nil {
		return Revoked{}, err
	}
	body, err := encode(struct {
		Session string   `json:"session"`
		Tokens  []string `json:"tokens,omitempty"`
	}{s.view().config.session, texts})
	if err != nil {
		return Revoked{}, err
	}
	var revoked Revoked
	// Bounded by the process alone: what takes grants back is not refused because of what the session does beside it.
	err = s.send(ctx, "/v1/grants/revoke", body, always, revoked.read, config, holder{})
	return revoked, err
}
