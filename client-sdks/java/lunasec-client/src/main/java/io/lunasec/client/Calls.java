package io.lunasec.client;

import io.lunasec.client.LunaSecException.Facts;
import io.lunasec.client.LunaSecException.Unavailable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeMap;

/** Each operation, from what an application says to a call under way. What blocks and what gives futures share it. */
final class Calls<R extends Revealed> {
    private final View<R> view;

    Calls(View<R> view) {
        this.view = view;
    }

    View<R> view() {
        return view;
    }

    Pending<?, Tokenized> tokenize(Plaintext value, TokenizeOptions options) {
        List<Unit> units = List.of(Values.unit(value, options.metadata(), options.expiresIn()));
        String key = options.idempotencyKey();
        Common<Tokenized> common = common(TokenizeOperation.IT, false, false, key);
        Call<List<Outcome<Tokenized>>> call = key == null
                ? batcher().submit(common, units, view, false)
                : batcher().alone(common, units, view, false);
        return pending(call).then(Calls::only);
    }

    /** The key may be null. What can be seen to be no value is not sent, and fails by itself. */
    Pending<?, List<TokenizedItem>> tokenizeBatch(List<TokenizeItem> items, String key) {
        List<Unit> units = new ArrayList<>(items.size());
        Map<Integer, LunaSecException> refused = new TreeMap<>();
        for (int at = 0; at < items.size(); at++) {
            TokenizeItem item = items.get(at);
            try {
                units.add(Values.unit(item.value(), item.metadata(), item.expiresIn()));
            } catch (LunaSecException.BadRequest error) {
                refused.put(at, error);
            }
        }
        Common<Tokenized> common = common(TokenizeOperation.IT, false, true, key);
        if (units.isEmpty() && !refused.isEmpty()) {
            throw refused.get(0).here();
        }
        return pending(batcher().alone(common, units, view, false)).then(outcomes -> {
            List<Outcome<Tokenized>> all = new ArrayList<>(outcomes);
            refused.forEach((at, error) -> all.add(at, Outcome.failed(error)));
            return items(all, List.of(), TokenizedItem.class);
        });
    }

    Pending<?, R> detokenize(Token token) {
        OnUnavailable<R> policy = view.policy();
        Call<List<Outcome<Value>>> call = batcher()
                .submit(common(DetokenizeOperation.IT, true, false, null), List.of(Unit.of(token)), view, true);
        return new Pending<>(view.engine(), call, (outcomes, error) -> {
            Outcome<Value> outcome = error == null ? outcomes.get(0) : null;
            if (outcome != null && outcome.error() == null) {
                return policy.given(outcome.value());
            }
            RuntimeException why = outcome == null ? error : outcome.error().here();
            if (why instanceof LunaSecException known) {
                return policy.instead(token, known);
            }
            throw why;
        });
    }

    Pending<?, List<RevealedItem>> detokenizeBatch(List<Token> tokens) {
        OnUnavailable<R> policy = view.policy();
        List<Unit> units = tokens.stream().map(Unit::of).toList();
        Call<List<Outcome<Value>>> call =
                batcher().alone(common(DetokenizeOperation.IT, true, true, null), units, view, true);
        return new Pending<>(view.engine(), call, (outcomes, error) -> {
            if (error != null && !policy.standsInFor(error)) {
                throw error;
            }
            List<RevealedItem> items = new ArrayList<>(tokens.size());
            for (int at = 0; at < tokens.size(); at++) {
                Outcome<Value> outcome = error == null ? outcomes.get(at) : Outcome.failed((LunaSecException) error);
                items.add(revealedOrFailed(tokens.get(at), outcome));
            }
            return List.copyOf(items);
        });
    }

    /** As many as there are, in requests that are under way at the same time. */
    List<RevealedItem> detokenizeAll(List<Token> tokens) {
        List<Pending<?, List<RevealedItem>>> requests = new ArrayList<>();
        for (int from = 0; from < tokens.size(); from += Limits.BATCH_ITEMS) {
            requests.add(detokenizeBatch(tokens.subList(from, Math.min(tokens.size(), from + Limits.BATCH_ITEMS))));
        }
        List<RevealedItem> items = new ArrayList<>(tokens.size());
        try {
            requests.forEach(request -> items.addAll(request.await()));
        } finally {
            requests.forEach(Pending::leave);
        }
        return List.copyOf(items);
    }

