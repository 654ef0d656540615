package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// arguments are the bodies of the contract's requests.
type arguments struct {
	item
	Items     []item           `json:"items"`
	Token     string           `json:"token"`
	Tokens    []string         `json:"tokens"`
	IfVersion *uint64          `json:"if_version"`
	Session   string           `json:"session"`
	Actions   []lunasec.Action `json:"actions"`
	Action    lunasec.Action   `json:"action"`
}

type item struct {
	Value     string          `json:"value"`
	Encoding  string          `json:"encoding"`
	Metadata  json.RawMessage `json:"metadata"`
	ExpiresIn string          `json:"expires_in"`
}

type wire = map[string]any

// speaker is what clients and sessions can both do.
type speaker interface {
	lunasec.Speaker
	Tokenize(context.Context, lunasec.Plaintext, ...lunasec.TokenizeOption) (lunasec.Tokenized, error)
	TokenizeBatch(context.Context, []lunasec.TokenizeItem, ...lunasec.BatchOption) ([]lunasec.Outcome[lunasec.Tokenized], error)
	Detokenize(context.Context, lunasec.Token, ...lunasec.CallOption) (lunasec.Value, error)
	DetokenizeBatch(context.Context, []lunasec.Token, ...lunasec.CallOption) ([]lunasec.Outcome[lunasec.Value], error)
	GetMetadata(context.Context, lunasec.Token, ...lunasec.CallOption) (lunasec.Described, error)
	SetMetadata(context.Context, lunasec.Token, any, ...lunasec.SetOption) (lunasec.Written, error)
	Delete(context.Context, []lunasec.Token, ...lunasec.CallOption) ([]lunasec.Outcome[lunasec.Deleted], error)
	MaskedWith(string) *lunasec.Reader[string]
	Masked() *lunasec.Reader[string]
}

func speakerOf(client *lunasec.Client, given options) (speaker, error) {
	if given.Session == nil {
		return client, nil
	}
	if given.JWT != nil {
		return client.ForSession(*given.Session, lunasec.JWT(*given.JWT))
	}
	return client.ForSession(*given.Session)
}

type operation func(context.Context, *lunasec.Client, arguments, options) (any, any, error)

