// Command client is grpc-go as a client of the sidecar. Its arguments are the socket's path, and that of
// a sidecar which asks for grants.
//
// It knows nothing of the contract but what reflection tells it. It ends with 0 if everything was as
// it should be, and otherwise says what was not.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
)

const (
	service = "lunasec.v1.Tokenizer"
	unknown = "lunasec-00112233-4455-4677-8899-aabbccddeeff"
)

// fields is a message as its JSON mapping has it.
type fields map[string]any

type client struct {
	connection *grpc.ClientConn
	methods    protoreflect.MethodDescriptors
}

func check(right bool, format string, arguments ...any) {
	if !right {
		log.Panicf(format, arguments...)
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "%v", err)
	return value
}

func soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	time.AfterFunc(time.Minute, cancel)
	return ctx
}

// call makes a request out of fields by way of the descriptors.
func (c client) call(ctx context.Context, method string, request fields, options ...grpc.CallOption) (protoreflect.Message, error) {
	descriptor := c.methods.ByName(protoreflect.Name(method))
	check(descriptor != nil, "reflection knows no method %s", method)
	in, out := dynamicpb.NewMessage(descriptor.Input()), dynamicpb.NewMessage(descriptor.Output())
	set(in, request)
	err := c.connection.Invoke(ctx, "/"+service+"/"+method, in, out, options...)
	return out, err
}

// set takes bytes and lists as they are: protojson would want base64 and text.
func set(message protoreflect.Message, request fields) {
	for name, value := range request {
		field := message.Descriptor().Fields().ByName(protoreflect.Name(name))
		check(field != nil, "there is no field %s", name)
		switch value := value.(type) {
		case []fields:
			list := message.Mutable(field).List()
			for _, item := range value {
				element := list.NewElement()
				set(element.Message(), item)
				list.Append(element)
			}
		case []string:
			list := message.Mutable(field).List()
			for _, item := range value {
				list.Append(protoreflect.ValueOf(item))
			}
		case fields:
			set(message.Mutable(field).Message(), value)
		default:
			message.Set(field, protoreflect.ValueOf(value))
		}
	}
}

func get(message protoreflect.Message, name string) protoreflect.Value {
	return message.Get(message.Descriptor().Fields().ByName(protoreflect.Name(name)))
}

func text(message protoreflect.Message) string {
	return string(must(protojson.Marshal(message.Interface())))
}

func refused(err error, code codes.Code, reason string) {
	said, _ := status.FromError(err)
	check(said.Code() == code, "%v instead of %s", err, reason)
	check(said.Message() != "", "an error says what happened")
	for _, detail := range said.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			right := info.Reason == reason && info.Domain == "lunasec" && info.Metadata["retryable"] == "false"
			check(right, "%v instead of %s", info, reason)
			return
		}
	}
	log.Panicf("no ErrorInfo in %v", err)
}

func (c client) token(value []byte) string {
	given := must(c.call(soon(), "Tokenize", fields{"value": value}))
	return get(given, "token").String()
}

func (c client) values() {
	large := make([]byte, 1<<20)
	must(rand.Read(large))
	for _, value := range [][]byte{[]byte("4111 1111 1111 1111"), {0, 255, 128}, {}, large} {
		token := c.token(value)
		check(strings.HasPrefix(token, "lunasec-") && len(token) == 44, "not a token")
		revealed := must(c.call(soon(), "Detokenize", fields{"token": token}))
		check(bytes.Equal(get(revealed, "value").Bytes(), value), "another value came back")
	}
}

func (c client) batches() {
	items := make([]fields, 1000)
	for n := range items {
		items[n] = fields{"value": fmt.Appendf(nil, "value %d", n)}
	}
	items[7]["metadata"] = "no object"
	given := get(must(c.call(soon(), "BatchTokenize", fields{"items": items})), "items").List()
	tokens := make([]string, given.Len())
	for n := range tokens {
		item := given.Get(n).Message()
		tokens[n] = get(get(item, "tokenized").Message(), "token").String()
	}
	code := get(get(given.Get(7).Message(), "error").Message(), "code").String()
	check(code == "invalid_request" && tokens[7] == "", "%s for an item that is bad", code)
	tokens[7] = unknown
	found := get(must(c.call(soon(), "BatchDetokenize", fields{"tokens": tokens})), "items").List()
	check(found.Len() == 1000, "%d items", found.Len())
	for n := range tokens {
		item := found.Get(n).Message()
		check(get(item, "token").String() == tokens[n], "item %d is about another token", n)
		value := get(get(item, "detokenized").Message(), "value").Bytes()
		check(n == 7 || string(value) == fmt.Sprintf("value %d", n), "item %d has another value", n)
	}
	code = get(get(found.Get(7).Message(), "error").Message(), "code").String()
	check(code == "not_found", "%s for a token that is unknown", code)
}

