package io.lunasec.client;

import com.google.protobuf.ByteString;
import com.sun.management.ThreadMXBean;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.lunasec.client.internal.wire.DetokenizeRequest;
import io.lunasec.client.internal.wire.DetokenizeResponse;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import java.lang.management.ManagementFactory;
import java.net.UnixDomainSocketAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.IntConsumer;

/**
 * What this client adds to a bare gRPC client (grpc-java's blocking call on one channel) for a cached detokenize. Both take turns within
 * one run; medians of the rounds. See test/bench.
 */
final class Overhead {
    private static final int CALLERS = 64;
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private Overhead() {}

    public static void main(String[] arguments) throws Exception {
        int rounds = Integer.parseInt(arguments[0]);
        long millis = Long.parseLong(arguments[1]);
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> batching = client(sidecar).build();
                LunaSec<Value> single = client(sidecar).batchItems(1).build()) {
            List<Token> tokens = new ArrayList<>();
            for (int at = 0; at < CALLERS; at++) {
                tokens.add(batching.tokenize("value " + at).token());
            }
            ManagedChannel channel = channel(sidecar);
            Map<String, IntConsumer> callers = new LinkedHashMap<>();
            callers.put("bare grpc-java", at -> bare(channel, tokens.get(at)));
            callers.put("this client, a request per call", at -> single.detokenize(tokens.get(at)));
            callers.put("this client", at -> batching.detokenize(tokens.get(at)));
            measure(callers, rounds, millis);
            channel.shutdownNow();
        }
        System.exit(0);
    }

    private static LunaSecBuilder<Value> client(Sidecar sidecar) {
        return LunaSec.builder().socket(sidecar.socket()).telemetry(null);
    }

    private static void measure(Map<String, IntConsumer> callers, int rounds, long millis) throws Exception {
        Map<String, List<double[]>> all = new LinkedHashMap<>();
        for (int round = -2; round < rounds; round++) {
            for (Map.Entry<String, IntConsumer> each : callers.entrySet()) {
                double[] figures = {
                    p50Micros(each.getValue(), millis), allocated(each.getValue()), perSecond(each.getValue(), millis)
                };
                // The first two are for the compiler.
                if (round >= 0) {
                    all.computeIfAbsent(each.getKey(), name -> new ArrayList<>())
                            .add(figures);
                }
            }
        }
        System.out.printf("%-34s %16s %16s %22s%n", "", "p50, one by one", "bytes per call", "calls/s, 64 callers");
        double[] base = null;
        for (Map.Entry<String, List<double[]>> each : all.entrySet()) {
            double[] median = new double[3];
            for (int figure = 0; figure < 3; figure++) {
                int of = figure;
                double[] sorted = each.getValue().stream()
                        .mapToDouble(row -> row[of])
                        .sorted()
                        .toArray();
                median[figure] = sorted[sorted.length / 2];
            }
            base = base == null ? median : base;
            System.out.printf(
                    "%-34s %8.1f us %4.2fx %9.0f B %4.2fx %14.0f %6.2fx%n",
                    each.getKey(),
                    median[0],
                    median[0] / base[0],
                    median[1],
                    median[1] / base[1],
                    median[2],
                    median[2] / base[2]);
        }
    }

    private static double p50Micros(IntConsumer call, long millis) {
        long[] nanos = new long[200_000];
        int calls = 0;
        long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        while (calls < nanos.length) {
            long before = System.nanoTime();
            call.accept(0);
            long after = System.nanoTime();
            nanos[calls++] = after - before;
            if (after > until) {
                break;
            }
        }
        Arrays.sort(nanos, 0, calls);
        return nanos[calls / 2] / 1e3;
    }

    /** By all threads that live, of calls one after another. */
    private static double allocated(IntConsumer call) {
        long before = allocatedByAll();
        for (int at = 0; at < 1_000; at++) {
            call.accept(0);
        }
        return (allocatedByAll() - before) / 1e3;
    }

    private static long allocatedByAll() {
        return Arrays.stream(THREADS.getThreadAllocatedBytes(THREADS.getAllThreadIds()))
                .filter(bytes -> bytes > 0)
                .sum();
    }

    private static double perSecond(IntConsumer call, long millis) throws InterruptedException {
        AtomicLong calls = new AtomicLong();
        CountDownLatch done = new CountDownLatch(CALLERS);
        long begin = System.nanoTime();
        long until = begin + TimeUnit.MILLISECONDS.toNanos(millis);
        for (int caller = 0; caller < CALLERS; caller++) {
            int mine = caller;
            Thread thread = new Thread(() -> {
                long made = 0;
                while (System.nanoTime() < until) {
                    call.accept(mine);
                    made++;
                }
                calls.addAndGet(made);
                done.countDown();
            });
            thread.setDaemon(true);
            thread.start();
        }
        done.await();
        return calls.get() * 1e9 / (System.nanoTime() - begin);
    }

    private static final MethodDescriptor<DetokenizeRequest, DetokenizeResponse> DETOKENIZE =
            MethodDescriptor.<DetokenizeRequest, DetokenizeResponse>newBuilder()
                    .setType(MethodDescriptor.MethodType.UNARY)
                    .setFullMethodName("lunasec.v1.Tokenizer/Detokenize")
                    .setRequestMarshaller(ProtoUtils.marshaller(DetokenizeRequest.getDefaultInstance()))
                    .setResponseMarshaller(ProtoUtils.marshaller(DetokenizeResponse.getDefaultInstance()))
                    .build();

    private static void bare(ManagedChannel channel, Token token) {
        DetokenizeRequest request =
                DetokenizeRequest.newBuilder().setToken(token.expose()).build();
        ByteString value = ClientCalls.blockingUnaryCall(channel, DETOKENIZE, CallOptions.DEFAULT, request)
                .getValue();
        if (value.isEmpty()) {
            throw new IllegalStateException("no value came back");
        }
    }

    private static ManagedChannel channel(Sidecar sidecar) {
        return NettyChannelBuilder.forAddress(UnixDomainSocketAddress.of(sidecar.socket()))
                .channelType(NioDomainSocketChannel.class, UnixDomainSocketAddress.class)
                .eventLoopGroup(new NioEventLoopGroup(1))
                .usePlaintext()
                .overrideAuthority("localhost")
                .build();
    }
}
