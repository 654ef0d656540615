package io.lunasec.client;

import com.google.protobuf.Message;
import com.google.protobuf.MessageLite;
import com.google.protobuf.Parser;
import io.netty.util.AsciiString;

/**
 * One method, what is asked of it and how its answer is read.
 *
 * @param operation as the contract names it; it names spans, too
 * @param keyed whether the client makes an idempotency key for it
 * @param repeatable whether another time changes nothing
 */
record Route<A extends Message, T>(
        String operation,
        AsciiString path,
        MessageLite request,
        Parser<A> parser,
        Reader<A, T> reader,
        boolean keyed,
        boolean repeatable) {

    /** Reads an answer; throws what is wrong with it. */
    interface Reader<A, T> {
        T read(A answer, Head head);
    }

    static AsciiString path(String method) {
        return AsciiString.cached("/lunasec.v1.Tokenizer/" + method);
    }

    @Override
    public String toString() {
        return operation;
    }
}
