package io.lunasec.client;

import com.google.protobuf.Message;
import io.lunasec.client.LunaSecException.Overloaded;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFactory;
import io.netty.channel.EventLoop;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.time.Duration;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BiConsumer;

/**
 * Sends requests, again where that helps. All views of a client share one, and its single thread, in which all of that happens: no
 * locks are held, and nobody's code runs there.
 */
final class Engine {
    /**
     * How a client is made.
     *
     * @param channels to the socket; null: Unix sockets
     * @param executor where futures are completed; null: as {@link CompletableFuture} has it
     */
    record Options(
            String socket,
            int connections,
            int pendingCalls,
            int batchItems,
            RetryOptions retry,
            Duration startDeadline,
            Duration restartGrace,
            Telemetry telemetry,
            Executor executor,
            ChannelFactory<? extends Channel> channels) {}

    private final NioEventLoopGroup group;
    private final EventLoop loop;
    private final Transport transport;
    private final Retries.Shared retries;
    private final Places places;
    private final Batcher batcher;
    private final Spans spans;
    private final Executor executor;
    private final AtomicBoolean closed = new AtomicBoolean();
    /** Requests between two attempts. */
    private final Set<Journey> pausing = Collections.newSetFromMap(new IdentityHashMap<>());

    Engine(Options options) {
        Transport.addressOf(options.socket());
        var channels = options.channels() == null ? Transport.channels() : options.channels();
        // A daemon: a program that forgets to close its client ends all the same.
        group = new NioEventLoopGroup(1, new DefaultThreadFactory("lunasec-client", true));
        loop = group.next();
        transport = new Transport(loop, options.socket(), options.connections(), channels);
        retries = new Retries.Shared(
                new Budget(options.retry().budget()),
                new Budget(Limits.CONNECTION_RETRY_BUDGET),
                new Reachability(options.startDeadline(), options.restartGrace()),
                options.retry().pause(),
                options.retry().pauseMost());
        places = new Places(options.pendingCalls());
        spans = new Spans(options.telemetry());
        batcher = new Batcher(this, options.batchItems());
        executor = options.executor() != null ? options.executor() : new CompletableFuture<>().defaultExecutor();
    }

    EventLoop loop() {
        return loop;
    }

    Spans spans() {
        return spans;
    }

    Batcher batcher() {
        return batcher;
    }

    Set<Journey> pausing() {
        return pausing;
    }

    Executor executor() {
        return executor;
    }

    boolean isClosed() {
        return closed.get();
    }

    /** A place for one caller to wait; a call that is over already where there is none. The session may be null. */
    <T> Call<T> call(long deadlineMs, String session, boolean aRequestEach) {
        if (closed.get()) {
            return Call.rejected(Faults.closed());
        }
        Runnable leave;
        try {
            leave = places.take(session, aRequestEach);
        } catch (Overloaded refused) {
            return Call.rejected(refused);
        }
        return new Call<>(deadlineMs, leave);
    }

    /** In the client's thread; where that is over, so is what it was for. */
    void run(Runnable task, Call<?> call) {
        try {
            loop.execute(() -> {
                try {
                    task.run();
                } catch (Throwable defect) {
                    call.reject(Journey.defect(defect));
                }
            });
        } catch (java.util.concurrent.RejectedExecutionException over) {
            call.reject(Faults.closed());
        }
    }

    Retries retries(int attempts, boolean repeatable) {
        return new Retries(retries, attempts, repeatable);
    }

    /** What all attempts of a request say of it beside its message. The key may be null. */
    List<AsciiString> head(Route<?, ?> route, Context context, String idempotencyKey, Telemetry.Span span) {
        List<AsciiString> head = new java.util.ArrayList<>(context.headers());
        String key = idempotencyKey != null || !route.keyed()
                ? idempotencyKey
                : UUID.randomUUID().toString();
        if (key != null) {
            head.add(Context.IDEMPOTENCY_KEY);
            head.add(Context.value("idempotency key", "", key));
        }
        span.propagate((name, value) -> {
            head.add(AsciiString.of(name));
            head.add(AsciiString.of(value));
        });
        return head;
    }

    /** One attempt. Calls back once, in the client's thread, with a result or an error; not where it was told to stop. */
    <A extends Message, T> void attempt(
            Route<A, T> route, List<AsciiString> head, Stop stop, BiConsumer<T, LunaSecException> then) {
        Http2Headers headers = Transport.headers(route.path());
        for (int at = 0; at < head.size(); at += 2) {
            headers.add(head.get(at), head.get(at + 1));
        }
        transport.exchange(new Exchange(headers, route.request(), stop, new Exchanged() {
            @Override
            public void answered(Answer answer) {
                T result;
                try {
                    result = answer.read(route);
                } catch (LunaSecException error) {
                    then.accept(null, error);
                    return;
                } catch (RuntimeException quotes) {
                    then.accept(null, Wire.misread("it cannot be read"));
                    return;
                }
                then.accept(result, null);
            }

            @Override
            public void failed(LunaSecException error) {
                then.accept(null, error);
            }
        }));
    }

    /** A request of one caller, tried again as far as its limits go. */
    <T> Call<T> send(Route<?, T> route, View<?> view, String session) {
        Object here = spans.here();
        Call<T> call = call(view.deadlineMs(false), session, session != null);
        if (call.over()) {
            return call;
        }
        run(() -> new Single<>(this, route, view, call, here).go(), call);
        return call;
    }

    void close() {
        if (closed.compareAndSet(false, true)) {
            loop.execute(() -> {
                transport.close();
                List.copyOf(pausing).forEach(Journey::closed);
                pausing.clear();
            });
            // What is under way ends first: its callers wait.
            loop.schedule(() -> group.shutdownGracefully(0, 1, TimeUnit.SECONDS), 10, TimeUnit.MILLISECONDS);
        }
    }
}
