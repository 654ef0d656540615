package lunasec

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAnAnswerIsReadToTheLetter(t *testing.T) {
	for name, body := range map[string]string{
		"a member in another case":      `{"Value":"v","encoding":"utf8"}`,
		"half of a surrogate pair":      `{"value":"\ud800","encoding":"utf8"}`,
		"half beside a replacement":     `{"value":"\ufffd\ud800","encoding":"utf8"}`,
		"bytes that are no UTF-8":       "{\"value\":\"\xff\",\"encoding\":\"utf8\"}",
		"two bodies":                    `{"value":"v","encoding":"utf8"}{}`,
		"base64 with a line break":      `{"value":"AP8=\n","encoding":"base64"}`,
		"base64 that is cut":            `{"value":"AP8","encoding":"base64"}`,
		"base64 with bits left over":    `{"value":"AP9=","encoding":"base64"}`,
		"null for a value":              `{"value":null,"encoding":"utf8"}`,
		"a degradation that is no text": `{"value":"v","encoding":"utf8","degraded":1}`,
		"an age that is no count":       `{"value":"v","encoding":"utf8","degraded":"storage","age":"1"}`,
	} {
		client, sidecar := scene(t, newClock())
		sidecar.answers(t, func(_ int, came *came) {
			came.reply <- reply{answer: &answer{status: 200, contentType: "application/json", requestID: "r-9", body: []byte(body)}}
		})
		_, err := client.Detokenize(context.Background(), tokenN(1))
		if !errors.Is(err, ErrProtocol) || asError(err).RequestID != "r-9" || strings.Contains(err.Error(), "AP") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryAnswerThatIsNoneIsRefused(t *testing.T) {
	ctx := context.Background()
	one := []Token{tokenN(1)}
	about := `"token":"` + tokenN(1).Expose() + `"`
	calls := map[string]func(*Client) error{
		"tokenize":     func(c *Client) error { _, err := c.Tokenize(ctx, Text("v")); return err },
		"delete":       func(c *Client) error { _, err := c.Delete(ctx, one); return err },
		"get metadata": func(c *Client) error { _, err := c.GetMetadata(ctx, tokenN(1)); return err },
		"set metadata": func(c *Client) error { _, err := c.SetMetadata(ctx, tokenN(1), map[string]any{}); return err },
		"status":       func(c *Client) error { _, err := c.Status(ctx); return err },
		"grant": func(c *Client) error {
			session, err := c.ForSession("s")
			if err != nil {
				return err
			}
			_, err = session.Grant(ctx, one)
			return err
		},
		"revoke": func(c *Client) error {
			session, err := c.ForSession("s")
			if err != nil {
				return err
			}
			_, err = session.RevokeAll(ctx)
			return err
		},
	}
	for name, body := range map[string]string{
		"tokenize":     `{"token":1,"durability":"stored"}`,
		"delete":       `{"items":[{` + about + `,"deleted":false,"durability":"stored"}]}`,
		"get metadata": `{"metadata":[],"version":1,"created_at":"2026-01-02T03:04:05Z"}`,
		"set metadata": `{"durability":"stored","version":-1}`,
		"status":       `{"version":"1","dependencies":null}`,
		"grant":        `{"items":[{` + about + `,"expires_at":"soon","durability":"stored"}]}`,
		"revoke":       `{"revoked":1.5,"durability":"stored"}`,
	} {
		client, sidecar := scene(t, newClock())
		sidecar.answers(t, func(_ int, came *came) { came.json(t, 200, json.RawMessage(body)) })
		if err := calls[name](client); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnOlderSidecarThatSaysLessIsUnderstood(t *testing.T) {
	client, sidecar := scene(t, newClock())
	sidecar.answers(t, func(_ int, came *came) {
		switch came.wanted.path {
		case "/v1/status":
			came.json(t, 200, json.RawMessage(`{"version":"0.0.1","dependencies":{"storage":{"state":"up"}}}`))
		default:
			came.problem(t, "storage_unavailable", 503, map[string]any{"retryable": false})
		}
	})
	status, err := client.Status(context.Background())
	if err != nil || status.Version != "0.0.1" || status.Dependencies["storage"].State != "up" || status.Journal.Pending != 0 {
		t.Errorf("%+v, %v", status, err)
	}
	_, err = client.Detokenize(context.Background(), tokenN(1))
	if _, known := asError(err).RetryAfter(); known {
		t.Error("it says a time that nobody said")
	}
}

func TestANewerSidecarThatSaysMoreIsUnderstood(t *testing.T) {
	client, sidecar := scene(t, newClock())
	sidecar.answers(t, func(_ int, came *came) {
		came.json(t, 200, json.RawMessage(`{"newer":{"a":[1]},"value":"v","encoding":"utf8","degraded":"clocks","age":7}`))
	})
	value, err := client.Detokenize(context.Background(), tokenN(1))
	if err != nil || value.Degraded != "clocks" || value.Age.Seconds() != 7 {
		t.Errorf("%+v, %v", value.Staleness, err)
	}
}

// FuzzAnswers: no answer makes the client panic, quote it, or give a value that is not in it.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"value":"4111 1111","encoding":"utf8"}`, `{"items":[{"token":"t","error":{"code":"x","detail":"y","retryable":true}}]}`,
		`{"items":[]}`, `null`, `{"value":"\ud83c\udf19","encoding":"utf8"}`, `{"code":"tired","detail":"d","retryable":false}`,
	} {
		f.Add(200, "application/json", []byte(seed))
		f.Add(503, "application/problem+json", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		said, err := read(&answer{status: status, contentType: kind, body: body})
		if err != nil {
			if asError(err) == nil {
				t.Errorf("%T", err)
			}
			return
		}
		if status != 200 || !utf8.Valid(body) {
			t.Error("an answer that is none is one")
		}
		unit, err := tokenUnit(TokenOf("t"))
		if err != nil {
			t.Fatal(err)
		}
		for _, operation := range []*operation{opTokenize, opDetokenize, opDelete, opGrant("s", "", nil), opVerify("s", "")} {
			results, err := operation.results(said, units(unit))
			if err == nil && !results[0].known() {
				t.Errorf("%s came to nothing", operation.path)
			}
			if err != nil && !errors.Is(err, ErrProtocol) {
				t.Errorf("%T", err)
			}
		}
		if value, err := opDetokenize.read(said.body, &unit, said.age); err == nil {
			if plaintext := value.(*Value).Plaintext; plaintext.IsText() && !utf8.Valid(plaintext.RevealBytes()) {
				t.Error("a text that is none")
			}
		}
		for _, read := range []func(answered) error{new(Described).read, new(Written).read, new(Revoked).read, new(Status).read} {
			if err := read(said); err != nil && !errors.Is(err, ErrProtocol) {
				t.Errorf("%T", err)
			}
		}
	})
}
