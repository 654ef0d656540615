package lunasec

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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

// together has all further calls gathered until one of the first comes back; it gives what waits until so many are.
func (c *crowd) together() (all func(int)) {
	batcher := c.client.engine.batcher
	batcher.gather = time.Hour
	return func(count int) {
		for waiting := 0; waiting < count; runtime.Gosched() {
			waiting = 0
			batcher.mutex.Lock()
			for _, lane := range batcher.lanes {
				waiting += len(lane.waiting)
			}
			batcher.mutex.Unlock()
		}
	}
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
	all := crowd.together()
	for n := range 100 {
		crowd.call(crowd.reveals(n % 50))
	}
	all(100)
	crowd.first[0].reveal(t)
	request := <-crowd.sidecar.requests
	tokens := request.tokens(t)
	slices.Sort(tokens)
	// A token that two ask for is asked for once.
	if len(tokens) != 50 || len(slices.Compact(tokens)) != 50 {
		t.Errorf("%d tokens in a request of a hundred callers for fifty", len(tokens))
	}
	request.reveal(t)
	crowd.first = crowd.first[1:]
	crowd.end()
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
	all := crowd.together()
	for n := range 8 {
		crowd.call(func() error {
			err := crowd.reveals(n)()
			if n == 5 && errors.Is(err, ErrInvalidRequest) {
				return nil
			}
			return err
		})
	}
	all(8)
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
	all := crowd.together()
	for n := range 4 {
		crowd.call(crowd.reveals(n))
	}
	all(4)
	go func() {
		for request := range crowd.sidecar.requests {
			if len(request.tokens(t)) == 1 {
				request.reveal(t)
			} else {
				crowdedOut(t, request)
			}
		}
	}()
	crowd.end()
	close(crowd.sidecar.requests)
}

// crowdedOut answers with the first value, and finds no room for the others.
func crowdedOut(t *testing.T, request *came) {
	items := []any{}
	for i, token := range request.tokens(t) {
		if i == 0 {
			items = append(items, map[string]any{"token": token, "value": "of " + token, "encoding": "utf8"})
		} else {
			items = append(items, itemFailed(token, "payload_too_large", false))
		}
	}
	request.json(t, 200, map[string]any{"items": items})
}

func TestWhoeverLeavesWhileOthersFindNoRoomIsNotInTheirWay(t *testing.T) {
	for range 100 {
		client, _ := scene(t, systemClock{})
		entries := make([]*entry, 8)
		for n := range entries {
			unit, err := tokenUnit(tokenN(n))
			if err != nil {
				t.Fatal(err)
			}
			entries[n] = &entry{units: units(unit), limits: limits{until: time.Now().Add(time.Minute)}, done: make(chan struct{})}
		}
		flight := newFlight(client.engine, shared{operation: opDetokenize, attempts: 1}, entries)
		_, flight.stop = context.WithCancel(context.Background())
		for _, entry := range entries {
			entry.board(flight)
		}
		var wait sync.WaitGroup
		for _, each := range entries {
			wait.Add(1)
			go func() {
				defer wait.Done()
				if !each.leave() {
					t.Error("it had an answer")
				}
			}()
		}
		flight.makeRoom(entries[1:])
		wait.Wait()
		if len(flight.entries) != 1 {
			t.Fatalf("%d are left", len(flight.entries))
		}
	}
}

func TestWhoFindsNoRoomWhileAFaultIsSoughtIsSearchedByItself(t *testing.T) {
	crowd := gathered(t)
	all := crowd.together()
	for n := range 6 {
		crowd.call(crowd.reveals(n))
	}
	all(6)
	crowd.first[0].reveal(t)
	refuse := func(request *came) {
		request.problem(t, "invalid_request", 400, map[string]any{"retryable": false})
	}
	refuse(<-crowd.sidecar.requests)
	crowdedOut(t, <-crowd.sidecar.requests)
	// One are those who found no room, the other the half that is still to be asked about: both are refused at once.
	one, other := <-crowd.sidecar.requests, <-crowd.sidecar.requests
	if found := len(one.tokens(t)) + len(other.tokens(t)); found != 5 {
		t.Fatalf("%d tokens", found)
	}
	refuse(one)
	refuse(other)
	go func() {
		for request := range crowd.sidecar.requests {
			request.reveal(t)
		}
	}()
	crowd.first = crowd.first[1:]
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
	// Whoever asks for what is asked for already goes along, and takes no room.
	first := entries[0].units
	var same []*entry
	for range 1_500 {
		same = append(same, &entry{units: first})
	}
	if batches = batcher.cut(shared{operation: opDetokenize}, same); len(batches) != 1 || len(batches[0]) != 1_500 {
		t.Errorf("the same token: %d batches", len(batches))
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
