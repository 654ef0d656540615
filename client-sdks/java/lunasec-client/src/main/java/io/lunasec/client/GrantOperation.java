package io.lunasec.client;

import io.lunasec.client.internal.wire.CreateGrantsItem;
import io.lunasec.client.internal.wire.CreateGrantsRequest;
import io.lunasec.client.internal.wire.CreateGrantsResponse;
import io.netty.util.AsciiString;
import java.util.ArrayList;
import java.util.List;

/** What a session may do with tokens from now on. */
record GrantOperation(String session, GrantOptions options) implements ListOperation<Granted> {
    private static final AsciiString PATH = Route.path("CreateGrants");

    @Override
    public String operation() {
        return "grants/create";
    }

    @Override
    public int bytes() {
        return Limits.TOKEN_LIST_BYTES;
    }

    @Override
    public Route<?, List<Outcome<Granted>>> batch(List<Unit> units) {
        CreateGrantsRequest.Builder request = CreateGrantsRequest.newBuilder().setSession(session);
        units.forEach(unit -> request.addTokens(unit.token().expose()));
        if (options.expiresIn() != null) {
            request.setExpiresIn(Values.duration("expiresIn", options.expiresIn()));
        }
        options.actions().stream().sorted().map(VerifyOperation::wire).forEach(request::addActions);
        return new Route<CreateGrantsResponse, List<Outcome<Granted>>>(
                operation(),
                PATH,
                request.build(),
                CreateGrantsResponse.parser(),
                (answer, head) -> items(units, answer),
                false,
                true);
    }

    private static List<Outcome<Granted>> items(List<Unit> units, CreateGrantsResponse answer) {
        Wire.counted(answer.getItemsCount(), units.size());
        List<Outcome<Granted>> outcomes = new ArrayList<>(units.size());
        for (int at = 0; at < units.size(); at++) {
            CreateGrantsItem item = Wire.known(answer.getItems(at));
            Wire.about(item.getToken(), units.get(at));
            outcomes.add(
                    switch (item.getOutcomeCase()) {
                        case ERROR -> Outcome.failed(Wire.error(item.getError()));
                        case GRANTED -> Outcome.of(granted(units.get(at), item.getGranted()));
                        default -> throw Wire.misread("an item is neither a grant nor an error");
                    });
        }
        return outcomes;
    }

    private static Granted granted(Unit unit, io.lunasec.client.internal.wire.Granted wire) {
        return new Granted(
                unit.token(),
                Wire.time(wire.hasExpiresAt(), wire.getExpiresAt(), "expires_at"),
                Wire.durability(wire.getDurability()));
    }

    /** Nothing that prints it shows a session. */
    @Override
    public String toString() {
        return operation();
    }
}
