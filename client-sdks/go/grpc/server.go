package lunasecgrpc

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// Server carries out the rules of .proto files for all services of a gRPC server.
type Server struct{ *interceptor }

// NewServer makes the interceptors of a server; it fails with a [*RuleError] where a rule cannot be carried out. Put
// interceptors that authenticate before them.
//
//	protect, err := lunasecgrpc.NewServer(lunasecgrpc.Options{Client: client, Session: sessionOf})
//	server := grpc.NewServer(grpc.ChainUnaryInterceptor(protect.Unary), grpc.ChainStreamInterceptor(protect.Stream))
func NewServer(options Options) (*Server, error) {
	role := atServer
	if options.ClientsTokenize {
		role = behindClients
	}
	interceptor, err := newInterceptor(options, role)
	if err != nil {
		return nil, err
	}
	return &Server{interceptor}, nil
}

// Unary is a [grpc.UnaryServerInterceptor].
func (s *Server) Unary(ctx context.Context, asked any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod
	plans, err := s.plansFor(method)
	if err != nil {
		return nil, s.failed(ctx, method, err, true)
	}
	work := s.work(ctx, method)
	if err := s.carryOut(traced(ctx), work, plans, request, asked); err != nil {
		return nil, s.failed(ctx, method, err, false)
	}
	answered, err := handler(ctx, asked)
	if err != nil {
		return answered, s.ofHandler(ctx, method, err)
	}
	if plans.of[response] == nil {
		return answered, nil
	}
	changed, err := s.answer(traced(ctx), work, plans, answered)
	if err != nil {
		return nil, s.failed(ctx, method, err, true)
	}
	return changed, nil
}

// carryOut in place.
func (i *interceptor) carryOut(ctx context.Context, work *work, plans methodPlans, direction direction, of any) error {
	plan := plans.of[direction]
	if plan == nil {
		return nil
	}
	message, err := protoOf(of)
	if err != nil {
		return err
	}
	if direction == request {
		return work.request(ctx, plan, message)
	}
	return work.response(ctx, plan, message)
}

// answer is a copy: what the application made, it may keep.
func (i *interceptor) answer(ctx context.Context, work *work, plans methodPlans, of any) (any, error) {
	message, err := protoOf(of)
	if err != nil {
		return nil, err
	}
	copied := proto.Clone(message)
	return copied, i.carryOut(ctx, work, plans, response, copied)
}

// Stream is a [grpc.StreamServerInterceptor]. Messages are worked on one at a time: order and back-pressure stay as they
// are. A stream that fails ends after the messages that came before, whatever its handler returns.
func (s *Server) Stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	method := info.FullMethod
	plans, err := s.plansFor(method)
	if err != nil {
		return s.failed(stream.Context(), method, err, true)
	}
	if plans.of[request] == nil && plans.of[response] == nil {
		return s.ofHandler(stream.Context(), method, handler(server, stream))
	}
	protected := &serverStream{ServerStream: stream, server: s, work: s.work(stream.Context(), method), plans: plans}
	err = handler(server, protected)
	if failure := protected.failure(); failure != nil {
		return failure
	}
	return s.ofHandler(stream.Context(), method, err)
}

// ofHandler is what a call ends with whose handler ended so. One of LunaSec's errors is told as an interceptor's own, since
// its words are for the log; any other stays as it is, and so does one that the handler gave a status.
func (s *Server) ofHandler(ctx context.Context, method string, err error) error {
	var known *lunasec.Error
	var said interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &known) || errors.As(err, &said) {
		return err
	}
	return s.failed(ctx, method, err, false)
}

type serverStream struct {
	grpc.ServerStream
	server *Server
	work   *work
	plans  methodPlans

	mutex sync.Mutex
	// ends with what went wrong first; nothing that comes reaches the handler after it.
	ends error
}

func (s *serverStream) failure() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.ends
}

func (s *serverStream) fail(err error, ours bool) error {
	failed := s.server.failed(s.Context(), s.work.method, err, ours)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.ends == nil {
		s.ends = failed
	}
	return s.ends
}

func (s *serverStream) RecvMsg(into any) error {
	if failure := s.failure(); failure != nil {
		return failure
	}
	if err := s.ServerStream.RecvMsg(into); err != nil {
		return err
	}
	if err := s.server.carryOut(traced(s.Context()), s.work, s.plans, request, into); err != nil {
		// Nothing of it is left for a handler that does not look at errors.
		if message, ok := into.(proto.Message); ok {
			proto.Reset(message)
		}
		return s.fail(err, false)
	}
	return nil
}

func (s *serverStream) SendMsg(message any) error {
	if failure := s.failure(); failure != nil {
		return failure
	}
	if s.plans.of[response] == nil {
		return s.ServerStream.SendMsg(message)
	}
	changed, err := s.server.answer(traced(s.Context()), s.work, s.plans, message)
	if err != nil {
		return s.fail(err, true)
	}
	return s.ServerStream.SendMsg(changed)
}
