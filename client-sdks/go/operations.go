package lunasec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// TokenizeItem is a value to tokenize in a batch, and what goes with it.
type TokenizeItem struct {
	Value Plaintext
	// Metadata is what encodes to a JSON object; see the option [Metadata].
	Metadata any
	// ExpiresIn is for how long; 0: for ever. ExpiresInWords is the same in the contract's words, and goes before.
	ExpiresIn      time.Duration
	ExpiresInWords string
}

func tokenizeUnit(value Plaintext, metadata any, expiresIn string) (unit, error) {
	raw := value.raw()
	if err := refuseValue(value, raw); err != nil {
		return unit{}, err
	}
	json := append(make([]byte, 0, len(raw)*4/3+64), `{"value":`...)
	switch {
	case value.IsText():
		json = append(json, quoted(string(raw))...)
	case value.inside.form == asBytes:
		json = append(json, '"')
		json = base64.StdEncoding.AppendEncode(json, raw)
		json = append(json, `","encoding":"base64"`...)
	default:
		if !utf8.Valid(raw) {
			return unit{}, failure(invalidRequest, "a value that is given as base64 is no text at all")
		}
		json = append(json, quoted(string(raw))...)
		json = append(json, `,"encoding":"base64"`...)
	}
	clear(raw)
	if metadata != nil {
		object, err := metadataJSON(metadata)
		if err != nil {
			return unit{}, err
		}
		json = append(append(json, `,"metadata":`...), object...)
	}
	if expiresIn != "" {
		json = append(append(json, `,"expires_in":`...), quoted(expiresIn)...)
	}
	return unit{json: append(json, '}')}, nil
}

// metadataJSON refuses in it what something printed as: it would be kept in the place of what it was printed for.
func metadataJSON(metadata any) ([]byte, error) {
	object, err := encode(metadata)
	if err != nil {
		return nil, failure(invalidRequest, "the metadata is no JSON: give what encoding/json encodes").because(err)
	}
	if !utf8.Valid(object) {
		return nil, failure(invalidRequest, "the metadata is not UTF-8")
	}
	return bytes.TrimSpace(object), refusePrinted(string(object))
}

func tokenUnit(token Token) (unit, error) {
	text, err := sendable(token)
	if err != nil {
		return unit{}, err
	}
	return unit{json: quoted(text), text: text, token: token, named: true}, nil
}

func sendable(token Token) (string, error) {
	text := token.Expose()
	if err := refusePrintedToken(text); err != nil {
		return "", err
	}
	if !utf8.ValidString(text) {
		// The whole request would be refused for it, of whoever shares it.
		return "", failure(invalidToken, "a token is lunasec- and a UUID; this one is no text that can be sent")
	}
	return text, nil
}

func tokenUnits(tokens []Token) ([]unit, error) {
	units := make([]unit, len(tokens))
	for i, token := range tokens {
		made, err := tokenUnit(token)
		if err != nil {
			return nil, err
		}
		units[i] = made
	}
	return units, nil
}

var opTokenize = &operation{
	path: "/v1/tokenize:batch", bytes: batchBytes, before: `{"items":[`, alonePath: "/v1/tokenize", keyed: true,
	read: func(wire members, _ *unit, _ Staleness) (any, error) {
		text, err := wire.text("token")
		if err != nil {
			return nil, err
		}
		durability, err := wire.durability()
		return &Tokenized{TokenOf(text), durability}, err
	},
}

var opDetokenize = &operation{
	path: "/v1/detokenize:batch", bytes: tokenListBytes, before: `{"tokens":[`,
	alonePath: "/v1/detokenize", aloneBefore: `{"token":`, aloneAfter: `}`, reveals: true,
	read: func(wire members, unit *unit, ofAll Staleness) (any, error) {
		plaintext, err := wire.plaintext()
		if err != nil {
			return nil, err
		}
		age, err := wire.staleness(ofAll)
		return &Value{unit.token, plaintext, age}, err
	},
}