func (c client) metadata() {
	request := fields{"value": []byte("v"), "metadata": `{"n": 1.0}`, "expires_in": fields{"seconds": int64(3600)}}
	token := get(must(c.call(soon(), "Tokenize", request)), "token").String()
	got := must(c.call(soon(), "GetMetadata", fields{"token": token}))
	right := get(got, "metadata").String() == `{"n": 1.0}` && get(got, "version").Uint() == 1
	check(right && got.Has(got.Descriptor().Fields().ByName("expires_at")), "%s", text(got))
	update := fields{"token": token, "metadata": `{"n": 2}`, "if_version": uint64(1)}
	set := must(c.call(soon(), "SetMetadata", update))
	check(get(set, "version").Uint() == 2, "%s", text(set))
	_, err := c.call(soon(), "SetMetadata", update)
	refused(err, codes.Aborted, "conflict")
}

// grants, where the policy asks for one: what a session may do, it may until that is taken back.
func (c client) grants() {
	given := must(c.call(soon(), "Tokenize", fields{"value": []byte("alice's")}))
	token := get(given, "token").String()
	alice, bob := rand.Text(), rand.Text()
	about := func(session string) fields { return fields{"tokens": []string{token}, "session": session} }
	c.denied(token, alice)
	created := get(must(c.call(soon(), "CreateGrants", about(alice))), "items").List().Get(0).Message()
	until := get(get(created, "granted").Message(), "expires_at").Message()
	check(until.IsValid(), "%s", text(created))
	verified := get(must(c.call(soon(), "VerifyGrants", about(alice))), "items").List().Get(0).Message()
	valid := get(verified, "valid_until").Message()
	check(proto.Equal(valid.Interface(), until.Interface()), "%s after %s", text(verified), text(created))
	revealed := must(c.call(of(alice), "Detokenize", fields{"token": token}))
	check(string(get(revealed, "value").Bytes()) == "alice's", "another value came back")
	c.denied(token, bob)
	_, err := c.call(soon(), "Detokenize", fields{"token": token})
	refused(err, codes.Unauthenticated, "unauthenticated")
	revoked := must(c.call(soon(), "RevokeGrants", about(alice)))
	check(get(revoked, "revoked").Uint() == 1, "%s", text(revoked))
	c.denied(token, alice)
}

// of is in the name of a session.
func of(session string) context.Context {
	return metadata.AppendToOutgoingContext(soon(), "lunasec-session", session)
}

// denied checks that a session may not reveal a token, by asking and by trying.
func (c client) denied(token, session string) {
	request := fields{"tokens": []string{token}, "session": session}
	item := get(must(c.call(soon(), "VerifyGrants", request)), "items").List().Get(0).Message()
	refusal := item.Descriptor().Fields().ByName("refusal")
	name := refusal.Enum().Values().ByNumber(item.Get(refusal).Enum()).Name()
	check(name == "REFUSAL_DENIED", "%s", text(item))
	_, err := c.call(of(session), "Detokenize", fields{"token": token})
	refused(err, codes.PermissionDenied, "grant_denied")
}

func (c client) deletes() {
	token := c.token([]byte("v"))
	items := get(must(c.call(soon(), "Delete", fields{"tokens": []string{token}})), "items").List()
	item := items.Get(0).Message()
	check(item.Has(item.Descriptor().Fields().ByName("deleted")), "not deleted")
	_, err := c.call(soon(), "Detokenize", fields{"token": token})
	refused(err, codes.NotFound, "not_found")
	check(!strings.Contains(err.Error(), token), "the error repeats the token")
}

func (c client) headers() {
	key := metadata.AppendToOutgoingContext(soon(), "idempotency-key", rand.Text())
	var header metadata.MD
	first := must(c.call(key, "Tokenize", fields{"value": []byte("v")}, grpc.Header(&header)))
	again := must(c.call(key, "Tokenize", fields{"value": []byte("v")}))
	check(proto.Equal(first.Interface(), again.Interface()), "a retry gets another token")
	check(len(header.Get("lunasec-request-id")) == 1, "no request id")
	_, err := c.call(key, "Tokenize", fields{"value": []byte("w")})
	refused(err, codes.Aborted, "conflict")
	elsewhere := metadata.AppendToOutgoingContext(soon(), "lunasec-namespace", "elsewhere")
	_, err = c.call(elsewhere, "Detokenize", fields{"token": get(first, "token").String()})
	refused(err, codes.NotFound, "not_found")
}

