package io.lunasec.client;

import java.util.List;
import java.util.OptionalLong;

/**
 * What clients and sessions have in common: values, metadata, deletion. Its methods wait in the thread that calls them, which may be a
 * virtual one; {@link LunaSec#async()} has the same with futures. They throw {@link LunaSecException}, and {@link
 * java.util.concurrent.CancellationException} where their thread is interrupted. No argument may be null, and nothing that comes back is.
 *
 * @param <R> what its reads give: {@link Value}, or {@link Revealed} where something may stand in for one
 */
public abstract sealed class Tokenizer<R extends Revealed> permits LunaSec, LunaSecSession {
    final Calls<R> calls;

    Tokenizer(View<R> view) {
        calls = new Calls<>(view);
    }

    /** Keeps a text and gives a token for it. Calls that come at the same time share one request. */
    public Tokenized tokenize(String text) {
        return calls.tokenize(Plaintext.of(text), TokenizeOptions.none()).await();
    }

    /** Keeps bytes and gives a token for them. */
    public Tokenized tokenize(byte[] bytes) {
        return calls.tokenize(Plaintext.of(bytes), TokenizeOptions.none()).await();
    }

    /** Keeps a text and what goes with it. */
    public Tokenized tokenize(String text, TokenizeOptions options) {
        return calls.tokenize(Plaintext.of(text), options).await();
    }

    /** Keeps a value and what goes with it. */
    public Tokenized tokenize(Plaintext value, TokenizeOptions options) {
        return calls.tokenize(value, options).await();
    }

    /** Keeps 1 to 1,000 values in one request. Items fail each by itself. */
    public List<TokenizedItem> tokenizeBatch(List<TokenizeItem> items) {
        return calls.tokenizeBatch(items, null).await();
    }

    /** The same; the values and their order belong to the key. */
    public List<TokenizedItem> tokenizeBatch(List<TokenizeItem> items, String idempotencyKey) {
        return calls.tokenizeBatch(items, java.util.Objects.requireNonNull(idempotencyKey))
                .await();
    }

    /** Reveals one value. Calls that come at the same time share one request. */
    public R detokenize(Token token) {
        return calls.detokenize(token).await();
    }

    /** Reveals 1 to 1,000 values in one request. Items fail each by itself. Under a policy that stands in for an answer, it does so for each item
     * that nobody can answer; otherwise the call fails if there was no answer for any. */
    public List<RevealedItem> detokenizeBatch(List<Token> tokens) {
        return calls.detokenizeBatch(tokens).await();
    }

    /** Reveals as many values as there are tokens, in a request for each thousand, all of them at the same time; otherwise as {@link #detokenizeBatch}. */
    public List<RevealedItem> detokenizeAll(List<Token> tokens) {
        return calls.detokenizeAll(List.copyOf(tokens));
    }

    /** Reads what is kept beside a value. */
    public Metadata getMetadata(Token token) {
        return calls.getMetadata(token).await();
    }

    /** Replaces the whole of what is kept beside a value: the text of a JSON object of at most 16 KiB. */
    public MetadataWritten setMetadata(Token token, String json) {
        return calls.setMetadata(token, json, OptionalLong.empty()).await();
    }

    /** The same, only if this is still the version; {@link LunaSecException.Conflict} otherwise. Not tried again where it may have been done. */
    public MetadataWritten setMetadata(Token token, String json, long ifVersion) {
        return calls.setMetadata(token, json, OptionalLong.of(ifVersion)).await();
    }

    /** Deletes 1 to 1,000 values. A token that never had one is deleted too. Items fail each by itself. */
    public List<DeletedItem> delete(List<Token> tokens) {
        return calls.delete(tokens).await();
    }

    View<R> view() {
        return calls.view();
    }

    /** Nothing that prints it shows a session or a JWT. */
    @Override
    public String toString() {
        return getClass().getSimpleName() + "[" + view() + "]";
    }
}
