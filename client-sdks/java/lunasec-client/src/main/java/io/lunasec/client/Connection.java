package io.lunasec.client;

import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.MessageLite;
import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.EventLoop;
import io.netty.handler.codec.http2.AbstractHttp2ConnectionHandlerBuilder;
import io.netty.handler.codec.http2.DefaultHttp2Connection;
import io.netty.handler.codec.http2.Http2CodecUtil;
import io.netty.handler.codec.http2.Http2ConnectionDecoder;
import io.netty.handler.codec.http2.Http2ConnectionEncoder;
import io.netty.handler.codec.http2.Http2ConnectionHandler;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2EventAdapter;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2Settings;
import io.netty.util.collection.IntObjectHashMap;
import io.netty.util.collection.IntObjectMap;
import java.io.IOException;
import java.net.SocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * HTTP/2 on one connection to the socket, many requests at a time, as gRPC frames them. It tries nothing twice, and says of what failed
 * whether it had left. Used in the client's thread only.
 *
 * <p>Not grpc-java: that leaves out, and logs, a session or purpose that is not ASCII, and tells a connection that was never made from
 * one that broke only in words.
 */
final class Connection extends Http2EventAdapter {
    /** Not to be kept in tables of compression, nor by whoever is in between. */
    private static final Set<String> SENSITIVE = Set.of("authorization", "lunasec-session");
    /** A flag and a length before each message. */
    private static final int PREFIX_BYTES = 5;

    private static final long RESETS_NANOS = TimeUnit.SECONDS.toNanos(1);

    private final Faults faults;
    private final Runnable gone;
    private final IntObjectMap<Exchange> exchanges = new IntObjectHashMap<>();
    /** Until the other side has said what it takes. */
    private List<Exchange> waiting = new ArrayList<>();

    private final Channel channel;
    private Handler handler;
    private ChannelHandlerContext ctx;
    private boolean usable = true;
    private boolean flushing;
    private int resets;
    private long resetsSince = System.nanoTime();
    /** Whether what came is not HTTP/2. */
    private boolean misunderstood;

    /**
     * @param gone is called once it takes no more requests
     */
    Connection(EventLoop loop, Bootstrap bootstrap, SocketAddress address, Faults faults, Runnable gone) {
        this.faults = faults;
        this.gone = gone;
        ChannelFuture connecting = bootstrap
                .clone()
                .handler(new ChannelInitializer<Channel>() {
                    @Override
                    protected void initChannel(Channel made) {
                        made.pipeline().addLast(new Builder().build());
                    }
                })
                .connect(address);
        channel = connecting.channel();
        // Of a channel that could not be made, Netty tells in a thread of its own.
        connecting.addListener(told -> {
            try {
                loop.execute(() -> connected(connecting));
            } catch (RejectedExecutionException over) {
                // Who waited was told by close().
            }
        });
    }

    boolean usable() {
        return usable;
    }

    /** Requests that wait for their answers. */
    int load() {
        return exchanges.size() + (waiting == null ? 0 : waiting.size());
    }

    void send(Exchange exchange) {
        if (!usable) {
            exchange.failed(faults.unsent());
            return;
        }
        if (waiting != null) {
            waiting.add(exchange);
            exchange.whenStopped(() -> forget(exchange));
            return;
        }
        write(exchange);
    }

    private void forget(Exchange exchange) {
        if (waiting != null) {
            waiting.remove(exchange);
        }
    }

    void close() {
        unusable();
        if (channel.isRegistered()) {
            channel.close();
        } else {
            // One that could not be made has no loop to be closed in, and that may be told too late.
            closed();
        }
    }

    private void connected(ChannelFuture future) {
        if (!future.isSuccess()) {
            unusable();
            List<Exchange> all = waiting;
            waiting = null;
            if (all != null) {
                all.forEach(exchange -> exchange.failed(faults.notConnected(future.cause())));
            }
        }
    }

    /** How many requests it takes at a time is known only now: with more, the sidecar would end the connection. */
    @Override
    public void onSettingsRead(ChannelHandlerContext c, Http2Settings settings) {
        List<Exchange> all = waiting;
        waiting = null;
        if (all != null) {
            all.forEach(this::write);
        }
    }