// operations give an answer in the contract's words, the result, and the error.
var operations = map[string]operation{
	"tokenize": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		speaker, err := speakerOf(client, said)
		if err != nil {
			return nil, nil, err
		}
		all := commonTokenize(said)
		if given.Metadata != nil {
			all = append(all, lunasec.Metadata(given.Metadata))
		}
		if given.ExpiresIn != "" {
			all = append(all, expiresIn(given.ExpiresIn))
		}
		result, err := speaker.Tokenize(ctx, given.plaintext(), all...)
		return tokenized(result), result, err
	},
	"tokenize_batch": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		speaker, err := speakerOf(client, said)
		if err != nil {
			return nil, nil, err
		}
		items := make([]lunasec.TokenizeItem, len(given.Items))
		for i, item := range given.Items {
			items[i] = lunasec.TokenizeItem{Value: item.plaintext(), ExpiresInWords: item.ExpiresIn}
			if item.Metadata != nil {
				items[i].Metadata = item.Metadata
			}
		}
		var all []lunasec.BatchOption
		for _, each := range said.common() {
			all = append(all, each)
		}
		if said.IdempotencyKey != nil {
			all = append(all, lunasec.IdempotencyKey(*said.IdempotencyKey))
		}
		result, err := speaker.TokenizeBatch(ctx, items, all...)
		return itemsOf(result, tokenized), result, err
	},
	"detokenize":       detokenize,
	"detokenize_batch": detokenizeBatch,
	"metadata_get": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		speaker, err := speakerOf(client, said)
		if err != nil {
			return nil, nil, err
		}
		result, err := speaker.GetMetadata(ctx, lunasec.TokenOf(given.Token), said.common()...)
		of := aged(wire{"metadata": result.Metadata, "version": result.Version, "created_at": when(result.CreatedAt)}, result.Staleness)
		if !result.ExpiresAt.IsZero() {
			of["expires_at"] = when(result.ExpiresAt)
		}
		return of, result, err
	},
	"metadata_set": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		speaker, err := speakerOf(client, said)
		if err != nil {
			return nil, nil, err
		}
		var all []lunasec.SetOption
		for _, each := range said.common() {
			all = append(all, each)
		}
		if given.IfVersion != nil {
			all = append(all, lunasec.IfVersion(*given.IfVersion))
		}
		result, err := speaker.SetMetadata(ctx, lunasec.TokenOf(given.Token), given.Metadata, all...)
		return wire{"durability": result.Durability, "version": result.Version}, result, err
	},
	"grants_create": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		session, err := client.ForSession(given.Session)
		if err != nil {
			return nil, nil, err
		}
		var all []lunasec.GrantOption
		for _, each := range said.common() {
			all = append(all, each)
		}
		if given.ExpiresIn != "" {
			all = append(all, expiresIn(given.ExpiresIn))
		}
		if given.Actions != nil {
			all = append(all, lunasec.Actions(given.Actions...))
		}
		result, err := session.Grant(ctx, lunasec.TokensOf(given.Tokens...), all...)
		return itemsOf(result, func(granted lunasec.Granted) wire {
			return wire{"expires_at": when(granted.ExpiresAt), "durability": granted.Durability}
		}), result, err
	},
	"grants_verify": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		session, err := client.ForSession(given.Session)
		if err != nil {
			return nil, nil, err
		}
		var all []lunasec.VerifyOption
		for _, each := range said.common() {
			all = append(all, each)
		}
		if given.Action != "" {
			all = append(all, lunasec.For(given.Action))
		}
		result, err := session.Verify(ctx, lunasec.TokensOf(given.Tokens...), all...)
		return itemsOf(result, func(verdict lunasec.Verdict) wire {
			if verdict.Valid {
				return aged(wire{"valid": true, "expires_at": when(verdict.ExpiresAt)}, verdict.Staleness)
			}
			return aged(wire{"valid": false, "reason": verdict.Reason}, verdict.Staleness)
		}), result, err
	},
	"grants_revoke": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		session, err := client.ForSession(given.Session)
		if err != nil {
			return nil, nil, err
		}
		var result lunasec.Revoked
		if given.Tokens == nil {
			result, err = session.RevokeAll(ctx, said.common()...)
		} else {
			result, err = session.Revoke(ctx, lunasec.TokensOf(given.Tokens...), said.common()...)
		}
		of := wire{"durability": result.Durability}
		if result.Tokens != nil {
			of["revoked"] = *result.Tokens
		}
		return of, result, err
	},
	"delete": func(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
		speaker, err := speakerOf(client, said)
		if err != nil {
			return nil, nil, err
		}
		result, err := speaker.Delete(ctx, lunasec.TokensOf(given.Tokens...), said.common()...)
		return itemsOf(result, func(deleted lunasec.Deleted) wire {
			return wire{"deleted": true, "durability": deleted.Durability}
		}), result, err
	},
	"status": func(ctx context.Context, client *lunasec.Client, _ arguments, said options) (any, any, error) {
		result, err := client.Status(ctx, said.common()...)
		return result.All, result, err
	},
}

func commonTokenize(said options) []lunasec.TokenizeOption {
	var all []lunasec.TokenizeOption
	for _, each := range said.common() {
		all = append(all, each)
	}
	if said.IdempotencyKey != nil {
		all = append(all, lunasec.IdempotencyKey(*said.IdempotencyKey))
	}
	return all
}

// expiresIn is a time where Go's own words say the same.
func expiresIn(text string) lunasec.LifetimeOption {
	if after, err := time.ParseDuration(text); err == nil && after > 0 {
		return lunasec.ExpiresIn(after)
	}
	return lunasec.ExpiresInWords(text)
}

