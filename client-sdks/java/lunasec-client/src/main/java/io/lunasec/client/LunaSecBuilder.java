package io.lunasec.client;

import io.netty.channel.Channel;
import io.netty.channel.ChannelFactory;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Executor;

/** How a client is made: {@link LunaSec#builder()}. All of it has a default. What cannot be is refused where it is said. */
public final class LunaSecBuilder<R extends Revealed> {
    private String socket = socketOfEnvironment();
    private View.Said said = new View.Said(null, null, null, null);
    private final OnUnavailable<R> policy;
    private Duration deadline;
    private RetryOptions retry = RetryOptions.defaults();
    private Duration startDeadline = Limits.START_DEADLINE;
    private Duration restartGrace = Limits.RESTART_GRACE;
    private int connections = Limits.CONNECTIONS;
    private int pendingCalls = Limits.PENDING_CALLS;
    private int batchItems = Limits.BATCH_ITEMS;
    private Executor executor;
    private Telemetry telemetry;
    private boolean telemetrySaid;
    private ChannelFactory<? extends Channel> channels;

    LunaSecBuilder(OnUnavailable<R> policy) {
        this.policy = policy;
    }

    private static String socketOfEnvironment() {
        String said = System.getenv("LUNASEC_SOCKET");
        // A variable that is there and empty says nothing.
        return said == null || said.isEmpty() ? Limits.DEFAULT_SOCKET : said;
    }

    /** The socket: {@code LUNASEC_SOCKET}, else {@code /run/lunasec/lunasec.sock}. */
    public LunaSecBuilder<R> socket(String path) {
        Transport.addressOf(path);
        socket = path;
        return this;
    }

    /** Instead of the caller's default. */
    public LunaSecBuilder<R> namespace(String name) {
        said = new View.Said(checked("namespace", name), said.session(), said.jwt(), said.purpose());
        return this;
    }

    /** What values are for, for the audit record; the policy may ask for it. */
    public LunaSecBuilder<R> purpose(String text) {
        said = new View.Said(said.namespace(), said.session(), said.jwt(), checked("purpose", text));
        return this;
    }

    /** Speaks for whom this JWT proves; see also {@link LunaSec#forSession(String, String)}. */
    public LunaSecBuilder<R> jwt(String text) {
        said = new View.Said(said.namespace(), said.session(), checked("JWT", text), said.purpose());
        return this;
    }

    private static String checked(String what, String text) {
        Context.value(what, "", Objects.requireNonNull(text, what));
        return text;
    }

    /** What reads do when nobody can answer: {@link OnUnavailable#fail()} unless given. */
    public <C extends Revealed> LunaSecBuilder<C> onUnavailable(OnUnavailable<C> other) {
        LunaSecBuilder<C> made = new LunaSecBuilder<>(Objects.requireNonNull(other));
        made.socket = socket;
        made.said = said;
        made.deadline = deadline;
        made.retry = retry;
        made.startDeadline = startDeadline;
        made.restartGrace = restartGrace;
        made.connections = connections;
        made.pendingCalls = pendingCalls;
        made.batchItems = batchItems;
        made.executor = executor;
        made.telemetry = telemetry;
        made.telemetrySaid = telemetrySaid;
        made.channels = channels;
        return made;
    }

    /** For each whole call, its retries included: 15 s, and 2 s where a policy stands in for an answer. */
    public LunaSecBuilder<R> deadline(Duration time) {
        deadline = Times.checked("deadline", time);
        return this;
    }

    /** How calls are tried again. */
    public LunaSecBuilder<R> retry(RetryOptions options) {
        retry = Objects.requireNonNull(options);
        return this;
    }

    /** How long the first calls wait for the socket to be there, within their deadlines: 10 s. */
    public LunaSecBuilder<R> startDeadline(Duration time) {
        startDeadline = Times.checked("startDeadline", time);
        return this;
    }

    /** How long calls wait for the socket to come back, within their deadlines: 2 s. */
    public LunaSecBuilder<R> restartGrace(Duration time) {
        restartGrace = Times.checked("restartGrace", time);
        return this;
    }

    /** Connections to the socket, at most: 4. One is used until 64 requests are under way on it. */
    public LunaSecBuilder<R> connections(int most) {
        connections = atLeastOne("connections", most);
        return this;
    }

    /** Calls under way in this process; more are refused as {@code overloaded}: 10,000. */
    public LunaSecBuilder<R> pendingCalls(int most) {
        pendingCalls = atLeastOne("pendingCalls", most);
        return this;
    }

    /** Items of the requests that calls share: 1,000, which is also the most. 1: each call is a request. */
    public LunaSecBuilder<R> batchItems(int most) {
        batchItems = atLeastOne("batchItems", most);
        return this;
    }

    private static int atLeastOne(String what, int count) {
        if (count < 1) {
            throw LunaSecException.invalid(what + " is a count: 1 or more");
        }
        return count;
    }

    /** Where futures are completed and fallbacks of futures run: as {@link java.util.concurrent.CompletableFuture} has it. */
    public LunaSecBuilder<R> executor(Executor where) {
        executor = Objects.requireNonNull(where);
        return this;
    }

    /** Where requests are told of: OpenTelemetry, where the application has it, unless given. Null: nowhere. */
    public LunaSecBuilder<R> telemetry(Telemetry where) {
        telemetry = where;
        telemetrySaid = true;
        return this;
    }

    /** Connections of another kind, for tests. */
    LunaSecBuilder<R> channels(ChannelFactory<? extends Channel> factory) {
        channels = factory;
        return this;
    }

    /** Makes it. It connects with its first call. */
    public LunaSec<R> build() {
        Engine engine = new Engine(new Engine.Options(
                socket,
                connections,
                pendingCalls,
                batchItems,
                retry,
                startDeadline,
                restartGrace,
                telemetrySaid ? telemetry : OpenTelemetryIfThere.find(),
                executor,
                channels));
        return new LunaSec<>(View.of(engine, said, policy, deadline, retry.attempts()), true);
    }
}