    private void write(Exchange exchange) {
        if (exchange.over()) {
            return;
        }
        int id = handler.connection().local().incrementAndGetNextStreamId();
        if (id <= 0 || !usable) {
            unusable();
            exchange.failed(faults.unsent());
            return;
        }
        exchanges.put(id, exchange);
        exchange.whenStopped(() -> abandon(id, exchange));
        Http2ConnectionEncoder encoder = handler.encoder();
        encoder.writeHeaders(ctx, id, exchange.headers, 0, false, ctx.newPromise())
                .addListener(written -> left(id, exchange, written.isSuccess()));
        // Beyond what the sidecar takes at a time, it waits for its turn here.
        exchange.sent = handler.connection().stream(id) != null;
        encoder.writeData(ctx, id, framed(exchange.message), 0, true, ctx.newPromise());
        flushSoon();
    }

    private void left(int id, Exchange exchange, boolean success) {
        if (success) {
            exchange.sent = true;
        } else if (exchanges.get(id) == exchange) {
            exchanges.remove(id);
            exchange.failed(exchange.sent ? faults.broken(true) : faults.unsent());
        }
    }

    private ByteBuf framed(MessageLite message) {
        int size = message.getSerializedSize();
        ByteBuf out = ctx.alloc().heapBuffer(PREFIX_BYTES + size, PREFIX_BYTES + size);
        out.writeByte(0).writeInt(size);
        try {
            CodedOutputStream to = CodedOutputStream.newInstance(out.array(), out.arrayOffset() + PREFIX_BYTES, size);
            message.writeTo(to);
            to.checkNoSpaceLeft();
        } catch (IOException impossible) {
            out.release();
            throw new IllegalStateException("a message has another length than it says");
        }
        return out.writerIndex(PREFIX_BYTES + size);
    }

    /** What is written in one turn goes in one system call. */
    private void flushSoon() {
        if (!flushing) {
            flushing = true;
            channel.eventLoop().execute(() -> {
                flushing = false;
                channel.flush();
            });
        }
    }

    /**
     * What is not wanted any more is taken back, if its answer does not come soon: most are on their way already, and the sidecar ends a
     * connection on which too many are taken back at once.
     */
    private void abandon(int id, Exchange exchange) {
        if (exchange.sent) {
            channel.eventLoop().schedule(() -> takeBack(id, exchange), RESETS_NANOS, TimeUnit.NANOSECONDS);
        } else {
            reset(id, exchange);
        }
    }

    private void takeBack(int id, Exchange exchange) {
        if (exchanges.get(id) == exchange) {
            if (mayReset()) {
                reset(id, exchange);
            } else {
                abandon(id, exchange);
            }
        }
    }

    private void reset(int id, Exchange exchange) {
        if (exchanges.get(id) == exchange && exchanges.remove(id) != null) {
            handler.encoder().writeRstStream(ctx, id, Http2Error.CANCEL.code(), ctx.newPromise());
            flushSoon();
        }
    }

    private boolean mayReset() {
        long now = System.nanoTime();
        if (now - resetsSince > RESETS_NANOS) {
            resetsSince = now;
            resets = 0;
        }
        return ++resets <= Limits.RESETS;
    }

    @Override
    public void onHeadersRead(ChannelHandlerContext c, int id, Http2Headers headers, int padding, boolean last) {
        Exchange exchange = exchanges.get(id);
        if (exchange != null) {
            if (last) {
                exchanges.remove(id);
            }
            exchange.headers(headers, last);
        }
    }

    @Override
    public void onHeadersRead(
            ChannelHandlerContext c,
            int id,
            Http2Headers headers,
            int dependency,
            short weight,
            boolean exclusive,
            int padding,
            boolean last) {
        onHeadersRead(c, id, headers, padding, last);
    }

    @Override
    public int onDataRead(ChannelHandlerContext c, int id, ByteBuf data, int padding, boolean last) {
        int read = data.readableBytes() + padding;
        Exchange exchange = exchanges.get(id);
        if (exchange == null) {
            return read;
        }
        if (!exchange.data(c, data)) {
            reset(id, exchange);
        } else if (last) {
            exchanges.remove(id);
            exchange.ended();
        }
        return read;
    }

