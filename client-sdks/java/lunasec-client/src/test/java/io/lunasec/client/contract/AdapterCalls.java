package io.lunasec.client.contract;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.lunasec.client.Action;
import io.lunasec.client.AsyncSession;
import io.lunasec.client.AsyncTokenizer;
import io.lunasec.client.Deleted;
import io.lunasec.client.Durability;
import io.lunasec.client.Failed;
import io.lunasec.client.Fallback;
import io.lunasec.client.GrantOptions;
import io.lunasec.client.Granted;
import io.lunasec.client.Invalid;
import io.lunasec.client.LunaSec;
import io.lunasec.client.Masked;
import io.lunasec.client.Plaintext;
import io.lunasec.client.Revealed;
import io.lunasec.client.Staleness;
import io.lunasec.client.Status;
import io.lunasec.client.Token;
import io.lunasec.client.TokenizeItem;
import io.lunasec.client.TokenizeOptions;
import io.lunasec.client.Tokenized;
import io.lunasec.client.Valid;
import io.lunasec.client.Value;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import java.util.stream.StreamSupport;

/** Each operation of the contract, from the wire's words to this SDK's and back. */
final class AdapterCalls {
    /** A call under way, and how what it comes to is said. */
    record Called<T>(CompletableFuture<T> future, Function<T, JsonNode> wire) {}

    interface Operation {
        Called<?> apply(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options);
    }

    static final Map<String, Operation> ALL = Map.ofEntries(
            Map.entry("tokenize", AdapterCalls::tokenize),
            Map.entry("tokenize_batch", AdapterCalls::tokenizeBatch),
            Map.entry("detokenize", AdapterCalls::detokenize),
            Map.entry("detokenize_batch", AdapterCalls::detokenizeBatch),
            Map.entry("metadata_get", AdapterCalls::metadataGet),
            Map.entry("metadata_set", AdapterCalls::metadataSet),
            Map.entry("grants_create", AdapterCalls::grantsCreate),
            Map.entry("grants_verify", AdapterCalls::grantsVerify),
            Map.entry("grants_revoke", AdapterCalls::grantsRevoke),
            Map.entry("delete", AdapterCalls::delete),
            Map.entry(
                    "status",
                    (client, given, options) -> new Called<>(client.async().status(), AdapterCalls::status)));

    private AdapterCalls() {}

    private static AsyncTokenizer<? extends Revealed> speaker(LunaSec<? extends Revealed> client, JsonNode options) {
        if (!options.has("session")) {
            return client.async();
        }
        String session = options.path("session").asText();
        return options.has("jwt")
                ? client.forSession(session, options.path("jwt").asText()).async()
                : client.forSession(session).async();
    }

    private static AsyncSession<? extends Revealed> session(LunaSec<? extends Revealed> client, JsonNode given) {
        return client.forSession(given.path("session").asText()).async();
    }

    private static Called<?> tokenize(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        TokenizeItem item = item(given);
        TokenizeOptions with = new TokenizeOptions(
                item.metadata(),
                item.expiresIn(),
                options.path("idempotency_key").asText(null));
        return new Called<>(speaker(client, options).tokenize(item.value(), with), AdapterCalls::result);
    }

    private static Called<?> tokenizeBatch(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        List<TokenizeItem> items = each(given.path("items"), AdapterCalls::item);
        AsyncTokenizer<? extends Revealed> speaker = speaker(client, options);
        return new Called<>(
                options.has("idempotency_key")
                        ? speaker.tokenizeBatch(
                                items, options.path("idempotency_key").asText())
                        : speaker.tokenizeBatch(items),
                AdapterCalls::items);
    }

    private static Called<?> detokenize(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        return new Called<Revealed>(revealing(speaker(client, options), token(given.path("token"))), result -> {
            ObjectNode wire = result(result);
            wire.remove("token");
            return wire;
        });
    }

    @SuppressWarnings("unchecked")
    private static CompletableFuture<Revealed> revealing(AsyncTokenizer<? extends Revealed> speaker, Token token) {
        return (CompletableFuture<Revealed>) speaker.detokenize(token);
    }

