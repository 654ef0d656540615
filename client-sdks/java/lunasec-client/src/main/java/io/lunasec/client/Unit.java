package io.lunasec.client;

import io.lunasec.client.internal.wire.TokenizeRequest;

/**
 * One item of a list, as it goes into the request.
 *
 * @param token that its answer has to be about; null of a value to tokenize
 * @param value to tokenize; null of a token
 * @param bytes that it takes in the request
 */
record Unit(Token token, TokenizeRequest value, int bytes) {
    /** The key of an item, and the length of its length. */
    private static final int AROUND = 6;

    static Unit of(Token token) {
        return new Unit(token, null, token.expose().length() * 3 + AROUND);
    }

    static Unit of(TokenizeRequest value) {
        return new Unit(null, value, value.getSerializedSize() + AROUND);
    }

    @Override
    public String toString() {
        return "Unit";
    }
}
