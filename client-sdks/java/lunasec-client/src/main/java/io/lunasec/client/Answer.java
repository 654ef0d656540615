package io.lunasec.client;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import io.lunasec.client.LunaSecException.Facts;
import io.lunasec.client.LunaSecException.ProtocolError;
import io.netty.buffer.ByteBuf;
import io.netty.handler.codec.http2.Http2Headers;

/**
 * What came back: a head, a body, and what stood after it.
 *
 * @param head of the answer
 * @param body of it
 * @param end its trailers; the head itself where there is nothing else
 */
record Answer(Http2Headers head, ByteBuf body, Http2Headers end) {
    /** A flag and a length before each message. */
    private static final int PREFIX_BYTES = 5;

    <A extends Message, T> T read(Route<A, T> route) {
        Head said = new Head(head);
        try {
            if (!"200".contentEquals(head.status() == null ? "" : head.status())) {
                throw Wire.misread("its HTTP status is not 200");
            }
            CharSequence kind = head.get("content-type");
            if (kind == null || !kind.toString().startsWith("application/grpc")) {
                throw Wire.misread("it is not gRPC");
            }
            String status = new Head(end).text("grpc-status");
            if (!"0".equals(status)) {
                throw Problems.of(status, end, said.requestId());
            }
            return route.reader().read(Wire.known(message(route)), said);
        } catch (ProtocolError error) {
            Facts facts = error.facts();
            throw new ProtocolError(facts.answered(facts.status(), null, said.requestId()));
        }
    }

    private <A extends Message> A message(Route<A, ?> route) {
        if (body.readableBytes() < PREFIX_BYTES || body.getByte(0) != 0) {
            throw Wire.misread("it has no message, or one that is compressed");
        }
        if (body.getUnsignedInt(1) != body.readableBytes() - PREFIX_BYTES) {
            throw Wire.misread("it is not one message of the length that it says");
        }
        try {
            return route.parser().parseFrom(input());
        } catch (InvalidProtocolBufferException quotes) {
            throw Wire.misread("its message is not this method's");
        }
    }

    private CodedInputStream input() {
        int length = body.readableBytes() - PREFIX_BYTES;
        if (body.hasArray()) {
            return CodedInputStream.newInstance(body.array(), body.arrayOffset() + PREFIX_BYTES, length);
        }
        return CodedInputStream.newInstance(body.nioBuffer(PREFIX_BYTES, length));
    }
}