    private static Called<?> detokenizeBatch(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        return new Called<>(speaker(client, options).detokenizeBatch(tokens(given)), AdapterCalls::items);
    }

    private static Called<?> metadataGet(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        return new Called<>(speaker(client, options).getMetadata(token(given.path("token"))), result -> {
            ObjectNode wire = Adapter.JSON.createObjectNode();
            wire.set("metadata", parsed(result.json()));
            wire.put("version", result.version()).put("created_at", time(result.createdAt()));
            result.expiresAt().ifPresent(at -> wire.put("expires_at", time(at)));
            return aged(wire, result.staleness());
        });
    }

    private static Called<?> metadataSet(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        Token token = token(given.path("token"));
        String json = given.path("metadata").toString();
        AsyncTokenizer<? extends Revealed> speaker = speaker(client, options);
        return new Called<>(
                given.has("if_version")
                        ? speaker.setMetadata(
                                token, json, given.path("if_version").asLong())
                        : speaker.setMetadata(token, json),
                result -> durable(Adapter.JSON.createObjectNode(), result.durability())
                        .put("version", result.version()));
    }

    private static Called<?> grantsCreate(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        GrantOptions with = GrantOptions.defaults();
        if (given.has("expires_in")) {
            with = with.expiresIn(given.path("expires_in").asText());
        }
        with = with.actions(each(given.path("actions"), AdapterCalls::action).toArray(Action[]::new));
        return new Called<>(session(client, given).grant(tokens(given), with), AdapterCalls::items);
    }

    private static Called<?> grantsVerify(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        var session = session(client, given);
        return new Called<>(
                given.has("action")
                        ? session.verify(tokens(given), action(given.path("action")))
                        : session.verify(tokens(given)),
                AdapterCalls::items);
    }

    private static Called<?> grantsRevoke(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        var session = session(client, given);
        return new Called<>(given.has("tokens") ? session.revoke(tokens(given)) : session.revokeAll(), result -> {
            ObjectNode wire = durable(Adapter.JSON.createObjectNode(), result.durability());
            result.revoked().ifPresent(count -> wire.put("revoked", count));
            return wire;
        });
    }

    private static Called<?> delete(LunaSec<? extends Revealed> client, JsonNode given, JsonNode options) {
        return new Called<>(speaker(client, options).delete(tokens(given)), AdapterCalls::items);
    }

    private static ObjectNode items(List<?> results) {
        ObjectNode wire = Adapter.JSON.createObjectNode();
        ArrayNode items = wire.putArray("items");
        results.forEach(each -> items.add(result(each)));
        return wire;
    }

    /** What an item came to, in the contract's words. */
    private static ObjectNode result(Object result) {
        ObjectNode wire = Adapter.JSON.createObjectNode();
        if (result instanceof Tokenized tokenized) {
            return tokenized(tokenized);
        } else if (result instanceof Value value) {
            return revealed(wire.put("token", value.token().expose()), value);
        } else if (result instanceof Masked masked) {
            return wire.put("token", masked.token().expose())
                    .put("masked", masked.text())
                    .put("reason", masked.reason());
        } else if (result instanceof Fallback fallback) {
            return wire.put("token", fallback.token().expose())
                    .put("fallback", (String) fallback.value())
                    .put("reason", fallback.reason());
        } else if (result instanceof Granted granted) {
            wire.put("token", granted.token().expose()).put("expires_at", time(granted.expiresAt()));
            return durable(wire, granted.durability());
        } else if (result instanceof Valid valid) {
            wire.put("token", valid.token().expose()).put("valid", true).put("expires_at", time(valid.expiresAt()));
            return aged(wire, valid.staleness());
        } else if (result instanceof Invalid invalid) {
            wire.put("token", invalid.token().expose()).put("valid", false).put("reason", invalid.reason());
            return aged(wire, invalid.staleness());
        } else if (result instanceof Deleted deleted) {
            return durable(wire.put("token", deleted.token().expose()).put("deleted", true), deleted.durability());
        } else if (result instanceof Failed failed) {
            return failed(wire, failed);
        }
        throw new IllegalArgumentException("no result: " + result.getClass());
    }

