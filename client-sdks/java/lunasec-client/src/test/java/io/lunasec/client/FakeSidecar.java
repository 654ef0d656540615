package io.lunasec.client;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ServerCalls;
import io.lunasec.client.internal.wire.BatchDetokenizeRequest;
import io.lunasec.client.internal.wire.BatchDetokenizeResponse;
import io.lunasec.client.internal.wire.BatchTokenizeRequest;
import io.lunasec.client.internal.wire.BatchTokenizeResponse;
import io.lunasec.client.internal.wire.DetokenizeItem;
import io.lunasec.client.internal.wire.DetokenizeRequest;
import io.lunasec.client.internal.wire.DetokenizeResponse;
import io.lunasec.client.internal.wire.Encoding;
import io.lunasec.client.internal.wire.GetStatusRequest;
import io.lunasec.client.internal.wire.GetStatusResponse;
import io.lunasec.client.internal.wire.ItemError;
import io.lunasec.client.internal.wire.Problem;
import io.lunasec.client.internal.wire.Reason;
import io.lunasec.client.internal.wire.SetMetadataRequest;
import io.lunasec.client.internal.wire.SetMetadataResponse;
import io.lunasec.client.internal.wire.TokenizeRequest;
import io.lunasec.client.internal.wire.TokenizeResponse;
import io.lunasec.client.internal.wire.VerifyGrantsRequest;
import io.lunasec.client.internal.wire.VerifyGrantsResponse;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** A sidecar whose answers a test says: grpc-java's server on a Unix socket, which shares no HTTP/2 of ours. */
final class FakeSidecar implements AutoCloseable {
    static final Context.Key<Metadata> HEADERS = Context.key("headers");
    private static final String SERVICE = "lunasec.v1.Tokenizer";

    /** What was asked, in the order of its arrival. */
    final List<Message> asked = new CopyOnWriteArrayList<>();

    final List<Metadata> headers = new CopyOnWriteArrayList<>();
    volatile Function<TokenizeRequest, TokenizeResponse> tokenize = request -> token("lunasec-1");
    volatile Function<DetokenizeRequest, DetokenizeResponse> detokenize = request -> value(request.getToken());
    volatile Function<BatchDetokenizeRequest, BatchDetokenizeResponse> detokenizes = FakeSidecar::values;
    volatile Function<BatchTokenizeRequest, BatchTokenizeResponse> tokenizes =
            request -> BatchTokenizeResponse.getDefaultInstance();
    volatile Function<GetStatusRequest, GetStatusResponse> status =
            request -> GetStatusResponse.newBuilder().setVersion("1").build();
    volatile Function<SetMetadataRequest, SetMetadataResponse> setMetadata =
            request -> SetMetadataResponse.getDefaultInstance();
    volatile Function<VerifyGrantsRequest, VerifyGrantsResponse> verify =
            request -> VerifyGrantsResponse.getDefaultInstance();

    private final Path directory;
    private final NioEventLoopGroup loops = new NioEventLoopGroup(1);
    private final Server server;

    FakeSidecar() throws IOException {
        directory = Files.createTempDirectory("lunasec");
        server = NettyServerBuilder.forAddress(UnixDomainSocketAddress.of(socket()))
                .channelType(NioServerDomainSocketChannel.class)
                .bossEventLoopGroup(loops)
                .workerEventLoopGroup(loops)
                .maxInboundMessageSize(Limits.ANSWER_BYTES)
                .addService(service())
                .intercept(new Noting())
                .build()
                .start();
    }

    String socket() {
        return directory.resolve("s.sock").toString();
    }

    LunaSecBuilder<Value> client() {
        return LunaSec.builder()
                .socket(socket())
                .telemetry(null)
                .retry(RetryOptions.defaults()
                        .pause(java.time.Duration.ofMillis(2))
                        .pauseMost(java.time.Duration.ofMillis(5)));
    }

