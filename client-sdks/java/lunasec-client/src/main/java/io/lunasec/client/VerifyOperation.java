package io.lunasec.client;

import io.lunasec.client.internal.wire.Refusal;
import io.lunasec.client.internal.wire.VerifyGrantsItem;
import io.lunasec.client.internal.wire.VerifyGrantsRequest;
import io.lunasec.client.internal.wire.VerifyGrantsResponse;
import io.netty.util.AsciiString;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** What a session may do with tokens. What cannot be read is no yes. The action may be null. */
record VerifyOperation(String session, Action action) implements ListOperation<Verdict> {
    private static final AsciiString PATH = Route.path("VerifyGrants");

    @Override
    public String operation() {
        return "grants/verify";
    }

    @Override
    public int bytes() {
        return Limits.TOKEN_LIST_BYTES;
    }

    @Override
    public Route<?, List<Outcome<Verdict>>> batch(List<Unit> units) {
        VerifyGrantsRequest.Builder request = VerifyGrantsRequest.newBuilder().setSession(session);
        units.forEach(unit -> request.addTokens(unit.token().expose()));
        if (action != null) {
            request.setAction(wire(action));
        }
        return new Route<VerifyGrantsResponse, List<Outcome<Verdict>>>(
                operation(),
                PATH,
                request.build(),
                VerifyGrantsResponse.parser(),
                (answer, head) -> items(units, answer, head.staleness()),
                false,
                true);
    }

    private static List<Outcome<Verdict>> items(
            List<Unit> units, VerifyGrantsResponse answer, Optional<Staleness> ofHead) {
        Wire.counted(answer.getItemsCount(), units.size());
        List<Outcome<Verdict>> outcomes = new ArrayList<>(units.size());
        for (int at = 0; at < units.size(); at++) {
            VerifyGrantsItem item = Wire.known(answer.getItems(at));
            Wire.about(item.getToken(), units.get(at));
            Optional<Staleness> staleness = Wire.staleness(item.hasStaleness(), item.getStaleness(), ofHead);
            outcomes.add(read(units.get(at).token(), item, staleness));
        }
        return outcomes;
    }

    private static Outcome<Verdict> read(Token token, VerifyGrantsItem item, Optional<Staleness> staleness) {
        return switch (item.getOutcomeCase()) {
            case ERROR -> Outcome.failed(Wire.error(item.getError()));
            case VALID_UNTIL ->
                Outcome.of(new Valid(token, Wire.time(true, item.getValidUntil(), "valid_until"), staleness));
            case REFUSAL -> Outcome.of(new Invalid(token, reason(item.getRefusal()), staleness));
            default -> throw Wire.misread("an item is neither a yes, a no nor an error");
        };
    }

    private static String reason(Refusal refusal) {
        return switch (refusal) {
            case REFUSAL_DENIED -> "denied";
            case REFUSAL_EXPIRED -> "expired";
            case UNRECOGNIZED -> "refused";
            case REFUSAL_UNSPECIFIED -> throw Wire.misread("a refusal says nothing");
        };
    }

    static io.lunasec.client.internal.wire.Action wire(Action action) {
        return switch (action) {
            case DETOKENIZE -> io.lunasec.client.internal.wire.Action.ACTION_DETOKENIZE;
            case METADATA -> io.lunasec.client.internal.wire.Action.ACTION_METADATA;
            case UPDATE -> io.lunasec.client.internal.wire.Action.ACTION_UPDATE;
            case DELETE -> io.lunasec.client.internal.wire.Action.ACTION_DELETE;
        };
    }

    /** Nothing that prints it shows a session. */
    @Override
    public String toString() {
        return operation();
    }
}
