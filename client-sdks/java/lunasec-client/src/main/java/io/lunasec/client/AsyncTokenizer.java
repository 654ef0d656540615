package io.lunasec.client;

import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;

/**
 * The methods of {@link Tokenizer}, with futures. Cancelling one gives its call up; others that share its request are not touched. They
 * are completed in the client's executor, so that what is chained to them may take its time, and fail with {@link LunaSecException}.
 * What is wrong with the arguments is thrown at once.
 *
 * @param <R> what its reads give: {@link Value}, or {@link Revealed} where something may stand in for one
 */
public abstract sealed class AsyncTokenizer<R extends Revealed> permits AsyncLunaSec, AsyncSession {
    final Calls<R> calls;

    AsyncTokenizer(Calls<R> calls) {
        this.calls = calls;
    }

    /** Keeps a text and gives a token for it. Calls that come at the same time share one request. */
    public CompletableFuture<Tokenized> tokenize(String text) {
        return calls.tokenize(Plaintext.of(text), TokenizeOptions.none()).future();
    }

    /** Keeps bytes and gives a token for them. */
    public CompletableFuture<Tokenized> tokenize(byte[] bytes) {
        return calls.tokenize(Plaintext.of(bytes), TokenizeOptions.none()).future();
    }

    /** Keeps a text and what goes with it. */
    public CompletableFuture<Tokenized> tokenize(String text, TokenizeOptions options) {
        return calls.tokenize(Plaintext.of(text), options).future();
    }

    /** Keeps a value and what goes with it. */
    public CompletableFuture<Tokenized> tokenize(Plaintext value, TokenizeOptions options) {
        return calls.tokenize(value, options).future();
    }

    /** Keeps 1 to 1,000 values in one request. Items fail each by itself. */
    public CompletableFuture<List<TokenizedItem>> tokenizeBatch(List<TokenizeItem> items) {
        return calls.tokenizeBatch(items, null).future();
    }

    /** The same; the values and their order belong to the key. */
    public CompletableFuture<List<TokenizedItem>> tokenizeBatch(List<TokenizeItem> items, String idempotencyKey) {
        return calls.tokenizeBatch(items, java.util.Objects.requireNonNull(idempotencyKey))
                .future();
    }

    /** Reveals one value. Calls that come at the same time share one request. */
    public CompletableFuture<R> detokenize(Token token) {
        return calls.detokenize(token).future();
    }

    /** Reveals 1 to 1,000 values in one request. Items fail each by itself. Under a policy that stands in for an answer, it does so for each item
     * that nobody can answer; otherwise the call fails if there was no answer for any. */
    public CompletableFuture<List<RevealedItem>> detokenizeBatch(List<Token> tokens) {
        return calls.detokenizeBatch(tokens).future();
    }

    /** Reads what is kept beside a value. */
    public CompletableFuture<Metadata> getMetadata(Token token) {
        return calls.getMetadata(token).future();
    }

    /** Replaces the whole of what is kept beside a value: the text of a JSON object of at most 16 KiB. */
    public CompletableFuture<MetadataWritten> setMetadata(Token token, String json) {
        return calls.setMetadata(token, json, OptionalLong.empty()).future();
    }

    /** The same, only if this is still the version; {@link LunaSecException.Conflict} otherwise. Not tried again where it may have been done. */
    public CompletableFuture<MetadataWritten> setMetadata(Token token, String json, long ifVersion) {
        return calls.setMetadata(token, json, OptionalLong.of(ifVersion)).future();
    }

    /** Deletes 1 to 1,000 values. A token that never had one is deleted too. Items fail each by itself. */
    public CompletableFuture<List<DeletedItem>> delete(List<Token> tokens) {
        return calls.delete(tokens).future();
    }

    /** Nothing that prints it shows a session or a JWT. */
    @Override
    public String toString() {
        return getClass().getSimpleName() + "[" + calls.view() + "]";
    }
}
