package io.lunasec.client;

import io.lunasec.client.internal.wire.Dependency;
import io.lunasec.client.internal.wire.GetMetadataRequest;
import io.lunasec.client.internal.wire.GetMetadataResponse;
import io.lunasec.client.internal.wire.GetStatusRequest;
import io.lunasec.client.internal.wire.GetStatusResponse;
import io.lunasec.client.internal.wire.RevokeGrantsRequest;
import io.lunasec.client.internal.wire.RevokeGrantsResponse;
import io.lunasec.client.internal.wire.SetMetadataRequest;
import io.lunasec.client.internal.wire.SetMetadataResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/** Operations that are a request each. */
final class Routes {
    private Routes() {}

    static Route<GetMetadataResponse, Metadata> getMetadata(Token token) {
        return new Route<>(
                "metadata/get",
                Route.path("GetMetadata"),
                GetMetadataRequest.newBuilder().setToken(token.expose()).build(),
                GetMetadataResponse.parser(),
                Routes::metadata,
                false,
                true);
    }

    private static Metadata metadata(GetMetadataResponse answer, Head head) {
        String json = answer.getMetadata().strip();
        if (!json.startsWith("{") || !json.endsWith("}")) {
            throw Wire.misread("metadata is no object");
        }
        Optional<Instant> expires = answer.hasExpiresAt()
                ? Optional.of(Wire.time(true, answer.getExpiresAt(), "expires_at"))
                : Optional.empty();
        return new Metadata(
                answer.getMetadata(),
                answer.getVersion(),
                Wire.time(answer.hasCreatedAt(), answer.getCreatedAt(), "created_at"),
                expires,
                Wire.staleness(answer.hasStaleness(), answer.getStaleness(), head.staleness()));
    }

    static Route<SetMetadataResponse, MetadataWritten> setMetadata(Token token, String json, OptionalLong ifVersion) {
        SetMetadataRequest.Builder request =
                SetMetadataRequest.newBuilder().setToken(token.expose()).setMetadata(Values.json(json));
        ifVersion.ifPresent(request::setIfVersion);
        return new Route<>(
                "metadata/set",
                Route.path("SetMetadata"),
                request.build(),
                SetMetadataResponse.parser(),
                (answer, head) -> new MetadataWritten(Wire.durability(answer.getDurability()), answer.getVersion()),
                false,
                // A second attempt would meet the version that the first one wrote.
                ifVersion.isEmpty());
    }

    /** An empty list is sent as one: it takes back nothing, and is refused. */
    static Route<RevokeGrantsResponse, Revoked> revoke(String session, List<Token> tokens) {
        RevokeGrantsRequest.Builder request = RevokeGrantsRequest.newBuilder().setSession(session);
        tokens.forEach(token -> request.addTokens(token.expose()));
        return revoke(request.build());
    }

    static Route<RevokeGrantsResponse, Revoked> revokeAll(String session) {
        return revoke(RevokeGrantsRequest.newBuilder()
                .setSession(session)
                .setAll(true)
                .build());
    }

    private static Route<RevokeGrantsResponse, Revoked> revoke(RevokeGrantsRequest request) {
        return new Route<>(
                "grants/revoke",
                Route.path("RevokeGrants"),
                request,
                RevokeGrantsResponse.parser(),
                (answer, head) -> new Revoked(
                        answer.hasRevoked() ? OptionalInt.of(answer.getRevoked()) : OptionalInt.empty(),
                        Wire.durability(answer.getDurability())),
                false,
                true);
    }

    static Route<GetStatusResponse, Status> status() {
        return new Route<>(
                "status",
                Route.path("GetStatus"),
                GetStatusRequest.getDefaultInstance(),
                GetStatusResponse.parser(),
                (answer, head) -> status(answer),
                false,
                true);
    }

    private static Status status(GetStatusResponse answer) {
        if (answer.getVersion().isEmpty()) {
            throw Wire.misread("a status says no version");
        }
        Map<String, Status.Dependency> dependencies = new LinkedHashMap<>();
        if (answer.hasStorage()) {
            dependencies.put("storage", dependency(answer.getStorage()));
        }
        if (answer.hasKeys()) {
            dependencies.put("keys", dependency(answer.getKeys()));
        }
        if (answer.hasState()) {
            dependencies.put("state", dependency(answer.getState()));
        }
        if (answer.hasAudit()) {
            dependencies.put("audit", dependency(answer.getAudit()));
        }
        return new Status(
                answer.getVersion(),
                Duration.ofSeconds(answer.getUptimeSeconds()),
                java.util.Collections.unmodifiableMap(dependencies),
                caches(answer.getCaches()),
                new Status.Journal(
                        answer.getJournal().getPending(),
                        Duration.ofSeconds(answer.getJournal().getOldestSeconds())));
    }

    private static Status.Dependency dependency(Dependency wire) {
        Status.State state =
                switch (wire.getState()) {
                    case STATE_UP -> Status.State.UP;
                    case STATE_DEGRADED -> Status.State.DEGRADED;
                    case STATE_DOWN -> Status.State.DOWN;
                    default -> Status.State.UNKNOWN;
                };
        Optional<String> reason = wire.hasReason() ? Optional.of(wire.getReason()) : Optional.empty();
        return new Status.Dependency(state, wire.getSince(), reason);
    }

    private static Status.Caches caches(io.lunasec.client.internal.wire.Caches wire) {
        return new Status.Caches(
                wire.getDataKeys(), wire.getIdempotencyKeys(), cache(wire.getValues()), cache(wire.getGrants()));
    }

    private static Status.Cache cache(io.lunasec.client.internal.wire.Cache wire) {
        return new Status.Cache(wire.getEntries(), wire.getBytes());
    }
}