    private static ObjectNode failed(ObjectNode wire, Failed failed) {
        failed.token().ifPresent(token -> wire.put("token", token.expose()));
        wire.putObject("error")
                .put("code", failed.error().code())
                .put("detail", failed.error().detail())
                .put("retryable", failed.error().retryable());
        return wire;
    }

    private static ObjectNode tokenized(Tokenized result) {
        ObjectNode wire = Adapter.JSON.createObjectNode();
        return durable(wire.put("token", result.token().expose()), result.durability());
    }

    private static ObjectNode revealed(ObjectNode wire, Value result) {
        Plaintext value = result.value();
        wire.put("value", value.isText() ? value.reveal() : Base64.getEncoder().encodeToString(value.revealBytes()));
        return aged(wire.put("encoding", value.isText() ? "utf8" : "base64"), result.staleness());
    }

    private static ObjectNode durable(ObjectNode wire, Durability durability) {
        return wire.put("durability", durability.name().toLowerCase(Locale.ROOT));
    }

    private static ObjectNode aged(ObjectNode wire, Optional<Staleness> staleness) {
        staleness.ifPresent(stale -> {
            wire.put("degraded", stale.degraded());
            stale.age().ifPresent(age -> wire.put("age", age.toSeconds()));
        });
        return wire;
    }

    private static ObjectNode status(Status status) {
        ObjectNode wire = Adapter.JSON.createObjectNode();
        wire.put("version", status.version())
                .put("uptime_seconds", status.uptime().toSeconds());
        ObjectNode dependencies = wire.putObject("dependencies");
        status.dependencies().forEach((name, each) -> {
            ObjectNode dependency = dependencies.putObject(name);
            dependency
                    .put("state", each.state().name().toLowerCase(Locale.ROOT))
                    .put("since", each.since());
            each.reason().ifPresent(reason -> dependency.put("reason", reason));
        });
        Status.Caches caches = status.caches();
        ObjectNode held = wire.putObject("caches");
        held.put("data_keys", caches.dataKeys()).put("idempotency_keys", caches.idempotencyKeys());
        cache(held.putObject("values"), caches.values());
        cache(held.putObject("grants"), caches.grants());
        wire.putObject("journal")
                .put("pending", status.journal().pending())
                .put("oldest_seconds", status.journal().oldest().toSeconds());
        return wire;
    }

    private static void cache(ObjectNode wire, Status.Cache cache) {
        wire.put("entries", cache.entries()).put("bytes", cache.bytes());
    }

    private static TokenizeItem item(JsonNode given) {
        String text = given.path("value").asText();
        boolean isBytes = given.path("encoding").asText().equals("base64");
        TokenizeItem item = TokenizeItem.of(isBytes ? Plaintext.ofBase64(text) : Plaintext.of(text));
        item = given.has("metadata") ? item.metadata(given.path("metadata").toString()) : item;
        return given.has("expires_in") ? item.expiresIn(given.path("expires_in").asText()) : item;
    }

    private static Action action(JsonNode given) {
        return Action.valueOf(given.asText().toUpperCase(Locale.ROOT));
    }

    private static Token token(JsonNode given) {
        return Token.of(given.asText());
    }

    private static List<Token> tokens(JsonNode given) {
        return each(given.path("tokens"), AdapterCalls::token);
    }

    private static <T> List<T> each(JsonNode array, Function<JsonNode, T> of) {
        List<T> all = new ArrayList<>();
        StreamSupport.stream(array.spliterator(), false).map(of).forEach(all::add);
        return all;
    }

    private static String time(Instant at) {
        return at.toString();
    }

    private static JsonNode parsed(String json) {
        try {
            return Adapter.JSON.readTree(json);
        } catch (JsonProcessingException none) {
            throw new IllegalArgumentException("metadata is no JSON");
        }
    }
}