// plaintext is bytes as bytes, where the text is the base64 of some.
func (i item) plaintext() lunasec.Plaintext {
	if i.Encoding != "base64" {
		return lunasec.Text(i.Value)
	}
	if bytes, err := base64.StdEncoding.Strict().DecodeString(i.Value); err == nil {
		return lunasec.Bytes(bytes)
	}
	return lunasec.Base64(i.Value)
}

// policies: what stands in, in the types of the SDK.
func detokenize(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
	speaker, err := speakerOf(client, said)
	if err != nil {
		return nil, nil, err
	}
	token := lunasec.TokenOf(given.Token)
	reader, key := readerOf(speaker, said.OnUnavailable)
	if reader == nil {
		result, err := speaker.Detokenize(ctx, token, said.common()...)
		return revealed(result), result, err
	}
	result, err := reader.Detokenize(ctx, token, said.common()...)
	return shown(result, key), result, err
}

func detokenizeBatch(ctx context.Context, client *lunasec.Client, given arguments, said options) (any, any, error) {
	speaker, err := speakerOf(client, said)
	if err != nil {
		return nil, nil, err
	}
	tokens := lunasec.TokensOf(given.Tokens...)
	reader, key := readerOf(speaker, said.OnUnavailable)
	if reader == nil {
		result, err := speaker.DetokenizeBatch(ctx, tokens, said.common()...)
		return itemsOf(result, revealed), result, err
	}
	result, err := reader.DetokenizeBatch(ctx, tokens, said.common()...)
	return itemsOf(result, func(each lunasec.Revealed[string]) wire { return shown(each, key) }), result, err
}

// readerOf a policy, and what its stand-ins are called; nil where none stands in.
func readerOf(speaker speaker, policy json.RawMessage) (*lunasec.Reader[string], string) {
	var word string
	if policy == nil || json.Unmarshal(policy, &word) == nil {
		if word == "mask" {
			return speaker.Masked(), "masked"
		}
		return nil, ""
	}
	var texts struct{ Mask, Fallback *string }
	if err := json.Unmarshal(policy, &texts); err != nil {
		return nil, ""
	}
	if texts.Mask != nil {
		return speaker.MaskedWith(*texts.Mask), "masked"
	}
	return lunasec.Fallback(speaker, func(context.Context, lunasec.Token, *lunasec.Error) (string, error) {
		return *texts.Fallback, nil
	}), "fallback"
}

func itemsOf[T any](outcomes []lunasec.Outcome[T], ok func(T) wire) wire {
	items := make([]wire, len(outcomes))
	for i, outcome := range outcomes {
		var known *lunasec.Error
		if errors.As(outcome.Err, &known) {
			items[i] = wire{"error": wire{"code": known.Code, "detail": known.Detail, "retryable": known.Retryable}}
		} else {
			items[i] = ok(outcome.Value)
		}
		if !outcome.Token.IsZero() {
			items[i]["token"] = outcome.Token.Expose()
		}
	}
	return wire{"items": items}
}

func tokenized(result lunasec.Tokenized) wire {
	return wire{"token": result.Token.Expose(), "durability": result.Durability}
}

func revealed(result lunasec.Value) wire {
	if text, err := result.Reveal(); err == nil {
		return aged(wire{"value": text, "encoding": "utf8"}, result.Staleness)
	}
	bytes := base64.StdEncoding.EncodeToString(result.RevealBytes())
	return aged(wire{"value": bytes, "encoding": "base64"}, result.Staleness)
}

func shown(result lunasec.Revealed[string], key string) wire {
	if value, ok := result.Value(); ok {
		return revealed(value)
	}
	standIn, _ := result.StandIn()
	return wire{key: standIn, "reason": result.Reason}
}

func aged(of wire, staleness lunasec.Staleness) wire {
	if staleness.Degraded != "" {
		of["degraded"], of["age"] = staleness.Degraded, int(staleness.Age.Seconds())
	}
	return of
}

func when(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
