package lunasec

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func away(t *testing.T, options ...Option) *Client {
	client, sidecar := scene(t, newClock(), append([]Option{Retries(Retry{Attempts: 1})}, options...)...)
	sidecar.answers(t, func(_ int, came *came) { came.problem(t, "storage_unavailable", 503, nil) })
	return client
}

func TestAFallbackGivesWhatItsFunctionGives(t *testing.T) {
	type person struct{ name string }
	reader := Fallback(away(t), func(ctx context.Context, token Token, why *Error) (person, error) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > displayDeadline {
			t.Errorf("its time is not the call's: %v", deadline)
		}
		return person{fmt.Sprintf("%t %s", token == tokenN(1), why.Code)}, nil
	})
	shown, err := reader.Detokenize(context.Background(), tokenN(1))
	if someone, ok := shown.StandIn(); err != nil || !ok || someone.name != "true storage_unavailable" {
		t.Errorf("%v, %v", someone, err)
	}
	if _, ok := shown.Value(); ok {
		t.Error("there is a value, too")
	}
}

func TestAFallbackThatFails(t *testing.T) {
	wrong := errors.New("no cache")
	reader := Fallback(away(t), func(context.Context, Token, *Error) (string, error) { return "", wrong })
	if _, err := reader.Detokenize(context.Background(), tokenN(1)); err != wrong {
		t.Errorf("alone: %v", err)
	}
	outcomes, err := reader.DetokenizeBatch(context.Background(), []Token{tokenN(1), tokenN(2)})
	if err != nil || len(outcomes) != 2 {
		t.Fatal(outcomes, err)
	}
	for _, outcome := range outcomes {
		if !errors.Is(outcome.Err, ErrStorageUnavailable) || !errors.Is(outcome.Err, wrong) {
			t.Errorf("of a batch: %v", outcome.Err)
		}
	}
}

func TestNothingStandsInForAClientThatWasClosed(t *testing.T) {
	client := away(t)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	real, err := New(Socket("/nowhere/s"), StartDeadline(0))
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := real.Masked().Detokenize(context.Background(), tokenN(1)); err != nil {
		t.Errorf("no sidecar is not masked: %v, %v", shown, err)
	}
	if err := real.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = real.Masked().Detokenize(context.Background(), tokenN(1))
	if !errors.Is(err, ErrSidecarUnreachable) || asError(err).Retryable {
		t.Errorf("%v", err)
	}
}

func TestShowGivesTheTextOrTheMask(t *testing.T) {
	shown, err := away(t).MaskedWith("n/a").Detokenize(context.Background(), tokenN(1))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := Show(shown); err != nil || text != "n/a" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := Show(Revealed[string]{value: Value{Plaintext: Text("v")}}); err != nil || text != "v" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := Show(Revealed[string]{value: Value{Plaintext: Bytes(nil)}}); !errors.Is(err, ErrNotText) {
		t.Errorf("bytes are shown as text: %v", err)
	}
}

func TestAVerdictSaysWhyNot(t *testing.T) {
	if (Verdict{Valid: true}).Refusal() != nil {
		t.Error("a yes is refused")
	}
	if !errors.Is(Verdict{Reason: "expired"}.Refusal(), ErrGrantExpired) || !errors.Is(Verdict{Reason: "newer"}.Refusal(), ErrGrantDenied) {
		t.Error("a no is not refused as what it is")
	}
}
