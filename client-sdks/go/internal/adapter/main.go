// The adapter of the contract's harness: see tests/contract/README.md for the lines it reads and writes. It uses the
// package as an application does.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// message is what the harness may say.
type message struct {
	ID   int `json:"id"`
	Open *struct {
		Socket  string  `json:"socket"`
		Options options `json:"options"`
	} `json:"open"`
	Call      string    `json:"call"`
	Arguments arguments `json:"arguments"`
	Options   options   `json:"options"`
	Abortable bool      `json:"abortable"`
	Abort     *int      `json:"abort"`
}

// options in the words that all SDKs share.
type options struct {
	Namespace       *string         `json:"namespace"`
	Purpose         *string         `json:"purpose"`
	Session         *string         `json:"session"`
	JWT             *string         `json:"jwt"`
	DeadlineMS      *int            `json:"deadline_ms"`
	IdempotencyKey  *string         `json:"idempotency_key"`
	OnUnavailable   json.RawMessage `json:"on_unavailable"`
	Attempts        int             `json:"attempts"`
	PauseMS         int             `json:"pause_ms"`
	PauseMostMS     int             `json:"pause_most_ms"`
	RetryBudget     *int            `json:"retry_budget"`
	StartDeadlineMS *int            `json:"start_deadline_ms"`
	RestartGraceMS  *int            `json:"restart_grace_ms"`
}

func millis(count int) time.Duration { return time.Duration(count) * time.Millisecond }

type adapter struct {
	client *lunasec.Client
	policy json.RawMessage

	mutex   sync.Mutex
	leaving map[int]context.CancelFunc
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	adapter := &adapter{leaving: map[int]context.CancelFunc{}}
	out := json.NewEncoder(os.Stdout)
	var writing sync.Mutex
	var calls sync.WaitGroup
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var told message
		if err := json.Unmarshal(in.Bytes(), &told); err != nil {
			return err
		}
		answer := adapter.start(told)
		calls.Add(1)
		go func() {
			defer calls.Done()
			reply := answer()
			reply["id"] = told.ID
			writing.Lock()
			defer writing.Unlock()
			_ = out.Encode(reply)
		}()
	}
	calls.Wait()
	if adapter.client != nil {
		return errors.Join(in.Err(), adapter.client.Close())
	}
	return in.Err()
}

// start does at once what later lines depend on, and gives the rest.
func (a *adapter) start(told message) func() map[string]any {
	switch {
	case told.Open != nil:
		err := a.open(told.Open.Socket, told.Open.Options)
		return func() map[string]any { return replied(map[string]any{}, a.client, err) }
	case told.Abort != nil:
		a.mutex.Lock()
		defer a.mutex.Unlock()
		a.leaving[*told.Abort]()
		return func() map[string]any { return map[string]any{"ok": map[string]any{}} }
	}
	call, ok := operations[told.Call]
	if !ok || a.client == nil {
		return func() map[string]any { return map[string]any{"missing": told.Call} }
	}
	ctx := context.Background()
	if told.Abortable {
		leaving, cancel := context.WithCancel(ctx)
		ctx = leaving
		a.mutex.Lock()
		a.leaving[told.ID] = cancel
		a.mutex.Unlock()
	}
	client := a.client
	if told.Options.OnUnavailable == nil {
		told.Options.OnUnavailable = a.policy
	}
	return func() map[string]any {
		wire, result, err := call(ctx, client, told.Arguments, told.Options)
		return replied(wire, result, err)
	}
}

func (a *adapter) open(socket string, given options) error {
	if a.client != nil {
		if err := a.client.Close(); err != nil {
			return err
		}
	}
	retry := lunasec.Retry{Attempts: given.Attempts, Pause: millis(given.PauseMS), PauseMost: millis(given.PauseMostMS)}
	if given.RetryBudget != nil {
		retry.Budget = *given.RetryBudget
		if retry.Budget == 0 {
			retry.Budget = -1
		}
	}
	all := []lunasec.Option{lunasec.Socket(socket), lunasec.Retries(retry)}
	for _, each := range given.common() {
		all = append(all, each)
	}
	if given.JWT != nil {
		all = append(all, lunasec.JWT(*given.JWT))
	}
	if given.StartDeadlineMS != nil {
		all = append(all, lunasec.StartDeadline(millis(*given.StartDeadlineMS)))
	}
	if given.RestartGraceMS != nil {
		all = append(all, lunasec.RestartGrace(millis(*given.RestartGraceMS)))
	}
	client, err := lunasec.New(all...)
	a.client, a.policy = client, given.OnUnavailable
	return err
}

// common are those of a client and of a call.
func (o options) common() []lunasec.CallOption {
	var given []lunasec.CallOption
	if o.Namespace != nil {
		given = append(given, lunasec.Namespace(*o.Namespace))
	}
	if o.Purpose != nil {
		given = append(given, lunasec.Purpose(*o.Purpose))
	}
	if o.DeadlineMS != nil {
		given = append(given, lunasec.Deadline(millis(*o.DeadlineMS)))
	}
	return given
}

func replied(wire, result any, err error) map[string]any {
	if err != nil {
		return map[string]any{"error": errorOf(err), "printed": printed(err)}
	}
	return map[string]any{"ok": wire, "printed": printed(result)}
}

func errorOf(err error) map[string]any {
	if errors.Is(err, context.Canceled) {
		return map[string]any{"class": "Aborted"}
	}
	var known *lunasec.Error
	if !errors.As(err, &known) {
		return map[string]any{"class": fmt.Sprintf("%T", err), "detail": err.Error()}
	}
	of := map[string]any{
		"class": known.Class(), "code": known.Code, "detail": known.Detail, "retryable": known.Retryable,
	}
	if known.Status != 0 {
		of["status"] = known.Status
	}
	if after, ok := known.RetryAfter(); ok {
		of["retry_after_ms"] = after.Milliseconds()
	}
	return of
}

// printed is how something prints wherever something prints by itself.
func printed(value any) string {
	hidden := struct{ inside any }{value}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n"+verb+"\n", value, hidden)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("", "value", value)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("", "value", value)
	if text, err := json.Marshal(value); err == nil {
		out.Write(text)
	}
	if text, err := xml.Marshal(value); err == nil {
		out.Write(text)
	}
	return out.String()
}
