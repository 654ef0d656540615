package lunasec

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// tokenN is a well-formed token that differs for each number.
func tokenN(n int) Token { return TokenOf(fmt.Sprintf("lunasec-00000000-0000-4000-8000-%012d", n)) }

// fakeClock goes on only where somebody sleeps, and has dice that always fall the same way.
type fakeClock struct {
	mutex  sync.Mutex
	at     time.Time
	slept  []time.Duration
	chance float64
}

func newClock() *fakeClock { return &fakeClock{at: time.Now(), chance: 1} }

func (c *fakeClock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.at
}

func (c *fakeClock) random() float64 { return c.chance }

func (c *fakeClock) sleep(ctx context.Context, pause time.Duration) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.at = c.at.Add(pause)
	c.slept = append(c.slept, pause)
	return ctx.Err()
}

// came is a request that waits for its answer.
type came struct {
	wanted *wanted
	ctx    context.Context
	reply  chan reply
}

type reply struct {
	answer *answer
	err    error
}

// fakeSidecar hands requests to the test.
type fakeSidecar struct {
	requests chan *came
	closed   sync.Once
	over     chan struct{}
}

func (f *fakeSidecar) exchange(ctx context.Context, until time.Time, wanted *wanted) (*answer, error) {
	request := &came{wanted, ctx, make(chan reply, 1)}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case f.requests <- request:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, os.ErrDeadlineExceeded
	}
	select {
	case reply := <-request.reply:
		return reply.answer, reply.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, os.ErrDeadlineExceeded
	case <-f.over:
		return nil, closedError()
	}
}

func (f *fakeSidecar) close() { f.closed.Do(func() { close(f.over) }) }

func (c *came) json(t testing.TB, status int, body any) {
	t.Helper()
	kind := "application/json"
	if status >= 400 {
		kind = "application/problem+json"
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	c.reply <- reply{answer: &answer{status: status, contentType: kind, requestID: "r-1", body: encoded}}
}

func (c *came) problem(t testing.TB, code string, status int, more map[string]any) {
	t.Helper()
	body := map[string]any{"code": code, "detail": "words", "retryable": status >= 500 || status == 429}
	for name, value := range more {
		body[name] = value
	}
	c.json(t, status, body)
}

func (c *came) tokens(t testing.TB) []string {
	t.Helper()
	var body struct {
		Token  string
		Tokens []string
	}
	if err := json.Unmarshal(c.wanted.body, &body); err != nil {
		t.Fatal(err)
	}
	if body.Tokens == nil {
		return []string{body.Token}
	}
	return body.Tokens
}

// reveal answers with a value for each token, by which it is known.
func (c *came) reveal(t testing.TB) {
	t.Helper()
	if c.wanted.path == "/v1/detokenize" {
		c.json(t, 200, map[string]any{"value": "of " + c.tokens(t)[0], "encoding": "utf8"})
		return
	}
	var items []any
	for _, token := range c.tokens(t) {
		items = append(items, map[string]any{"token": token, "value": "of " + token, "encoding": "utf8"})
	}
	c.json(t, 200, map[string]any{"items": items})
}

func itemFailed(token, code string, retryable bool) any {
	return map[string]any{"token": token, "error": map[string]any{"code": code, "detail": "words", "retryable": retryable}}
}

// scene is a client of a fake sidecar.
func scene(t testing.TB, clock clock, options ...Option) (*Client, *fakeSidecar) {
	t.Helper()
	sidecar := &fakeSidecar{requests: make(chan *came), over: make(chan struct{})}
	config := config{
		start: defaultStartDeadline, grace: defaultRestartGrace, connections: defaultConnections,
		pending: defaultPendingCalls, batchItems: batchItems,
	}
	for _, option := range options {
		if err := option.client(&config); err != nil {
			t.Fatal(err)
		}
	}
	client, err := made(config, sidecar, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, sidecar
}

// answers gives each request to a function, in the order of their arrival, until the test is over.
func (f *fakeSidecar) answers(t testing.TB, with func(count int, came *came)) {
	done := make(chan struct{})
	t.Cleanup(func() { f.close(); <-done })
	go func() {
		defer close(done)
		for count := 1; ; count++ {
			select {
			case request := <-f.requests:
				with(count, request)
			case <-f.over:
				return
			}
		}
	}()
}
