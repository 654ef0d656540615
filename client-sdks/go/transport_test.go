package lunasec

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// listen on a socket of its own, and give each connection to a function.
func listen(t *testing.T, serve func(count int, conn net.Conn)) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "lunasec-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		for count := 1; ; count++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Add(1)
			go func() {
				defer all.Done()
				defer conn.Close()
				serve(count, conn)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait()
		_ = os.RemoveAll(directory)
	})
	return path
}

func of(t *testing.T, socket string, options ...Option) *Client {
	t.Helper()
	client, err := New(append([]Option{Socket(socket), Retries(Retry{Pause: time.Millisecond})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

const aValue = `{"value":"v","encoding":"utf8"}`

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", len(body), body)
}

// requests of a connection, until its end.
func requests(conn net.Conn, answer func(*http.Request) string) {
	reader := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		if _, err := io.WriteString(conn, answer(request)); err != nil {
			return
		}
	}
}

func TestAConnectionIsUsedAgainAndOneThatWasClosedMeanwhileIsNotNoticed(t *testing.T) {
	closing := make(chan net.Conn, 16)
	socket := listen(t, func(_ int, conn net.Conn) {
		closing <- conn
		requests(conn, func(*http.Request) string { return ok(aValue) })
	})
	client := of(t, socket)
	set := func() error {
		_, err := client.Detokenize(context.Background(), tokenN(1))
		return err
	}
	for range 3 {
		if err := set(); err != nil {
			t.Fatal(err)
		}
	}
	if len(closing) != 1 {
		t.Fatalf("%d connections for three calls", len(closing))
	}
	_ = (<-closing).Close()
	if err := set(); err != nil {
		t.Fatal(err)
	}
	// It was known before anything was sent over it: no retry was spent.
	if client.engine.breaks.left != client.engine.breaks.most {
		t.Error("a connection that was closed while it was idle cost a retry")
	}
}

func TestWhatNobodyAskedForIsNotTakenForAnAnswer(t *testing.T) {
	conns := make(chan net.Conn, 2)
	socket := listen(t, func(count int, conn net.Conn) {
		conns <- conn
		requests(conn, func(*http.Request) string { return ok(fmt.Sprintf(`{"value":"%d","encoding":"utf8"}`, count)) })
	})
	client := of(t, socket)
	if _, err := client.Detokenize(context.Background(), tokenN(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(<-conns, ok(`{"value":"somebody else's","encoding":"utf8"}`)); err != nil {
		t.Fatal(err)
	}
	value, err := client.Detokenize(context.Background(), tokenN(2))
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := value.Reveal(); text != "2" {
		t.Errorf("it gets %s", text)
	}
}

func TestAnAnswerBeyondItsLengthEndsTheConnection(t *testing.T) {
	socket := listen(t, func(count int, conn net.Conn) {
		requests(conn, func(*http.Request) string {
			if count == 1 {
				return ok(aValue) + ok(`{"value":"somebody else's","encoding":"utf8"}`)
			}
			return ok(`{"value":"right","encoding":"utf8"}`)
		})
	})
	client := of(t, socket)
	for _, wanted := range []string{"v", "right"} {
		value, err := client.Detokenize(context.Background(), tokenN(1))
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := value.Reveal(); text != wanted {
			t.Errorf("%q instead of %q", text, wanted)
		}
	}
}

func TestAnAnswerWithoutAnEndIsBounded(t *testing.T) {
	for name, start := range map[string]string{
		"its body": "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
		"its head": "HTTP/1.1 200 OK\r\nx: ",
	} {
		socket := listen(t, func(_ int, conn net.Conn) {
			_, _ = io.WriteString(conn, start)
			for {
				if _, err := io.WriteString(conn, strings.Repeat("x", 1<<20)); err != nil {
					return
				}
			}
		})
		_, err := of(t, socket).Detokenize(context.Background(), tokenN(1))
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoErrorHoldsWhatCame(t *testing.T) {
	for _, text := range []string{
		"SSH-2.0 4111 1111", "HTTP/1.1 4111 1111\r\n\r\n", "HTTP/1.1 200 OK\r\n4111 1111\r\n\r\n",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4111 1111\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 4111 1111\r\n\r\n",
	} {
		socket := listen(t, func(_ int, conn net.Conn) {
			requests(conn, func(*http.Request) string { return text })
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := of(t, socket).Detokenize(ctx, tokenN(1))
		cancel()
		for at := err; at != nil; at = errors.Unwrap(at) {
			if strings.Contains(at.Error(), "4111") {
				t.Errorf("%v", at)
			}
		}
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestASocketThatMayNotBeUsedIsNotWaitedFor(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	client := of(t, filepath.Join(file, "s"))
	_, err := client.Detokenize(context.Background(), tokenN(1))
	if !errors.Is(err, ErrSidecarUnreachable) || asError(err).Retryable {
		t.Errorf("%v", err)
	}
}

func TestATimeThatIsOverWhileItConnectsIsNoSocketThatCannotBeUsed(t *testing.T) {
	socket := listen(t, func(_ int, conn net.Conn) {
		requests(conn, func(*http.Request) string { return ok(aValue) })
	})
	for range 20 {
		client := of(t, socket, BatchItems(1))
		if _, err := client.Detokenize(context.Background(), tokenN(1), Deadline(time.Nanosecond)); !errors.Is(err, ErrDeadlineExceeded) {
			t.Fatalf("%v", err)
		}
	}
	transport := of(t, socket).engine.transport.(*transport)
	if _, err := transport.connect(context.Background(), time.Now().Add(-time.Second)); err != os.ErrDeadlineExceeded {
		t.Errorf("%v", err)
	}
	// One that only this attempt had no more of.
	for _, cause := range []error{context.DeadlineExceeded, os.ErrDeadlineExceeded} {
		err := transport.unreachable(context.Background(), time.Now().Add(time.Minute), &net.OpError{Op: "dial", Err: cause})
		if !errors.Is(err, ErrSidecarUnreachable) || !asError(err).Retryable {
			t.Errorf("%v", err)
		}
	}
}

func TestMoreCallsThanConnectionsWaitAndGiveUpInTime(t *testing.T) {
	come := make(chan struct{}, 16)
	hang := make(chan struct{})
	socket := listen(t, func(_ int, conn net.Conn) {
		requests(conn, func(*http.Request) string {
			come <- struct{}{}
			<-hang
			return ok(aValue)
		})
	})
	client := of(t, socket, Connections(1), BatchItems(1))
	var first error
	var wait sync.WaitGroup
	wait.Add(1)
	go func() { defer wait.Done(); _, first = client.Detokenize(context.Background(), tokenN(1)) }()
	<-come
	if _, err := client.Detokenize(context.Background(), tokenN(2), Deadline(20*time.Millisecond)); !errors.Is(err, ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client.Detokenize(ctx, tokenN(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(hang)
	if wait.Wait(); first != nil {
		t.Error(first)
	}
}

func TestCloseEndsCallsUnderWay(t *testing.T) {
	come, end := make(chan struct{}, 1), make(chan struct{})
	socket := listen(t, func(_ int, conn net.Conn) {
		requests(conn, func(*http.Request) string {
			come <- struct{}{}
			<-end
			return ""
		})
	})
	client := of(t, socket)
	failed := make(chan error)
	go func() {
		_, err := client.Detokenize(context.Background(), tokenN(1))
		failed <- err
	}()
	<-come
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, ErrSidecarUnreachable) || asError(err).Retryable {
		t.Errorf("%v", err)
	}
	close(end)
}

func TestWhatIsIdleForTooLongIsClosed(t *testing.T) {
	ended := make(chan struct{})
	socket := listen(t, func(_ int, conn net.Conn) {
		defer close(ended)
		requests(conn, func(*http.Request) string { return ok(aValue) })
	})
	client := of(t, socket)
	if _, err := client.Detokenize(context.Background(), tokenN(1)); err != nil {
		t.Fatal(err)
	}
	transport := client.engine.transport.(*transport)
	transport.mutex.Lock()
	transport.idle[0].idle = time.Now().Add(-2 * keepAlive)
	transport.mutex.Unlock()
	transport.reap()
	<-ended
	if len(transport.idle) != 0 {
		t.Error("it is kept")
	}
}
