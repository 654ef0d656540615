package lunasec

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// wanted is one request.
type wanted struct {
	method, path string
	// lines of its head, beside those that every request has.
	lines string
	body  []byte
}

// answer is what came back, read whole.
type answer struct {
	status                                int
	contentType, requestID, degraded, age string
	body                                  []byte
}

// socketPath checks a path that a socket can have: of a longer one, the kernel would look for the beginning.
func socketPath(path string) error {
	most := 103
	if runtime.GOOS == "linux" {
		most = 107
	}
	if path == "" || len(path) > most {
		return failuref(invalidRequest, "the path of the socket is %d bytes long, and Unix takes 1 to %d: put the socket where its path is shorter", len(path), most)
	}
	return nil
}

// transport is HTTP/1.1 over the Unix socket, on a few connections that are kept alive. It tries nothing twice.
type transport struct {
	socket string
	// room is as large as the number of connections.
	room chan struct{}

	mutex  sync.Mutex
	idle   []*connection
	busy   map[*connection]struct{}
	reaper *time.Timer
	closed bool
}

func newTransport(socket string, connections int) *transport {
	return &transport{socket: socket, room: make(chan struct{}, connections), busy: map[*connection]struct{}{}}
}

// connection is one to the socket, and what reading from it came to.
type connection struct {
	net.Conn
	reader *bufio.Reader
	out    []byte
	idle   time.Time
	// left of the bytes that an answer may have.
	left int64
	// broke is the first error of the connection itself, not of what came over it.
	broke error
}

const httpStart = "HTTP/1."

var (
	errTooLarge = errors.New("larger than any answer may be")
	errNotHTTP  = errors.New("not HTTP")
)

// Read bounds an answer, and tells a connection that broke from one over which nonsense came.
func (c *connection) Read(into []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(into)) > c.left {
		into = into[:c.left]
	}
	count, err := c.Conn.Read(into)
	c.left -= int64(count)
	if err != nil && c.broke == nil {
		c.broke = err
	}
	return count, err
}

// exchange makes one request, until a time and for as long as the context goes on. It comes to a [context.Context]'s
// error, to [ErrSidecarUnreachable], [ErrProtocol] or, when the time is over, [os.ErrDeadlineExceeded].
func (t *transport) exchange(ctx context.Context, until time.Time, wanted *wanted) (*answer, error) {
	if err := t.takeRoom(ctx, until); err != nil {
		return nil, err
	}
	defer func() { <-t.room }()
	conn, err := t.connect(ctx, until)
	if err != nil {
		return nil, err
	}
	stop := conn.endWith(ctx)
	answer, again, err := conn.exchange(wanted)
	if !stop() {
		// Its deadline is being changed, or was.
		again = false
	}
	t.give(conn, again && err == nil)
	if err != nil {
		return nil, t.translated(ctx, err, conn.broke)
	}
	return answer, nil
}

// endWith has the context end what the connection waits for; it gives what says that this is over, and whether it was in time.
func (c *connection) endWith(ctx context.Context) func() bool {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

func (t *transport) takeRoom(ctx context.Context, until time.Time) error {
	select {
	case t.room <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case t.room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

// connect takes a connection that is idle and whole, else makes one.
func (t *transport) connect(ctx context.Context, until time.Time) (*connection, error) {
	for {
		conn, err := t.takeIdle()
		if err != nil {
			return nil, err
		}
		if conn == nil {
			break
		}
		// First of all the deadline: that of its last request may be over.
		if conn.SetDeadline(until) == nil && time.Since(conn.idle) < keepAlive && isWhole(conn.Conn) {
			return conn, nil
		}
		t.give(conn, false)
	}
	dialer := net.Dialer{Timeout: connectTimeout, Deadline: until}
	made, err := dialer.DialContext(ctx, "unix", t.socket)
	if err != nil {
		return nil, t.unreachable(ctx, until, err)
	}
	_ = made.SetDeadline(until)
	conn := &connection{Conn: made}
	conn.reader = bufio.NewReader(conn)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.closed {
		_ = made.Close()
		return nil, closedError()
	}
	t.busy[conn] = struct{}{}
	return conn, nil
}

func (t *transport) takeIdle() (*connection, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.closed {
		return nil, closedError()
	}
	last := len(t.idle) - 1
	if last < 0 {
		return nil, nil
	}
	conn := t.idle[last]
	t.idle[last] = nil
	t.idle = t.idle[:last]
	t.busy[conn] = struct{}{}
	return conn, nil
}

// give takes a connection back, to be used again or not.
func (t *transport) give(conn *connection, again bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	delete(t.busy, conn)
	if !again || t.closed {
		_ = conn.Close()
		return
	}
	conn.idle = time.Now()
	t.idle = append(t.idle, conn)
	if t.reaper == nil {
		t.reaper = time.AfterFunc(keepAlive, t.reap)
	}
}

// reap closes what was idle for too long, and goes on for as long as something is.
func (t *transport) reap() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	kept := t.idle[:0]
	for _, conn := range t.idle {
		if time.Since(conn.idle) < keepAlive {
			kept = append(kept, conn)
		} else {
			_ = conn.Close()
		}
	}
	clear(t.idle[len(kept):])
	t.idle = kept
	t.reaper = nil
	if len(kept) > 0 && !t.closed {
		t.reaper = time.AfterFunc(keepAlive, t.reap)
	}
}

func (t *transport) close() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.closed = true
	if t.reaper != nil {
		t.reaper.Stop()
	}
	for _, conn := range t.idle {
		_ = conn.Close()
	}
	t.idle = nil
	for conn := range t.busy {
		_ = conn.Close()
	}
}

func (t *transport) isClosed() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.closed
}

