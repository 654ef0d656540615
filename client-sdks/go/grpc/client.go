package lunasecgrpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Client tokenizes requests before they leave, and reveals responses when they are here, so that no value crosses the
// network: for clients that have a sidecar, of servers that say ClientsTokenize.
type Client struct{ *interceptor }

// NewClient makes the interceptors of a client; it fails with a [*RuleError] where a rule cannot be carried out.
//
//	protect, err := lunasecgrpc.NewClient(lunasecgrpc.Options{Client: client, Session: sessionOf})
//	conn, err := grpc.NewClient(target, grpc.WithUnaryInterceptor(protect.Unary), grpc.WithStreamInterceptor(protect.Stream), …)
func NewClient(options Options) (*Client, error) {
	interceptor, err := newInterceptor(options, atClient)
	if err != nil {
		return nil, err
	}
	return &Client{interceptor}, nil
}

// Unary is a [grpc.UnaryClientInterceptor].
func (c *Client) Unary(ctx context.Context, method string, asks, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	plans, err := c.plansFor(method)
	if err != nil {
		return c.failed(ctx, method, err, true)
	}
	work := c.work(ctx, method)
	changed, err := c.ask(ctx, work, plans, asks)
	if err != nil {
		return c.failed(ctx, method, err, false)
	}
	if err := invoke(ctx, method, changed, answer, conn, options...); err != nil {
		return err
	}
	if err := c.carryOut(ctx, work, plans, response, answer); err != nil {
		return c.failed(ctx, method, err, true)
	}
	return nil
}

// ask with a copy: what the application made, it may keep.
func (i *interceptor) ask(ctx context.Context, work *work, plans methodPlans, of any) (any, error) {
	if plans.of[request] == nil {
		return of, nil
	}
	message, err := protoOf(of)
	if err != nil {
		return nil, err
	}
	copied := proto.Clone(message)
	return copied, i.carryOut(ctx, work, plans, request, copied)
}

// Stream is a [grpc.StreamClientInterceptor].
func (c *Client) Stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, stream grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	plans, err := c.plansFor(method)
	if err != nil {
		return nil, c.failed(ctx, method, err, true)
	}
	if plans.of[request] == nil && plans.of[response] == nil {
		return stream(ctx, desc, conn, method, options...)
	}
	work := c.work(ctx, method)
	ctx, cancel := context.WithCancel(ctx)
	opened, err := stream(ctx, desc, conn, method, options...)
	if err != nil {
		cancel()
		return nil, err
	}
	return &clientStream{ClientStream: opened, client: c, work: work, plans: plans, cancel: cancel, many: desc.ServerStreams}, nil
}

type clientStream struct {
	grpc.ClientStream
	client *Client
	work   *work
	plans  methodPlans
	// cancel ends the call of what failed here, and what is left of one that is over.
	cancel context.CancelFunc
	// many messages may come.
	many bool

	mutex sync.Mutex
	ends  error
}

func (c *clientStream) failure() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.ends
}

func (c *clientStream) fail(err error, ours bool) error {
	failed := c.client.failed(c.Context(), c.work.method, err, ours)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.ends == nil {
		c.ends = failed
	}
	c.cancel()
	return c.ends
}

func (c *clientStream) SendMsg(message any) error {
	if failure := c.failure(); failure != nil {
		return failure
	}
	changed, err := c.client.ask(c.Context(), c.work, c.plans, message)
	if err != nil {
		return c.fail(err, false)
	}
	return c.ClientStream.SendMsg(changed)
}

func (c *clientStream) RecvMsg(into any) error {
	if err := c.ClientStream.RecvMsg(into); err != nil {
		c.cancel()
		if failure := c.failure(); failure != nil {
			return failure
		}
		return err
	}
	if err := c.client.carryOut(c.Context(), c.work, c.plans, response, into); err != nil {
		return c.fail(err, true)
	}
	if !c.many {
		c.cancel()
	}
	return nil
}
