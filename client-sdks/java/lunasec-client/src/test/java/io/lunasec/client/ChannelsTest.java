package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.lunasec.client.LunaSecException.SidecarUnreachable;
import io.lunasec.client.internal.wire.GetStatusRequest;
import io.netty.channel.Channel;
import io.netty.channel.ChannelException;
import io.netty.channel.EventLoop;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import io.netty.util.AsciiString;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A process that cannot open another socket, and one whose Netty has none of Unix. */
class ChannelsTest {
    private static final Token TOKEN = Token.of("lunasec-1");
    private FakeSidecar sidecar;
    private final AtomicInteger failing = new AtomicInteger();
    private final Set<String> threads = ConcurrentHashMap.newKeySet();
    private volatile Throwable failure =
            new ChannelException("Failed to open a socket.", new IOException("Too many open files"));

    @BeforeEach
    void start() throws Exception {
        sidecar = new FakeSidecar();
    }

    @AfterEach
    void stop() {
        sidecar.close();
    }

    private LunaSecBuilder<Value> client() {
        return sidecar.client().channels(this::channel).telemetry(new Threads());
    }

    private Channel channel() {
        if (failing.getAndDecrement() > 0) {
            ChannelsTest.<RuntimeException>raise(failure);
        }
        return new NioDomainSocketChannel();
    }

    @SuppressWarnings("unchecked")
    private static <E extends Throwable> void raise(Throwable error) throws E {
        throw (E) error;
    }

    @Test
    void callsGoOnOnceASocketCanBeOpened() throws Exception {
        failing.set(5);
        try (LunaSec<Value> client =
                client().connections(1).deadline(Duration.ofMinutes(1)).build()) {
            List<CompletableFuture<Value>> futures = new ArrayList<>();
            for (int at = 0; at < 200; at++) {
                futures.add(client.withPurpose("p" + at % 10).async().detokenize(TOKEN));
            }
            for (CompletableFuture<Value> each : futures) {
                assertEquals("value of lunasec-1", each.get().reveal());
            }
        }
        assertTrue(failing.get() < 0);
        assertTrue(threads.stream().allMatch(name -> name.startsWith("lunasec-client")), threads.toString());
    }

    @Test
    void untilThenTheyFailAsUnreachable() {
        failing.set(Integer.MAX_VALUE);
        try (LunaSec<Value> client =
                client().startDeadline(Duration.ofMillis(50)).build()) {
            for (int at = 0; at < 5; at++) {
                SidecarUnreachable error = assertThrows(SidecarUnreachable.class, () -> client.detokenize(TOKEN));
                assertTrue(error.retryable() && !error.sent());
                assertTrue(error.detail().contains("too many files open"), error.detail());
            }
            failing.set(0);
            assertEquals("value of lunasec-1", client.detokenize(TOKEN).reveal());
        }
        assertTrue(threads.stream().allMatch(name -> name.startsWith("lunasec-client")), threads.toString());
    }

    @Test
    void whatTheSystemSaidIsFoundHoweverDeepItIs() {
        Throwable inner = new IOException("Too many open files");
        failure = new ChannelException(new java.lang.reflect.InvocationTargetException(inner));
        untilThenTheyFailAsUnreachable();
    }

    @Test
    void aConnectionThatIsNoneTakesNoRequestAndIsClosedAsAny() throws Exception {
        failing.set(Integer.MAX_VALUE);
        try (LunaSec<Value> client = client().build()) {
            EventLoop loop = client.view().engine().loop();
            Transport transport = new Transport(loop, sidecar.socket(), 1, this::channel);
            CompletableFuture<LunaSecException> failed = new CompletableFuture<>();
            loop.submit(() -> {
                        transport.exchange(exchange(failed));
                        transport.close();
                    })
                    .get();
            assertInstanceOf(SidecarUnreachable.class, failed.getNow(null));
        }
    }

    private static Exchange exchange(CompletableFuture<LunaSecException> failed) {
        GetStatusRequest message = GetStatusRequest.getDefaultInstance();
        return new Exchange(Transport.headers(AsciiString.of("/none")), message, new Stop(), new Exchanged() {
            @Override
            public void answered(Answer answer) {}

            @Override
            public void failed(LunaSecException error) {
                failed.complete(error);
            }
        });
    }

    @Test
    void whatIsLackingOnTheClassPathIsNotWaitedFor() {
        failing.set(Integer.MAX_VALUE);
        failure = new NoClassDefFoundError("theirs");
        try (LunaSec<Value> client = client().build()) {
            SidecarUnreachable error = assertThrows(SidecarUnreachable.class, () -> client.detokenize(TOKEN));
            assertFalse(error.retryable());
            assertEquals(failure, error.getCause());
        }
    }

    @Test
    void aNettyWithoutUnixSocketsIsSaidAtOnce() {
        var error = assertThrows(LunaSecException.InvalidRequest.class, () -> Transport.needed("io.netty.No"));
        assertTrue(error.detail().contains("4.1.110"), error.detail());
    }

    private final class Threads implements Telemetry {
        @Override
        public Object here() {
            return null;
        }

        @Override
        public Span start(String operation, int items, List<Object> from) {
            return new Span() {
                @Override
                public void propagate(BiConsumer<String, String> headers) {}

                @Override
                public void retried() {
                    threads.add(Thread.currentThread().getName());
                }

                @Override
                public void end(String code) {
                    threads.add(Thread.currentThread().getName());
                }
            };
        }
    }
}