var opDelete = &operation{
	path: "/v1/delete", bytes: tokenListBytes, before: `{"tokens":[`,
	read: func(wire members, _ *unit, _ Staleness) (any, error) {
		if deleted, err := wire.flag("deleted"); err != nil || !deleted {
			return nil, misread("an item is neither deleted nor an error")
		}
		durability, err := wire.durability()
		return &Deleted{durability}, err
	},
}

func opGrant(session, expiresIn string, actions []Action) *operation {
	return &operation{
		path: "/v1/grants/create", bytes: tokenListBytes,
		before: before(struct {
			Session   string   `json:"session"`
			ExpiresIn string   `json:"expires_in,omitempty"`
			Actions   []Action `json:"actions,omitempty"`
		}{session, expiresIn, actions}),
		read: func(wire members, _ *unit, _ Staleness) (any, error) {
			until, err := wire.time("expires_at")
			if err != nil {
				return nil, err
			}
			durability, err := wire.durability()
			return &Granted{until, durability}, err
		},
	}
}

func opVerify(session string, action Action) *operation {
	return &operation{
		path: "/v1/grants/verify", bytes: tokenListBytes,
		before: before(struct {
			Session string `json:"session"`
			Action  Action `json:"action,omitempty"`
		}{session, action}),
		read: readVerdict,
	}
}

func readVerdict(wire members, _ *unit, ofAll Staleness) (any, error) {
	valid, err := wire.flag("valid")
	if err != nil {
		return nil, err
	}
	verdict := &Verdict{Valid: valid}
	if verdict.Staleness, err = wire.staleness(ofAll); err != nil {
		return nil, err
	}
	if valid {
		verdict.ExpiresAt, err = wire.time("expires_at")
	} else {
		verdict.Reason, err = wire.text("reason")
	}
	return verdict, err
}

// before is a body's text before its list of tokens.
func before(others any) string {
	out, err := encode(others)
	if err != nil {
		// Nothing in texts can fail.
		panic(err)
	}
	return string(out[:len(out)-1]) + `,"tokens":[`
}

func (d *Described) read(said answered) error {
	wire := said.body
	if _, err := object(wire.of("metadata"), "metadata"); err != nil {
		return err
	}
	var err error
	described := Described{Metadata: bytes.Clone(wire["metadata"]), Staleness: said.age}
	if described.Version, err = wire.count("version"); err != nil {
		return err
	}
	if described.CreatedAt, err = wire.time("created_at"); err != nil {
		return err
	}
	if wire.has("expires_at") {
		if described.ExpiresAt, err = wire.time("expires_at"); err != nil {
			return err
		}
	}
	if described.Staleness, err = wire.staleness(said.age); err != nil {
		return err
	}
	*d = described
	return nil
}

func (w *Written) read(said answered) (err error) {
	if w.Durability, err = said.body.durability(); err != nil {
		return err
	}
	w.Version, err = said.body.count("version")
	return err
}

func (r *Revoked) read(said answered) (err error) {
	if said.body.has("revoked") {
		count, err := said.body.count("revoked")
		if err != nil {
			return err
		}
		r.Tokens = &count
	}
	r.Durability, err = said.body.durability()
	return err
}

func (s *Status) read(said answered) (err error) {
	wire := said.body
	status := Status{All: bytes.Clone(said.raw)}
	if status.Version, err = wire.text("version"); err != nil {
		return err
	}
	if err := json.Unmarshal(wire.of("dependencies"), &status.Dependencies); err != nil || status.Dependencies == nil {
		return misread("dependencies is no object")
	}
	// What an older sidecar does not say is not known, and no more.
	status.UptimeSeconds, _ = wire.count("uptime_seconds")
	_ = json.Unmarshal(wire.of("journal"), &status.Journal)
	*s = status
	return nil
}