// exchange gives the answer, and whether the connection can be used again.
func (c *connection) exchange(wanted *wanted) (*answer, bool, error) {
	c.left = answerBytes
	if err := c.send(wanted); err != nil {
		c.broke = err
		return nil, false, err
	}
	// What is no HTTP at all is told from what was cut short.
	if start, err := c.reader.Peek(len(httpStart)); err != nil {
		return nil, false, err
	} else if string(start) != httpStart {
		return nil, false, errNotHTTP
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, false, err
	}
	body, err := readAll(response)
	if err != nil {
		return nil, false, err
	}
	again := !response.Close && c.reader.Buffered() == 0
	header := response.Header
	return &answer{
		status:      response.StatusCode,
		contentType: header.Get("Content-Type"),
		requestID:   header.Get("Lunasec-Request-Id"),
		degraded:    header.Get("Lunasec-Degraded"),
		age:         header.Get("Age"),
		body:        body,
	}, again, nil
}

// send writes the request in one piece.
func (c *connection) send(wanted *wanted) error {
	out := append(c.out[:0], wanted.method...)
	out = append(out, ' ')
	out = append(out, wanted.path...)
	out = append(out, " HTTP/1.1\r\nhost: localhost\r\n"...)
	out = append(out, wanted.lines...)
	if wanted.body != nil {
		out = append(out, "content-type: application/json\r\ncontent-length: "...)
		out = strconv.AppendInt(out, int64(len(wanted.body)), 10)
		out = append(out, "\r\n"...)
	}
	out = append(out, "\r\n"...)
	out = append(out, wanted.body...)
	_, err := c.Write(out)
	// What a value was in is not kept for longer than it is needed.
	clear(out)
	if c.out = out; cap(out) > keptBufferBytes {
		c.out = nil
	}
	return err
}

func readAll(response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	size := response.ContentLength
	if size > answerBytes {
		return nil, errTooLarge
	}
	if size < 0 {
		return io.ReadAll(response.Body)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(response.Body, body)
	return body, err
}

func closedError() *Error {
	closed := failure(sidecarUnreachable, "this client was closed: make calls before Close, or make another client")
	closed.closed = true
	return closed
}

// unreachable is why there is no connection: nothing was sent.
func (t *transport) unreachable(ctx context.Context, until time.Time, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var number syscall.Errno
	known := errors.As(err, &number)
	// A dialer says either, and may do so before the context does.
	late := !known && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded))
	switch {
	case late && !time.Now().Before(until):
		return os.ErrDeadlineExceeded
	case late, known && isNobody(number):
		return failuref(sidecarUnreachable, "no sidecar answers at %s (%s): start one, or set LUNASEC_SOCKET", t.socket, reasonOf(number)).later().because(err)
	default:
		return failuref(sidecarUnreachable, "the socket %s cannot be used (%s): check its path, mode and group", t.socket, reasonOf(number)).because(err)
	}
}

func reasonOf(number syscall.Errno) string {
	if number == 0 {
		return "no answer in time"
	}
	return number.Error()
}

// isNobody: waiting may help.
func isNobody(number syscall.Errno) bool {
	switch number {
	case syscall.ENOENT, syscall.ECONNREFUSED, syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE, syscall.ECONNRESET, syscall.EINTR:
		return true
	default:
		return false
	}
}

// translated says what became of a request that had a connection. The errors of a parser quote what came: they go no further.
func (t *transport) translated(ctx context.Context, err, broke error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(broke, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case t.isClosed():
		closed := closedError()
		closed.sent = true
		return closed
	case errors.Is(err, errTooLarge):
		return failure(protocol, "the answer is larger than the contract allows")
	case broke != nil && !errors.Is(err, errNotHTTP):
		broken := failure(sidecarUnreachable, "the connection to the sidecar broke before its answer, and a write may have been done: make the call again, and look into the sidecar's log if that goes on").later().because(broke)
		broken.sent = true
		return broken
	default:
		return failure(protocol, "the answer is not HTTP: does something else listen at the socket?")
	}
}
