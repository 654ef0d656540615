package lunasec_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

func clientOf(t *testing.T, sidecar *sidecar.Sidecar, options ...lunasec.Option) *lunasec.Client {
	t.Helper()
	client, err := lunasec.New(append([]lunasec.Option{lunasec.Socket(sidecar.Socket)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func tokenize(t *testing.T, client *lunasec.Client, value string) lunasec.Token {
	t.Helper()
	tokenized, err := client.Tokenize(context.Background(), lunasec.Text(value))
	if err != nil {
		t.Fatal(err)
	}
	return tokenized.Token
}

func reveal(client *lunasec.Client, token lunasec.Token) (string, error) {
	value, err := client.Detokenize(context.Background(), token)
	if err != nil {
		return "", err
	}
	return value.Reveal()
}

func TestCallsUnderWayDoNotNoticeThatTheSidecarStartsAgain(t *testing.T) {
	for name, end := range map[string]func(*sidecar.Sidecar){"restart": (*sidecar.Sidecar).Stop, "kill -9": (*sidecar.Sidecar).Kill} {
		t.Run(name, func(t *testing.T) {
			sidecar := sidecar.Start(t)
			client := clientOf(t, sidecar, lunasec.RestartGrace(30*time.Second), lunasec.Deadline(60*time.Second))
			token := tokenize(t, client, "4111")
			var back atomic.Bool
			var wait sync.WaitGroup
			for caller := range 16 {
				wait.Add(1)
				go func() {
					defer wait.Done()
					for last := false; !last; {
						last = back.Load()
						if text, err := reveal(client, token); err != nil || text != "4111" {
							t.Errorf("%v", err)
						}
						own := fmt.Sprint("value ", caller)
						tokenized, err := client.Tokenize(context.Background(), lunasec.Text(own))
						if err != nil {
							t.Error(err)
						} else if text, err := reveal(client, tokenized.Token); err != nil || text != own {
							t.Errorf("%v", err)
						}
					}
				}()
			}
			for range 3 {
				end(sidecar)
				sidecar.Start()
			}
			back.Store(true)
			wait.Wait()
		})
	}
}

func TestADeadSidecarIsWaitedForAndThenFailsFastUntilItIsBack(t *testing.T) {
	sidecar := sidecar.Start(t)
	client := clientOf(t, sidecar, lunasec.RestartGrace(100*time.Millisecond))
	token := tokenize(t, client, "4111")
	sidecar.Kill()
	began := time.Now()
	_, err := reveal(client, token)
	if !errors.Is(err, lunasec.ErrSidecarUnreachable) || time.Since(began) > 10*time.Second {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	began = time.Now()
	for range 1_000 {
		if _, err := reveal(client, token); !errors.Is(err, lunasec.ErrSidecarUnreachable) {
			t.Fatal(err)
		}
	}
	// Each would have waited for longer than all of them may take.
	if took := time.Since(began); took > 50*time.Second {
		t.Errorf("a thousand calls took %v", took)
	}
	shown, err := client.Masked().Detokenize(context.Background(), token)
	if text, ok := shown.StandIn(); err != nil || !ok || text != lunasec.Mask {
		t.Errorf("%v", err)
	}
	sidecar.Start()
	if text, err := reveal(client, token); err != nil || text != "4111" {
		t.Errorf("it is not noticed when it is back: %v", err)
	}
}

func TestASidecarThatStartsLaterThanTheApplicationIsWaitedFor(t *testing.T) {
	sidecar := sidecar.Prepare(t)
	client := clientOf(t, sidecar, lunasec.StartDeadline(50*time.Second), lunasec.Deadline(60*time.Second))
	ready := make(chan error)
	go func() { ready <- client.Ready(context.Background()) }()
	sidecar.Start()
	if err := <-ready; err != nil {
		t.Error(err)
	}
}

func TestASidecarThatHangsIsGivenUp(t *testing.T) {
	sidecar := sidecar.Start(t)
	client := clientOf(t, sidecar)
	token := tokenize(t, client, "4111")
	goOn := sidecar.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Detokenize(ctx, token); !errors.Is(err, lunasec.ErrDeadlineExceeded) {
		t.Error(err)
	}
	leaving, leave := context.WithCancel(context.Background())
	given := make(chan error)
	go func() {
		_, err := client.Detokenize(leaving, token)
		given <- err
	}()
	leave()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	goOn()
	if text, err := reveal(client, token); err != nil || text != "4111" {
		t.Errorf("the next call: %v", err)
	}
}

func TestOfHundredsOfCallersNobodyGetsAnothersAnswer(t *testing.T) {
	client := clientOf(t, sidecar.Start(t))
	var wait sync.WaitGroup
	for caller := range 400 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			own := fmt.Sprint("value of ", caller)
			tokenized, err := client.Tokenize(context.Background(), lunasec.Text(own))
			if err != nil {
				t.Error(err)
				return
			}
			for round := range 5 {
				ctx, cancel := context.WithCancel(context.Background())
				if (caller+round)%7 == 0 {
					// Some leave in the middle of what others wait for.
					go cancel()
				}
				value, err := client.Detokenize(ctx, tokenized.Token)
				cancel()
				if errors.Is(err, context.Canceled) {
					continue
				}
				if text, _ := value.Reveal(); err != nil || text != own || value.Token != tokenized.Token {
					t.Errorf("caller %d: %v", caller, err)
				}
			}
		}()
	}
	wait.Wait()
}

func TestASessionRevealsWhatItWasGranted(t *testing.T) {
	ctx := context.Background()
	client := clientOf(t, sidecar.Strict(t))
	token := tokenize(t, client, "4111")
	alice, err := client.ForSession("alice")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := client.ForSession("bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Grant(ctx, []lunasec.Token{token}, lunasec.ExpiresIn(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if value, err := alice.Detokenize(ctx, token); err != nil || !value.Plaintext.Equal(lunasec.Text("4111")) {
		t.Error(err)
	}
	if _, err := bob.Detokenize(ctx, token); !errors.Is(err, lunasec.ErrGrantDenied) {
		t.Error(err)
	}
	// No policy stands in for a no.
	if _, err := bob.Masked().Detokenize(ctx, token); !errors.Is(err, lunasec.ErrGrantDenied) {
		t.Error(err)
	}
	verdicts, err := bob.Verify(ctx, []lunasec.Token{token})
	if err != nil || !errors.Is(verdicts[0].Value.Refusal(), lunasec.ErrGrantDenied) {
		t.Error(verdicts, err)
	}
	if _, err := alice.RevokeAll(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Detokenize(ctx, token); !errors.Is(err, lunasec.ErrGrantDenied) {
		t.Error(err)
	}
}
