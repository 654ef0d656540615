package io.lunasec.client;

import io.lunasec.client.LunaSecException.SidecarUnreachable;
import io.netty.bootstrap.Bootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFactory;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A few connections to the socket, opened as they are needed. Used in the client's thread only. */
final class Transport {
    private static final AsciiString POST = AsciiString.cached("POST");
    private static final AsciiString HTTP = AsciiString.cached("http");
    private static final AsciiString LOCALHOST = AsciiString.cached("localhost");
    private static final AsciiString CONTENT_TYPE = AsciiString.cached("content-type");
    private static final AsciiString GRPC = AsciiString.cached("application/grpc");
    private static final AsciiString TE = AsciiString.cached("te");
    private static final AsciiString TRAILERS = AsciiString.cached("trailers");
    /** Bytes of a socket's path that the kernel takes. */
    private static final int PATH_BYTES = System.getProperty("os.name", "").startsWith("Linux") ? 107 : 103;

    /** Since Netty 4.1.110. */
    private static final String CHANNEL = "io.netty.channel.socket.nio.NioDomainSocketChannel";

    private final EventLoop loop;
    private final Bootstrap bootstrap;
    private final UnixDomainSocketAddress address;
    private final Faults faults;
    private final int most;
    private final List<Connection> connections = new ArrayList<>();
    private boolean closed;

    Transport(EventLoop loop, String socket, int most, ChannelFactory<? extends Channel> channels) {
        this.loop = loop;
        this.address = addressOf(socket);
        this.faults = new Faults(socket);
        this.most = most;
        this.bootstrap = new Bootstrap()
                .group(loop)
                .channelFactory(channels)
                .option(ChannelOption.CONNECT_TIMEOUT_MILLIS, Limits.CONNECT_MS);
    }

    /** A path that a socket can have. */
    static UnixDomainSocketAddress addressOf(String socket) {
        int bytes = socket.getBytes(StandardCharsets.UTF_8).length;
        if (bytes > PATH_BYTES) {
            throw LunaSecException.invalid("the path of the socket is " + bytes + " bytes long, and Unix takes "
                    + PATH_BYTES + ": put the socket where its path is shorter");
        }
        try {
            return UnixDomainSocketAddress.of(Path.of(socket));
        } catch (IllegalArgumentException none) {
            throw LunaSecException.invalid("the path of the socket is no path of a file");
        }
    }

    /** Unix sockets. The application, or its Spring Boot, may bring a Netty that has none. */
    static ChannelFactory<? extends Channel> channels() {
        needed(CHANNEL);
        return io.netty.channel.socket.nio.NioDomainSocketChannel::new;
    }

    static void needed(String channel) {
        try {
            Class.forName(channel, true, Transport.class.getClassLoader());
        } catch (ClassNotFoundException | LinkageError older) {
            throw LunaSecException.invalid(
                    "the Netty on the class path has no Unix sockets: 4.1.110 or newer is needed,"
                            + " as Spring Boot 3.3 or newer brings it");
        }
    }

    /** What goes before the headers of a request. */
    static Http2Headers headers(AsciiString path) {
        Http2Headers headers = new DefaultHttp2Headers(false);
        headers.method(POST).scheme(HTTP).path(path).authority(LOCALHOST);
        headers.add(CONTENT_TYPE, GRPC);
        headers.add(TE, TRAILERS);
        return headers;
    }

    /** One exchange. Fails with {@link SidecarUnreachable} or a protocol error. */
    void exchange(Exchange exchange) {
        if (closed) {
            exchange.failed(Faults.closed());
            return;
        }
        pick().send(exchange);
    }

    /** The first one that has room, so that few are used where few suffice. */
    private Connection pick() {
        Connection least = null;
        for (Connection each : connections) {
            if (!each.usable()) {
                continue;
            }
            if (each.load() < Limits.STREAMS) {
                return each;
            }
            if (least == null || each.load() < least.load()) {
                least = each;
            }
        }
        return least == null || connections.size() < most ? another() : least;
    }

    private Connection another() {
        Connection[] made = new Connection[1];
        made[0] = new Connection(loop, bootstrap, address, faults, () -> connections.remove(made[0]));
        if (made[0].usable()) {
            connections.add(made[0]);
        }
        return made[0];
    }

    void close() {
        closed = true;
        for (Connection each : List.copyOf(connections)) {
            each.close();
        }
    }
}
