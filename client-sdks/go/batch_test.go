package lunasec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd starts calls of which the first few are under way, and the others have been gathered behind them.
type crowd struct {
	t       *testing.T
	client  *Client
	sidecar *fakeSidecar
	first   []*came
	wait    sync.WaitGroup
}

// gathered is a crowd in which calls are gathered until one of the first comes back.
func gathered(t *testing.T, options ...Option) *crowd {
	t.Helper()
	client, sidecar := scene(t, systemClock{}, options...)
	crowd := &crowd{t: t, client: client, sidecar: sidecar}
	for i := range lonelyFlights {
		crowd.call(func() error {
			_, err := client.Detokenize(context.Background(), tokenN(1_000+i))
			return err
		})
		crowd.first = append(crowd.first, <-sidecar.requests)
	}
	return crowd
}

func (c *crowd) call(call func() error) {
	c.wait.Add(1)
	go func() {
		defer c.wait.Done()
		if err := call(); err != nil {
			c.t.Error(err)
		}
	}()
}

func (c *crowd) end() {
	for _, came := range c.first {
		came.reveal(c.t)
	}
	c.wait.Wait()
}

// reveals checks that a caller gets its own value.
func (c *crowd) reveals(n int) func() error {
	return func() error {
		value, err := c.client.Detokenize(context.Background(), tokenN(n))
		if err != nil {
			return err
		}
		if text, _ := value.Reveal(); text != "of "+tokenN(n).Expose() || value.Token != tokenN(n) {
			return fmt.Errorf("%d gets somebody else's value", n)
		}
		return nil
	}
}

// next requests until so many tokens were asked for.
func (c *crowd) next(tokens int) []*came {
	c.t.Helper()
	var all []*came
	for count := 0; count < tokens; {
		request := <-c.sidecar.requests
		all = append(all, request)
		count += len(request.tokens(c.t))
	}
	return all
}

func TestCallsAtOnceShareARequestAndEachGetsItsOwn(t *testing.T) {
	crowd := gathered(t)
	for n := range 100 {
		crowd.call(crowd.reveals(n % 50))
	}
	// However they were gathered: none asks for a token twice in one request.
	asked, requests := map[string]int{}, 0
	done := make(chan struct{})
	go func() { defer close(done); crowd.wait.Wait() }()
	for _, first := range crowd.first {
		first.reveal(t)
	}
	for over := false; !over; {
		select {
		case came := <-crowd.sidecar.requests:
			requests++
			tokens := came.tokens(t)
			for _, token := range tokens {
				asked[token]++
			}
			if slices.Sort(tokens); len(slices.Compact(tokens)) != len(came.tokens(t)) {
				t.Error("a token is asked for twice in one request")
			}
			came.reveal(t)
		case <-done:
			over = true
		}
	}
	if len(asked) != 50 || requests > 60 {
		t.Errorf("%d tokens in %d requests", len(asked), requests)
	}
}

