package lunasec

import (
	"context"
	"os"
	"time"
)

// Client is the sidecar, from Go. Make one for each process with [New]: its connections, retries and batches are shared by
// all of its views ([Client.With], [Client.ForSession]), which cost next to nothing. It connects with the first call, and
// is safe for use by any number of goroutines.
type Client struct {
	calls
}

// New makes a client. It does not connect yet; [Client.Ready] waits for the sidecar where you want to know before you take
// traffic.
func New(options ...Option) (*Client, error) {
	config := config{
		socket: os.Getenv("LUNASEC_SOCKET"), start: defaultStartDeadline, grace: defaultRestartGrace,
		connections: defaultConnections, pending: defaultPendingCalls, batchItems: batchItems,
	}
	if config.socket == "" {
		config.socket = DefaultSocket
	}
	for _, option := range options {
		if err := option.client(&config); err != nil {
			return nil, err
		}
	}
	if err := socketPath(config.socket); err != nil {
		return nil, err
	}
	return made(config, newTransport(config.socket, config.connections), systemClock{})
}

func made(config config, transport exchanger, clock clock) (*Client, error) {
	spoken, err := config.spoken()
	if err != nil {
		return nil, err
	}
	engine := &engine{
		clock: clock, transport: transport, trace: config.trace,
		pause: orElse(config.retry.Pause, defaultPause), pauseMost: orElse(config.retry.PauseMost, defaultPauseMost),
		answers:      newBudget(max(0, orElse(config.retry.Budget, defaultRetryBudget))),
		breaks:       newBudget(max(connectionRetryBudget, 2*config.connections)),
		reachability: &reachability{start: config.start, grace: config.grace},
		places:       newPlaces(config.pending),
	}
	engine.batcher = newBatcher(engine, config.batchItems)
	return &Client{callsOf(engine, &view{config.viewConfig, spoken, config.retry.Attempts})}, nil
}

func orElse[T int | time.Duration](given, usual T) T {
	if given == 0 {
		return usual
	}
	return given
}

// With is the same client with something otherwise: another namespace, purpose or deadline.
func (c *Client) With(options ...ViewOption) (*Client, error) {
	config := c.view().config
	for _, option := range options {
		if err := option.view(&config); err != nil {
			return nil, err
		}
	}
	view, err := c.with(config)
	if err != nil {
		return nil, err
	}
	return &Client{view}, nil
}

// ForSession is the same client for one session of one of your users: any text of 1 to 1,024 bytes that the application
// knows the user's session by, without control characters and without a space at either end.
func (c *Client) ForSession(session string, options ...SessionOption) (*Session, error) {
	config := c.view().config
	config.session = session
	// A session that is missing by mistake would be nobody's.
	if err := sayable("session", session); err != nil {
		return nil, err
	}
	for _, option := range options {
		if err := option.session(&config); err != nil {
			return nil, err
		}
	}
	view, err := c.with(config)
	if err != nil {
		return nil, err
	}
	return &Session{view}, nil
}

// Ready waits until the sidecar answers. It fails with [ErrSidecarUnreachable] if it does not in time.
func (c *Client) Ready(ctx context.Context, options ...CallOption) error {
	_, err := c.Status(ctx, options...)
	return err
}

// Status is what the sidecar says of itself and of what it needs.
func (c *Client) Status(ctx context.Context, options ...CallOption) (Status, error) {
	config, err := configured(&c.calls, options, CallOption.call)
	if err != nil {
		return Status{}, err
	}
	var status Status
	err = c.send(ctx, "/v1/status", nil, always, status.read, config, holder{})
	return status, err
}

// Close closes the connections, of all views. Calls under way fail, as do later ones.
func (c *Client) Close() error {
	c.engine.transport.close()
	return nil
}
