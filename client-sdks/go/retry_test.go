package lunasec

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestPausesAreRandomAndGrowUpToTheirMost(t *testing.T) {
	clock := newClock()
	client, sidecar := scene(t, clock, Retries(Retry{Attempts: 6, Pause: 100 * time.Millisecond, PauseMost: 250 * time.Millisecond}))
	sidecar.answers(t, func(_ int, came *came) {
		came.problem(t, "storage_unavailable", 503, map[string]any{"retry_after_ms": 10})
	})
	_, err := client.Detokenize(context.Background(), tokenN(1))
	if !errors.Is(err, ErrStorageUnavailable) || asError(err).RequestID != "r-1" {
		t.Fatal(err)
	}
	wanted := []time.Duration{110, 210, 260, 260, 260}
	if len(clock.slept) != len(wanted) {
		t.Fatalf("%v", clock.slept)
	}
	for i, pause := range wanted {
		if clock.slept[i] != pause*time.Millisecond {
			t.Errorf("pause %d is %v, not %v", i, clock.slept[i], pause*time.Millisecond)
		}
	}
}

func TestARateThatNobodySaysTheEndOfIsNotTriedAgain(t *testing.T) {
	client, sidecar := scene(t, newClock())
	asked := 0
	sidecar.answers(t, func(_ int, came *came) {
		asked++
		came.problem(t, "rate_limited", 429, nil)
	})
	if _, err := client.Detokenize(context.Background(), tokenN(1)); !errors.Is(err, ErrRateLimited) || asked != 1 {
		t.Errorf("%v after %d requests", err, asked)
	}
}

func TestASocketThatNobodyAnswersIsWaitedForOnceAndThenNotAtAll(t *testing.T) {
	clock := newClock()
	client, sidecar := scene(t, clock, StartDeadline(time.Second))
	asked := 0
	sidecar.answers(t, func(_ int, came *came) {
		asked++
		came.reply <- reply{err: failure(sidecarUnreachable, "nobody").later()}
	})
	began := clock.now()
	if _, err := client.Detokenize(context.Background(), tokenN(1)); !errors.Is(err, ErrSidecarUnreachable) {
		t.Fatal(err)
	}
	if waited := clock.now().Sub(began); waited != time.Second || asked < 5 {
		t.Errorf("it was waited for %v, with %d requests", waited, asked)
	}
	asked = 0
	if _, err := client.Tokenize(context.Background(), Text("v")); !errors.Is(err, ErrSidecarUnreachable) || asked != 1 {
		t.Errorf("the next call: %v after %d requests", err, asked)
	}
}

func TestBrokenConnectionsHaveABudgetOfTheirOwn(t *testing.T) {
	client, sidecar := scene(t, newClock(), Retries(Retry{Budget: -1, Attempts: 1}))
	broken := func() reply {
		err := failure(sidecarUnreachable, "broke").later()
		err.sent = true
		return reply{err: err}
	}
	sidecar.answers(t, func(count int, came *came) {
		if count%3 != 0 {
			came.reply <- broken()
			return
		}
		came.reveal(t)
	})
	if _, err := client.Detokenize(context.Background(), tokenN(1)); err != nil {
		t.Errorf("without any retries of answers, a connection that broke surfaces: %v", err)
	}
}

func TestBudgetsAreSpentAndSavedUp(t *testing.T) {
	budget := newBudget(2)
	// spent after some successes.
	spent := func(successes int) (retries int) {
		for range successes {
			budget.succeeded()
		}
		for budget.take() {
			retries++
		}
		return retries
	}
	for _, row := range [][2]int{{0, 2}, {successesForARetry - 1, 0}, {1, 1}, {1_000, 2}} {
		if retries := spent(row[0]); retries != row[1] {
			t.Errorf("after %d successes there are %d retries, not %d", row[0], retries, row[1])
		}
	}
}

func TestOneSessionLeavesPlacesToOthers(t *testing.T) {
	places := newPlaces(20)
	take := func(session string, alone bool) error { return places.take(holder{session, alone}) }
	for range 2 {
		if err := take("a", true); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("a", true); !errors.Is(err, ErrOverloaded) || !asError(err).Retryable {
		t.Errorf("a third request for metadata: %v", err)
	}
	for range 8 {
		if err := take("a", false); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("a", false); !errors.Is(err, ErrOverloaded) {
		t.Errorf("more than half: %v", err)
	}
	for range 10 {
		if err := take("", false); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("b", false); !errors.Is(err, ErrOverloaded) {
		t.Errorf("more than all: %v", err)
	}
	for range 8 {
		places.leave(holder{"a", false})
	}
	places.leave(holder{"a", true})
	places.leave(holder{"a", true})
	for range 10 {
		places.leave(holder{})
	}
	if places.taken != 0 || len(places.sessions) != 0 || len(places.alone) != 0 {
		t.Errorf("places are not given back: %+v", places)
	}
}

func TestAContextsDeadlineEndsACallAndIsStoodInFor(t *testing.T) {
	client, sidecar := scene(t, systemClock{})
	sidecar.answers(t, func(_ int, came *came) { <-came.ctx.Done() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := client.Detokenize(ctx, tokenN(1))
	if !errors.Is(err, ErrDeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	shown, err := client.Masked().Detokenize(ctx, tokenN(1))
	if text, ok := shown.StandIn(); err != nil || !ok || text != Mask || shown.Reason != "deadline_exceeded" {
		t.Errorf("%v, %v", shown, err)
	}
}

func TestACancelledCallIsGivenUpWithItsCauseAndNothingStandsInForIt(t *testing.T) {
	client, sidecar := scene(t, systemClock{})
	cause := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(context.Background())
	sidecar.answers(t, func(_ int, came *came) { cancel(cause) })
	_, err := client.Detokenize(ctx, tokenN(1))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || asError(err) != nil {
		t.Errorf("%v", err)
	}
	if _, err := client.Masked().Detokenize(ctx, tokenN(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up is masked: %v", err)
	}
	if _, err := client.GetMetadata(ctx, tokenN(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