func TestWhoIsAloneIsSentAtOnceAsItIs(t *testing.T) {
	client, sidecar := scene(t, systemClock{})
	var paths []string
	sidecar.answers(t, func(_ int, came *came) { paths = append(paths, came.wanted.path); came.reveal(t) })
	for n := range 3 {
		if _, err := client.Detokenize(context.Background(), tokenN(n)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(paths, []string{"/v1/detokenize", "/v1/detokenize", "/v1/detokenize"}) {
		t.Error(paths)
	}
}

func TestOneItemThatTheWholeIsRefusedForFailsNoOther(t *testing.T) {
	crowd := gathered(t)
	for n := range 8 {
		crowd.call(func() error {
			err := crowd.reveals(n)()
			if n == 5 && errors.Is(err, ErrInvalidRequest) {
				return nil
			}
			return err
		})
	}
	go func() {
		for request := range crowd.sidecar.requests {
			if slices.Contains(request.tokens(t), tokenN(5).Expose()) {
				request.problem(t, "invalid_request", 400, map[string]any{"retryable": false})
			} else {
				request.reveal(t)
			}
		}
	}()
	crowd.end()
	close(crowd.sidecar.requests)
}

func TestWhoFindsNoRoomInAnAnswerAsksAgainWithFewer(t *testing.T) {
	crowd := gathered(t)
	for n := range 4 {
		crowd.call(crowd.reveals(n))
	}
	go func() {
		for request := range crowd.sidecar.requests {
			tokens := request.tokens(t)
			if len(tokens) == 1 {
				request.reveal(t)
				continue
			}
			items := []any{}
			for i, token := range tokens {
				if i == 0 {
					items = append(items, map[string]any{"token": token, "value": "of " + token, "encoding": "utf8"})
				} else {
					items = append(items, itemFailed(token, "payload_too_large", false))
				}
			}
			request.json(t, 200, map[string]any{"items": items})
		}
	}()
	crowd.end()
	close(crowd.sidecar.requests)
}

func TestWhoeverLeavesTakesNobodyAlongAndTheLastOneTheRequest(t *testing.T) {
	crowd := gathered(t)
	ctx, cancel := context.WithCancel(context.Background())
	for n := range 2 {
		crowd.call(func() error {
			if _, err := crowd.client.Detokenize(ctx, tokenN(n)); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("it was not given up: %v", err)
			}
			return nil
		})
	}
	requests := crowd.next(2)
	cancel()
	for _, request := range requests {
		// When nobody waits any more, the request is given up, too.
		<-request.ctx.Done()
	}
	crowd.end()
}

func TestABatchIsBoundedInItemsAndBytes(t *testing.T) {
	big := unit{json: []byte(strings.Repeat("x", 6<<20))}
	entries := []*entry{}
	for range 5 {
		entries = append(entries, &entry{units: []unit{big}})
	}
	batcher := newBatcher(&engine{}, batchItems)
	batches := batcher.cut(shared{operation: opTokenize}, entries)
	if len(batches) != 3 || len(batches[0]) != 2 || len(batches[2]) != 1 {
		t.Errorf("16 MiB: %d batches", len(batches))
	}
	entries = nil
	for n := range 2_500 {
		made, err := tokenUnit(tokenN(n))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, &entry{units: []unit{made}})
	}
	batches = batcher.cut(shared{operation: opDetokenize}, entries)
	if len(batches) != 3 || len(batches[0]) != 1_000 || len(batches[2]) != 500 {
		t.Errorf("1,000 items: %d batches", len(batches))
	}
}

func TestTokenizesShareARequestAndAKeyAndAreNotTakenForEachOther(t *testing.T) {
	client, sidecar := scene(t, systemClock{})
	crowd := &crowd{t: t, client: client, sidecar: sidecar}
	tokenize := func(n int) func() error {
		return func() error {
			tokenized, err := client.Tokenize(context.Background(), Text(fmt.Sprint("value ", n)))
			if err == nil && tokenized.Token != tokenN(n) {
				return fmt.Errorf("%d gets somebody else's token", n)
			}
			return err
		}
	}
	for n := range 64 {
		crowd.call(tokenize(n))
	}
	go func() {
		for request := range sidecar.requests {
			if !strings.Contains(request.wanted.lines, "idempotency-key: ") {
				t.Error("a tokenize without a key")
			}
			var items []any
			for _, part := range strings.Split(string(request.wanted.body), `{"value":"value `)[1:] {
				var n int
				if _, err := fmt.Sscanf(part, "%d", &n); err != nil {
					t.Error(err)
				}
				items = append(items, map[string]any{"token": tokenN(n).Expose(), "durability": "stored"})
			}
			if request.wanted.path == "/v1/tokenize" {
				request.json(t, 200, items[0])
			} else {
				request.json(t, 200, map[string]any{"items": items})
			}
		}
	}()
	crowd.wait.Wait()
	close(sidecar.requests)
}

func TestGatheredCallsGoAfterAMomentWhateverTheFirstDo(t *testing.T) {
	crowd := gathered(t)
	crowd.call(crowd.reveals(1))
	select {
	case request := <-crowd.sidecar.requests:
		request.reveal(t)
	case <-time.After(10 * time.Second):
		t.Error("a call waits for others that hang")
	}
	crowd.end()
}
