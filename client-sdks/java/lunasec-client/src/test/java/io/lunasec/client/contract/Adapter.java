package io.lunasec.client.contract;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.datatype.jdk8.Jdk8Module;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecBuilder;
import io.lunasec.client.LunaSecException;
import io.lunasec.client.OnUnavailable;
import io.lunasec.client.RetryOptions;
import io.lunasec.client.Revealed;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/** The adapter of the contract's harness: see tests/contract/README.md for the lines it reads and writes. */
public final class Adapter {
    static final ObjectMapper JSON = new ObjectMapper()
            .registerModule(new Jdk8Module())
            .registerModule(new JavaTimeModule())
            .disable(SerializationFeature.FAIL_ON_EMPTY_BEANS);

    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private final ConcurrentHashMap<Integer, CompletableFuture<?>> calls = new ConcurrentHashMap<>();
    private volatile LunaSec<? extends Revealed> client;

    private Adapter() {}

    public static void main(String[] none) throws IOException {
        Adapter adapter = new Adapter();
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                adapter.answer(JSON.readTree(line));
            }
        }
        System.exit(0);
    }

    private void answer(JsonNode message) {
        int id = message.path("id").asInt();
        if (message.has("open")) {
            open(message.path("open"));
            say(id, answer -> {
                answer.putObject("ok");
                answer.put("printed", client.toString());
            });
        } else if (message.has("abort")) {
            CompletableFuture<?> call = calls.get(message.path("abort").asInt());
            if (call != null) {
                call.cancel(true);
            }
            say(id, answer -> answer.putObject("ok"));
        } else if (client == null
                || !AdapterCalls.ALL.containsKey(message.path("call").asText())) {
            say(id, answer -> answer.put("missing", message.path("call").asText("open")));
        } else {
            call(id, message);
        }
    }

    private void call(int id, JsonNode message) {
        JsonNode options = message.path("options");
        try {
            await(
                    id,
                    AdapterCalls.ALL
                            .get(message.path("call").asText())
                            .apply(viewOf(client, options), message.path("arguments"), options));
        } catch (RuntimeException error) {
            failed(id, error);
        }
    }

    private <T> void await(int id, AdapterCalls.Called<T> called) {
        calls.put(id, called.future());
        called.future().whenComplete((result, error) -> {
            calls.remove(id);
            if (error != null) {
                failed(id, error);
                return;
            }
            say(id, answer -> {
                answer.set("ok", called.wire().apply(result));
                answer.put("printed", printed(result));
            });
        });
    }

    private void failed(int id, Throwable error) {
        say(id, answer -> {
            answer.set("error", errorOf(error));
            answer.put("printed", printed(error));
        });
    }

    private void say(int id, Consumer<ObjectNode> with) {
        ObjectNode answer = JSON.createObjectNode().put("id", id);
        with.accept(answer);
        synchronized (out) {
            out.println(answer);
        }
    }

    private void open(JsonNode message) {
        if (client != null) {
            client.close();
        }
        JsonNode options = message.path("options");
        LunaSecBuilder<? extends Revealed> builder = LunaSec.builder()
                .socket(message.path("socket").asText())
                .onUnavailable(policyOf(options.path("on_unavailable")));
        with(options, "namespace", each -> builder.namespace(each.asText()));
        with(options, "purpose", each -> builder.purpose(each.asText()));
        with(options, "jwt", each -> builder.jwt(each.asText()));
        with(options, "deadline_ms", each -> builder.deadline(millis(each)));
        with(options, "start_deadline_ms", each -> builder.startDeadline(millis(each)));
        with(options, "restart_grace_ms", each -> builder.restartGrace(millis(each)));
        client = builder.retry(retryOf(options)).build();
    }

    private static RetryOptions retryOf(JsonNode options) {
        RetryOptions retry = RetryOptions.defaults();
        retry = options.has("attempts")
                ? retry.attempts(options.path("attempts").asInt())
                : retry;
        retry = options.has("pause_ms") ? retry.pause(millis(options.path("pause_ms"))) : retry;
        retry = options.has("pause_most_ms") ? retry.pauseMost(millis(options.path("pause_most_ms"))) : retry;
        return options.has("retry_budget")
                ? retry.budget(options.path("retry_budget").asInt())
                : retry;
    }

    static void with(JsonNode options, String name, Consumer<JsonNode> then) {
        if (options.has(name)) {
            then.accept(options.path(name));
        }
    }

    static Duration millis(JsonNode node) {
        return Duration.ofMillis(node.asLong());
    }

    private static OnUnavailable<? extends Revealed> policyOf(JsonNode policy) {
        if (policy.has("mask")) {
            return OnUnavailable.mask(policy.path("mask").asText());
        }
        if (policy.has("fallback")) {
            String text = policy.path("fallback").asText();
            return OnUnavailable.fallback((token, error) -> text);
        }
        return policy.asText().equals("mask") ? OnUnavailable.mask() : OnUnavailable.fail();
    }

    private static LunaSec<? extends Revealed> viewOf(LunaSec<? extends Revealed> client, JsonNode options) {
        LunaSec<? extends Revealed> view = client;
        view = options.has("namespace")
                ? view.withNamespace(options.path("namespace").asText())
                : view;
        view = options.has("purpose") ? view.withPurpose(options.path("purpose").asText()) : view;
        view = options.has("deadline_ms") ? view.withDeadline(millis(options.path("deadline_ms"))) : view;
        return options.has("on_unavailable") ? view.onUnavailable(policyOf(options.path("on_unavailable"))) : view;
    }

    private static ObjectNode errorOf(Throwable error) {
        ObjectNode wire = JSON.createObjectNode();
        if (error instanceof CancellationException) {
            return wire.put("class", "Aborted");
        }
        if (!(error instanceof LunaSecException known)) {
            return wire.put("class", error.getClass().getSimpleName()).put("detail", String.valueOf(error));
        }
        String name = known.getClass().getSimpleName();
        wire.put("class", name.equals("LunaSecException") ? "LunaSecError" : name)
                .put("code", known.code())
                .put("retryable", known.retryable())
                .put("detail", known.detail());
        known.status().ifPresent(status -> wire.put("status", status));
        known.retryAfter().ifPresent(after -> wire.put("retry_after_ms", after.toMillis()));
        return wire;
    }

    /** How something prints wherever something prints by itself. */
    private static String printed(Object value) {
        if (value instanceof Throwable error) {
            StringWriter trace = new StringWriter();
            error.printStackTrace(new PrintWriter(trace));
            return error + "\n" + trace;
        }
        try {
            return value + "\n" + JSON.writeValueAsString(value);
        } catch (IOException error) {
            return value + "\n" + error;
        }
    }
}