func (c client) refusals() {
	_, err := c.call(soon(), "Detokenize", fields{"token": "4111"})
	refused(err, codes.InvalidArgument, "invalid_token")
	_, err = c.call(soon(), "Delete", fields{})
	refused(err, codes.InvalidArgument, "invalid_request")
	_, err = c.call(soon(), "Tokenize", fields{"value": make([]byte, 1<<20+1)})
	refused(err, codes.ResourceExhausted, "payload_too_large")
	_, err = c.call(soon(), "Tokenize", fields{"value": []byte("v")}, grpc.UseCompressor(gzip.Name))
	refused(err, codes.Unimplemented, "unsupported_media_type")
	empty := new(healthpb.HealthCheckRequest)
	err = c.connection.Invoke(soon(), "/"+service+"/Reveal", empty, empty)
	refused(err, codes.Unimplemented, "method_not_allowed")
}

func (c client) deadlines() {
	items := make([]fields, 1000)
	for n := range items {
		items[n] = fields{"value": make([]byte, 10_000)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := c.call(ctx, "BatchTokenize", fields{"items": items})
	check(status.Code(err) == codes.DeadlineExceeded, "%v instead of a deadline", err)
}

func (c client) manyAtOnce() {
	var tokens sync.Map
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() { tokens.Store(c.token([]byte("v")), true) })
	}
	all.Wait()
	count := 0
	tokens.Range(func(any, any) bool { count++; return true })
	check(count == 500, "%d different tokens", count)
}

func health(connection *grpc.ClientConn) {
	checks := healthpb.NewHealthClient(connection)
	for _, name := range []string{"", service} {
		says := must(checks.Check(soon(), &healthpb.HealthCheckRequest{Service: name}))
		check(says.Status == healthpb.HealthCheckResponse_SERVING, "%v", says)
	}
	ctx, cancel := context.WithCancel(soon())
	defer cancel()
	watch := must(checks.Watch(ctx, &healthpb.HealthCheckRequest{Service: service}))
	says := must(watch.Recv())
	check(says.Status == healthpb.HealthCheckResponse_SERVING, "%v", says)
	_, err := checks.Check(soon(), &healthpb.HealthCheckRequest{Service: "nobody"})
	check(status.Code(err) == codes.NotFound, "%v", err)
}

// reflect asks the sidecar what it serves.
func reflect(connection *grpc.ClientConn) protoreflect.MethodDescriptors {
	stream := must(reflectionpb.NewServerReflectionClient(connection).ServerReflectionInfo(soon()))
	ask := func(request *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		check(stream.Send(request) == nil, "reflection takes no more questions")
		return must(stream.Recv())
	}
	list := ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	})
	names := fmt.Sprint(list.GetListServicesResponse().GetService())
	for _, name := range []string{service, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		check(strings.Contains(names, name), "%s is not in %s", name, names)
	}
	answer := ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
	})
	file := new(descriptorpb.FileDescriptorProto)
	bytes := answer.GetFileDescriptorResponse().GetFileDescriptorProto()
	check(len(bytes) > 0, "no file for %s", service)
	check(proto.Unmarshal(bytes[0], file) == nil, "not a descriptor")
	found := must(protodesc.NewFile(file, protoregistry.GlobalFiles))
	return found.Services().ByName("Tokenizer").Methods()
}

func connect(socket string) *grpc.ClientConn {
	return must(grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials())))
}

func main() {
	log.SetFlags(0)
	connection, asks := connect(os.Args[1]), connect(os.Args[2])
	defer connection.Close()
	defer asks.Close()
	c := client{connection, reflect(connection)}
	c.values()
	c.batches()
	c.metadata()
	client{asks, reflect(asks)}.grants()
	c.deletes()
	c.headers()
	c.refusals()
	c.deadlines()
	c.manyAtOnce()
	health(connection)
	says := must(c.call(soon(), "GetStatus", fields{}))
	check(get(says, "version").String() != "", "no version")
	fmt.Println("go: all as it should be")
}
