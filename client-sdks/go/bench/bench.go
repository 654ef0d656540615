// What the client adds to a bare net/http client, for a detokenize that the sidecar has in memory: the middle of the times
// of calls one after another, calls per second of 64 callers at once, each with a token of its own, and allocations per
// call. Rounds are interleaved, medians are taken.
//
//	LUNASEC_BIN=path/to/lunasec go run ./bench
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

const (
	rounds   = 7
	oneByOne = 3_000
	callers  = 64
	atOnce   = 20_000
)

// contender makes one call.
type contender struct {
	name string
	call func(context.Context, lunasec.Token) error

	p50, rate, allocations []float64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	directory, err := os.MkdirTemp("", "lunasec-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	socket := filepath.Join(directory, "s")
	sidecar := exec.Command(os.Getenv("LUNASEC_BIN"), "dev", "--dir", directory, "--socket", socket, "--admin", "127.0.0.1:0")
	if err := sidecar.Start(); err != nil {
		return fmt.Errorf("LUNASEC_BIN is to be the sidecar's binary: %w", err)
	}
	defer func() { _ = sidecar.Process.Signal(syscall.SIGTERM); _ = sidecar.Wait() }()
	ctx := context.Background()
	client, err := lunasec.New(lunasec.Socket(socket))
	if err != nil {
		return err
	}
	defer client.Close()
	apart, err := lunasec.New(lunasec.Socket(socket), lunasec.BatchItems(1))
	if err != nil {
		return err
	}
	defer apart.Close()
	tokens, err := tokensOf(ctx, client)
	if err != nil {
		return err
	}
	contenders := []*contender{
		{name: "bare net/http", call: bare(socket)},
		{name: "client", call: detokenizes(client)},
		{name: "client, BatchItems(1)", call: detokenizes(apart)},
	}
	if err := measure(ctx, contenders, tokens); err != nil {
		return err
	}
	report(contenders)
	return nil
}

func tokensOf(ctx context.Context, client *lunasec.Client) ([]lunasec.Token, error) {
	tokens := make([]lunasec.Token, callers)
	for i := range tokens {
		tokenized, err := client.Tokenize(ctx, lunasec.Text(fmt.Sprintf("4111 1111 1111 %d", 1_000+i)))
		if err != nil {
			return nil, err
		}
		tokens[i] = tokenized.Token
	}
	return tokens, nil
}

func detokenizes(client *lunasec.Client) func(context.Context, lunasec.Token) error {
	return func(ctx context.Context, token lunasec.Token) error {
		value, err := client.Detokenize(ctx, token)
		if err != nil {
			return err
		}
		_, err = value.Reveal()
		return err
	}
}

// bare is what an application would write without the client.
func bare(socket string) func(context.Context, lunasec.Token) error {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 16, MaxConnsPerHost: 16,
	}
	client := &http.Client{Transport: transport}
	return func(ctx context.Context, token lunasec.Token) error {
		body, err := json.Marshal(map[string]string{"token": token.Expose()})
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, "POST", "http://localhost/v1/detokenize", bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var answer struct{ Value, Encoding string }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
}

func measure(ctx context.Context, contenders []*contender, tokens []lunasec.Token) error {
	for round := range rounds + 1 {
		for _, each := range contenders {
			p50, allocations, err := each.oneByOne(ctx, tokens[0])
			if err != nil {
				return err
			}
			rate, err := each.atOnce(ctx, tokens)
			if err != nil {
				return err
			}
			// The first round warms up.
			if round > 0 {
				each.p50, each.rate = append(each.p50, p50), append(each.rate, rate)
				each.allocations = append(each.allocations, allocations)
			}
		}
	}
	return nil
}

// oneByOne gives the middle of the times of calls one after another, in microseconds, and what each allocates.
func (c *contender) oneByOne(ctx context.Context, token lunasec.Token) (p50, allocations float64, err error) {
	times := make([]float64, oneByOne)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range times {
		began := time.Now()
		if err := c.call(ctx, token); err != nil {
			return 0, 0, err
		}
		times[i] = float64(time.Since(began).Nanoseconds()) / 1_000
	}
	runtime.ReadMemStats(&after)
	return median(times), float64(after.Mallocs-before.Mallocs) / oneByOne, nil
}

// atOnce gives calls per second of many callers, each of which makes one after another.
func (c *contender) atOnce(ctx context.Context, tokens []lunasec.Token) (float64, error) {
	var left atomic.Int64
	left.Store(atOnce)
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	began := time.Now()
	for _, token := range tokens {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for left.Add(-1) >= 0 {
				if err := c.call(ctx, token); err != nil {
					failed.Store(&err)
					return
				}
			}
		}()
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return atOnce / time.Since(began).Seconds(), nil
}

func median(numbers []float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[len(sorted)/2]
}

func report(contenders []*contender) {
	base := contenders[0]
	for _, each := range contenders {
		ratios := make([]float64, len(each.rate))
		for round := range ratios {
			ratios[round] = each.rate[round] / base.rate[round]
		}
		p50 := median(each.p50)
		fmt.Printf("%-22s p50 %6.1f µs (%+.1f)   c=%d %7.0f/s (× %.2f)   %5.1f allocations a call\n",
			each.name, p50, p50-median(base.p50), callers, median(each.rate), median(ratios), median(each.allocations))
	}
}