    private RevealedItem revealedOrFailed(Token token, Outcome<Value> outcome) {
        LunaSecException error = outcome.error();
        if (error == null) {
            return outcome.value();
        }
        if (!view.policy().standsInFor(error)) {
            return new Failed(Optional.of(token), error);
        }
        try {
            return view.policy().instead(token, error);
        } catch (LunaSecException known) {
            return new Failed(Optional.of(token), known);
        } catch (Throwable theirs) {
            return new Failed(Optional.of(token), failedFallback(error, theirs));
        }
    }

    /** Whoever reads items finds exceptions of this client only. */
    private static Unavailable failedFallback(LunaSecException error, Throwable theirs) {
        String detail = error.detail() + "; and the fallback threw: see the cause, and mend the fallback";
        Facts facts =
                new Facts(error.code(), detail).retryable(error.retryable()).because(theirs);
        return LunaSecException.of(facts) instanceof Unavailable known ? known : new Unavailable(facts);
    }

    Pending<?, Metadata> getMetadata(Token token) {
        return request(Routes.getMetadata(token), view.said().session());
    }

    Pending<?, MetadataWritten> setMetadata(Token token, String json, OptionalLong ifVersion) {
        return request(Routes.setMetadata(token, json, ifVersion), view.said().session());
    }

    Pending<?, List<DeletedItem>> delete(List<Token> tokens) {
        return list(DeleteOperation.IT, tokens, DeletedItem.class);
    }

    Pending<?, List<GrantedItem>> grant(List<Token> tokens, GrantOptions options) {
        return list(new GrantOperation(view.said().session(), options), tokens, GrantedItem.class);
    }

    Pending<?, List<Verdict>> verify(List<Token> tokens, Action action) {
        return list(new VerifyOperation(view.said().session(), action), tokens, Verdict.class);
    }

    /** Bounded by the process alone: what takes grants back is not refused because of what the session does beside it. */
    Pending<?, Revoked> revoke(List<Token> tokens) {
        return request(Routes.revoke(view.said().session(), tokens), null);
    }

    Pending<?, Revoked> revokeAll() {
        return request(Routes.revokeAll(view.said().session()), null);
    }

    Pending<?, Status> status() {
        return request(Routes.status(), null);
    }

    private <T, I> Pending<?, List<I>> list(ListOperation<T> operation, List<Token> tokens, Class<I> kind) {
        List<Unit> units = tokens.stream().map(Unit::of).toList();
        return pending(batcher().submit(common(operation, false, false, null), units, view, false))
                .then(outcomes -> items(outcomes, tokens, kind));
    }

    private <T> Pending<T, T> request(Route<?, T> route, String session) {
        return pending(view.engine().send(route, view, session));
    }

    private <T> Common<T> common(ListOperation<T> operation, boolean reads, boolean asBatch, String key) {
        if (key != null) {
            Context.value("idempotency key", "", key);
        }
        return new Common<>(operation, view.context(), view.attempts(reads), asBatch, key);
    }

    private <T> Pending<T, T> pending(Call<T> call) {
        return Pending.of(view.engine(), call);
    }

    private Batcher batcher() {
        return view.engine().batcher();
    }

    private static <T> T only(List<Outcome<T>> outcomes) {
        Outcome<T> outcome = outcomes.get(0);
        if (outcome.error() != null) {
            throw outcome.error().here();
        }
        return outcome.value();
    }

    /** The tokens may be none: what the items are about is not known then. */
    private static <T, I> List<I> items(List<Outcome<T>> outcomes, List<Token> tokens, Class<I> kind) {
        List<I> items = new ArrayList<>(outcomes.size());
        for (int at = 0; at < outcomes.size(); at++) {
            Outcome<T> outcome = outcomes.get(at);
            Optional<Token> token = tokens.isEmpty() ? Optional.empty() : Optional.of(tokens.get(at));
            items.add(kind.cast(outcome.error() == null ? outcome.value() : new Failed(token, outcome.error())));
        }
        return List.copyOf(items);
    }
}
