package io.lunasec.client;

import io.lunasec.client.LunaSecException.PayloadTooLarge;
import io.lunasec.client.internal.wire.BatchDetokenizeRequest;
import io.lunasec.client.internal.wire.BatchDetokenizeResponse;
import io.lunasec.client.internal.wire.DetokenizeItem;
import io.lunasec.client.internal.wire.DetokenizeItem.OutcomeCase;
import io.lunasec.client.internal.wire.DetokenizeRequest;
import io.lunasec.client.internal.wire.DetokenizeResponse;
import io.netty.util.AsciiString;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Tokens in, values out. */
record DetokenizeOperation() implements ListOperation<Value> {
    static final DetokenizeOperation IT = new DetokenizeOperation();
    private static final String NAME = "detokenize";
    private static final AsciiString ALONE = Route.path("Detokenize");
    private static final AsciiString BATCH = Route.path("BatchDetokenize");

    @Override
    public String operation() {
        return NAME;
    }

    @Override
    public int bytes() {
        return Limits.TOKEN_LIST_BYTES;
    }

    @Override
    public boolean foundNoRoom(Outcome<Value> outcome) {
        return outcome.error() instanceof PayloadTooLarge;
    }

    @Override
    public Route<?, List<Outcome<Value>>> alone(Unit unit) {
        DetokenizeRequest request =
                DetokenizeRequest.newBuilder().setToken(unit.token().expose()).build();
        return new Route<DetokenizeResponse, List<Outcome<Value>>>(
                NAME,
                ALONE,
                request,
                DetokenizeResponse.parser(),
                (answer, head) -> List.of(Outcome.of(read(unit, answer, head.staleness()))),
                false,
                true);
    }

    @Override
    public Route<?, List<Outcome<Value>>> batch(List<Unit> units) {
        BatchDetokenizeRequest.Builder request = BatchDetokenizeRequest.newBuilder();
        units.forEach(unit -> request.addTokens(unit.token().expose()));
        return new Route<BatchDetokenizeResponse, List<Outcome<Value>>>(
                NAME,
                BATCH,
                request.build(),
                BatchDetokenizeResponse.parser(),
                (answer, head) -> items(units, answer, head.staleness()),
                false,
                true);
    }

    private static List<Outcome<Value>> items(
            List<Unit> units, BatchDetokenizeResponse answer, Optional<Staleness> ofHead) {
        Wire.counted(answer.getItemsCount(), units.size());
        List<Outcome<Value>> outcomes = new ArrayList<>(units.size());
        for (int at = 0; at < units.size(); at++) {
            Unit unit = units.get(at);
            DetokenizeItem item = Wire.known(answer.getItems(at));
            Wire.about(item.getToken(), unit);
            if (item.getOutcomeCase() == OutcomeCase.ERROR) {
                outcomes.add(Outcome.failed(Wire.error(item.getError())));
            } else if (item.getOutcomeCase() == OutcomeCase.DETOKENIZED) {
                outcomes.add(Outcome.of(read(unit, Wire.known(item.getDetokenized()), ofHead)));
            } else {
                throw Wire.misread("an item is neither a value nor an error");
            }
        }
        return outcomes;
    }

    private static Value read(Unit unit, DetokenizeResponse answer, Optional<Staleness> ofHead) {
        Plaintext value = Wire.plaintext(answer.getValue(), answer.getEncoding());
        return new Value(unit.token(), value, Wire.staleness(answer.hasStaleness(), answer.getStaleness(), ofHead));
    }
}
