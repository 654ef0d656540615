package io.lunasec.client;

import io.lunasec.client.internal.wire.DeleteItem;
import io.lunasec.client.internal.wire.DeleteRequest;
import io.lunasec.client.internal.wire.DeleteResponse;
import io.netty.util.AsciiString;
import java.util.ArrayList;
import java.util.List;

/** Tokens that have no value any more. */
record DeleteOperation() implements ListOperation<Deleted> {
    static final DeleteOperation IT = new DeleteOperation();
    private static final AsciiString PATH = Route.path("Delete");

    @Override
    public String operation() {
        return "delete";
    }

    @Override
    public int bytes() {
        return Limits.TOKEN_LIST_BYTES;
    }

    @Override
    public Route<?, List<Outcome<Deleted>>> batch(List<Unit> units) {
        DeleteRequest.Builder request = DeleteRequest.newBuilder();
        units.forEach(unit -> request.addTokens(unit.token().expose()));
        return new Route<DeleteResponse, List<Outcome<Deleted>>>(
                operation(),
                PATH,
                request.build(),
                DeleteResponse.parser(),
                (answer, head) -> items(units, answer),
                false,
                true);
    }

    private static List<Outcome<Deleted>> items(List<Unit> units, DeleteResponse answer) {
        Wire.counted(answer.getItemsCount(), units.size());
        List<Outcome<Deleted>> outcomes = new ArrayList<>(units.size());
        for (int at = 0; at < units.size(); at++) {
            DeleteItem item = Wire.known(answer.getItems(at));
            Unit unit = units.get(at);
            Wire.about(item.getToken(), unit);
            outcomes.add(
                    switch (item.getOutcomeCase()) {
                        case ERROR -> Outcome.failed(Wire.error(item.getError()));
                        case DELETED ->
                            Outcome.of(new Deleted(
                                    unit.token(),
                                    Wire.durability(item.getDeleted().getDurability())));
                        default -> throw Wire.misread("an item is neither deleted nor an error");
                    });
        }
        return outcomes;
    }
}