    private ServerServiceDefinition service() {
        return ServerServiceDefinition.builder(SERVICE)
                .addMethod(
                        method("Tokenize", TokenizeRequest.getDefaultInstance(), TokenizeResponse.getDefaultInstance()),
                        answering(request -> tokenize.apply(request)))
                .addMethod(
                        method(
                                "Detokenize",
                                DetokenizeRequest.getDefaultInstance(),
                                DetokenizeResponse.getDefaultInstance()),
                        answering(request -> detokenize.apply(request)))
                .addMethod(
                        method(
                                "BatchDetokenize",
                                BatchDetokenizeRequest.getDefaultInstance(),
                                BatchDetokenizeResponse.getDefaultInstance()),
                        answering(request -> detokenizes.apply(request)))
                .addMethod(
                        method(
                                "BatchTokenize",
                                BatchTokenizeRequest.getDefaultInstance(),
                                BatchTokenizeResponse.getDefaultInstance()),
                        answering(request -> tokenizes.apply(request)))
                .addMethod(
                        method(
                                "GetStatus",
                                GetStatusRequest.getDefaultInstance(),
                                GetStatusResponse.getDefaultInstance()),
                        answering(request -> status.apply(request)))
                .addMethod(
                        method(
                                "SetMetadata",
                                SetMetadataRequest.getDefaultInstance(),
                                SetMetadataResponse.getDefaultInstance()),
                        answering(request -> setMetadata.apply(request)))
                .addMethod(
                        method(
                                "VerifyGrants",
                                VerifyGrantsRequest.getDefaultInstance(),
                                VerifyGrantsResponse.getDefaultInstance()),
                        answering(request -> verify.apply(request)))
                .build();
    }

    private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> method(String name, Q q, A a) {
        return MethodDescriptor.<Q, A>newBuilder()
                .setType(MethodDescriptor.MethodType.UNARY)
                .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
                .setRequestMarshaller(ProtoUtils.marshaller(q))
                .setResponseMarshaller(ProtoUtils.marshaller(a))
                .build();
    }

    private <Q extends Message, A extends Message> ServerCallHandler<Q, A> answering(Function<Q, A> answer) {
        return ServerCalls.asyncUnaryCall((request, observer) -> {
            asked.add(request);
            headers.add(HEADERS.get());
            try {
                A said = answer.apply(request);
                observer.onNext(said);
                observer.onCompleted();
            } catch (StatusRuntimeException error) {
                observer.onError(error);
            }
        });
    }

    private static final class Noting implements ServerInterceptor {
        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            return Contexts.interceptCall(Context.current().withValue(HEADERS, headers), call, headers, next);
        }
    }

    static String header(Metadata headers, String name) {
        return headers.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
    }

    static TokenizeResponse token(String text) {
        return TokenizeResponse.newBuilder()
                .setToken(text)
                .setDurability(io.lunasec.client.internal.wire.Durability.DURABILITY_STORED)
                .build();
    }

    /** The value of each token is of that token. */
    static DetokenizeResponse value(String token) {
        return DetokenizeResponse.newBuilder()
                .setValue(com.google.protobuf.ByteString.copyFromUtf8("value of " + token))
                .setEncoding(Encoding.ENCODING_UTF8)
                .build();
    }

    static BatchDetokenizeResponse values(BatchDetokenizeRequest request) {
        BatchDetokenizeResponse.Builder answer = BatchDetokenizeResponse.newBuilder();
        request.getTokensList()
                .forEach(token -> answer.addItems(
                        DetokenizeItem.newBuilder().setToken(token).setDetokenized(value(token))));
        return answer.build();
    }

    static DetokenizeItem failed(String token, String code, boolean retryable) {
        return DetokenizeItem.newBuilder()
                .setToken(token)
                .setError(
                        ItemError.newBuilder().setCode(code).setDetail("words").setRetryable(retryable))
                .build();
    }

    /** What a sidecar says went wrong. */
    static StatusRuntimeException problem(io.grpc.Status.Code status, String code, boolean retryable) {
        Reason reason = Reason.newBuilder()
                .setReason(code)
                .setDomain("lunasec")
                .putMetadata("retryable", String.valueOf(retryable))
                .build();
        Problem problem = Problem.newBuilder()
                .setCode(status.value())
                .setMessage("words")
                .addDetails(Any.newBuilder()
                        .setTypeUrl("type.googleapis.com/google.rpc.ErrorInfo")
                        .setValue(reason.toByteString()))
                .build();
        Metadata trailers = new Metadata();
        trailers.put(
                Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER), problem.toByteArray());
        return status.toStatus().withDescription("words").asRuntimeException(trailers);
    }

    @Override
    public void close() {
        server.shutdownNow();
        loops.shutdownGracefully(0, 1, TimeUnit.SECONDS);
        try {
            server.awaitTermination(10, TimeUnit.SECONDS);
            Files.deleteIfExists(directory.resolve("s.sock"));
            Files.deleteIfExists(directory);
        } catch (IOException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }
}
