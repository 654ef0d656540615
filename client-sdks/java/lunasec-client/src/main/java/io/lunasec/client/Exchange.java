package io.lunasec.client;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.http2.EmptyHttp2Headers;
import io.netty.handler.codec.http2.Http2Headers;

/** One request on its way, and what has come back of its answer. Used in the client's thread only. */
final class Exchange {
    final Http2Headers headers;
    final com.google.protobuf.MessageLite message;
    private final Stop stop;
    private final Exchanged to;
    /** Whether it has left: a write may have been done. */
    boolean sent;

    private Http2Headers head;
    private ByteBuf body;
    private boolean over;

    Exchange(Http2Headers headers, com.google.protobuf.MessageLite message, Stop stop, Exchanged to) {
        this.headers = headers;
        this.message = message;
        this.stop = stop;
        this.to = to;
    }

    boolean over() {
        return over;
    }

    /** What to do where nobody wants it any more. */
    void whenStopped(Runnable then) {
        stop.listen(() -> {
            over = true;
            release();
            then.run();
        });
    }

    /** Whether that was all. */
    boolean headers(Http2Headers came, boolean last) {
        boolean first = head == null;
        if (first && !last && isInformational(came)) {
            return false;
        }
        if (first) {
            head = came;
        }
        if (last) {
            answered(came);
        }
        return last;
    }

    private static boolean isInformational(Http2Headers came) {
        CharSequence status = came.status();
        return status != null && status.length() == 3 && status.charAt(0) == '1';
    }

    /** Whether there was room for it. */
    boolean data(ChannelHandlerContext ctx, ByteBuf came) {
        if (over) {
            return true;
        }
        int before = body == null ? 0 : body.readableBytes();
        if (before + came.readableBytes() > Limits.ANSWER_BYTES) {
            failed(LunaSecException.of("protocol_error", "the answer is larger than the contract allows"));
            return false;
        }
        if (body == null) {
            body = came.retainedSlice();
            return true;
        }
        if (body.writableBytes() < came.readableBytes()) {
            ByteBuf larger = ctx.alloc().heapBuffer(2 * (before + came.readableBytes()));
            larger.writeBytes(body);
            body.release();
            body = larger;
        }
        body.writeBytes(came);
        return true;
    }

    /** It ends without trailers. */
    void ended() {
        answered(EmptyHttp2Headers.INSTANCE);
    }

    private void answered(Http2Headers end) {
        if (finish()) {
            Http2Headers first = head == null ? EmptyHttp2Headers.INSTANCE : head;
            ByteBuf whole = body == null ? io.netty.buffer.Unpooled.EMPTY_BUFFER : body;
            try {
                to.answered(new Answer(first, whole, end));
            } finally {
                release();
            }
        }
    }

    void failed(LunaSecException error) {
        if (finish()) {
            release();
            to.failed(error);
        }
    }

    private boolean finish() {
        if (over) {
            return false;
        }
        over = true;
        stop.listen(null);
        return true;
    }

    private void release() {
        if (body != null) {
            body.release();
            body = null;
        }
    }
}