    @Override
    public void onRstStreamRead(ChannelHandlerContext c, int id, long code) {
        Exchange exchange = exchanges.remove(id);
        if (exchange != null) {
            boolean refused = code == Http2Error.REFUSED_STREAM.code();
            exchange.failed(refused ? faults.unsent() : faults.broken(exchange.sent));
        }
    }

    /** What the other side has not begun goes to another connection; the rest is still answered here. */
    @Override
    public void onGoAwayReceived(int lastStreamId, long code, ByteBuf debug) {
        unusable();
        List<Exchange> notBegun = new ArrayList<>();
        for (IntObjectMap.PrimitiveEntry<Exchange> each : exchanges.entries()) {
            if (each.key() > lastStreamId) {
                notBegun.add(each.value());
            }
        }
        exchanges.values().removeAll(notBegun);
        notBegun.forEach(exchange -> exchange.failed(faults.unsent()));
    }

    private void unusable() {
        if (usable) {
            usable = false;
            gone.run();
        }
    }

    private void closed() {
        unusable();
        List<Exchange> all = new ArrayList<>(exchanges.values());
        exchanges.clear();
        if (waiting != null) {
            all.addAll(waiting);
            waiting = null;
        }
        for (Exchange exchange : all) {
            exchange.failed(misunderstood ? faults.notHttp2() : faults.broken(exchange.sent));
        }
    }

    private final class Handler extends Http2ConnectionHandler {
        Handler(Http2ConnectionDecoder decoder, Http2ConnectionEncoder encoder, Http2Settings settings) {
            super(decoder, encoder, settings);
        }

        @Override
        public void channelActive(ChannelHandlerContext c) throws Exception {
            super.channelActive(c);
            ctx = c;
            decoder()
                    .flowController()
                    .incrementWindowSize(
                            connection().connectionStream(),
                            Limits.CONNECTION_WINDOW - Http2CodecUtil.DEFAULT_WINDOW_SIZE);
        }

        @Override
        public void channelInactive(ChannelHandlerContext c) throws Exception {
            super.channelInactive(c);
            closed();
        }

        /** A connection that broke ends in {@link #channelInactive}; nothing is to be logged of it. */
        @Override
        public void exceptionCaught(ChannelHandlerContext c, Throwable cause) throws Exception {
            if (cause instanceof IOException) {
                c.close();
            } else {
                super.exceptionCaught(c, cause);
            }
        }

        @Override
        protected void onConnectionError(
                ChannelHandlerContext c, boolean outbound, Throwable cause, Http2Exception known) {
            misunderstood |= !outbound && known != null;
            unusable();
            super.onConnectionError(c, outbound, cause, known);
        }

        @Override
        protected void onStreamError(
                ChannelHandlerContext c, boolean outbound, Throwable cause, Http2Exception.StreamException known) {
            Exchange exchange = exchanges.remove(known.streamId());
            super.onStreamError(c, outbound, cause, known);
            if (exchange != null) {
                exchange.failed(outbound ? faults.broken(exchange.sent) : faults.notHttp2());
            }
        }
    }

    private final class Builder extends AbstractHttp2ConnectionHandlerBuilder<Handler, Builder> {
        Builder() {
            connection(new DefaultHttp2Connection(false));
            frameListener(Connection.this);
            connection().addListener(Connection.this);
            encoderEnforceMaxConcurrentStreams(true);
            gracefulShutdownTimeoutMillis(0);
            headerSensitivityDetector((name, value) -> SENSITIVE.contains(name.toString()));
            initialSettings(new Http2Settings()
                    .pushEnabled(false)
                    .initialWindowSize(Limits.STREAM_WINDOW)
                    .maxHeaderListSize(Limits.ANSWER_HEAD_BYTES));
        }

        @Override
        public Handler build() {
            return super.build();
        }

        @Override
        protected Handler build(
                Http2ConnectionDecoder decoder, Http2ConnectionEncoder encoder, Http2Settings settings) {
            handler = new Handler(decoder, encoder, settings);
            return handler;
        }
    }
}
