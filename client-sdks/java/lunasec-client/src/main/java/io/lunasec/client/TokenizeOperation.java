package io.lunasec.client;

import io.lunasec.client.internal.wire.BatchTokenizeRequest;
import io.lunasec.client.internal.wire.BatchTokenizeResponse;
import io.lunasec.client.internal.wire.TokenizeItem.OutcomeCase;
import io.lunasec.client.internal.wire.TokenizeResponse;
import io.netty.util.AsciiString;
import java.util.ArrayList;
import java.util.List;

/** Values in, tokens out. */
record TokenizeOperation() implements ListOperation<Tokenized> {
    static final TokenizeOperation IT = new TokenizeOperation();
    private static final String NAME = "tokenize";
    private static final AsciiString ALONE = Route.path("Tokenize");
    private static final AsciiString BATCH = Route.path("BatchTokenize");

    @Override
    public String operation() {
        return NAME;
    }

    @Override
    public int bytes() {
        return Limits.BATCH_BYTES;
    }

    @Override
    public boolean keyed() {
        return true;
    }

    @Override
    public Route<?, List<Outcome<Tokenized>>> alone(Unit unit) {
        return new Route<TokenizeResponse, List<Outcome<Tokenized>>>(
                NAME,
                ALONE,
                unit.value(),
                TokenizeResponse.parser(),
                (answer, head) -> List.of(Outcome.of(read(answer))),
                true,
                true);
    }

    @Override
    public Route<?, List<Outcome<Tokenized>>> batch(List<Unit> units) {
        BatchTokenizeRequest.Builder request = BatchTokenizeRequest.newBuilder();
        units.forEach(unit -> request.addItems(unit.value()));
        return new Route<BatchTokenizeResponse, List<Outcome<Tokenized>>>(
                NAME,
                BATCH,
                request.build(),
                BatchTokenizeResponse.parser(),
                (answer, head) -> items(answer, units.size()),
                true,
                true);
    }

    private static List<Outcome<Tokenized>> items(BatchTokenizeResponse answer, int asked) {
        Wire.counted(answer.getItemsCount(), asked);
        List<Outcome<Tokenized>> outcomes = new ArrayList<>(asked);
        for (io.lunasec.client.internal.wire.TokenizeItem item : answer.getItemsList()) {
            outcomes.add(
                    item.getOutcomeCase() == OutcomeCase.ERROR
                            ? Outcome.failed(Wire.error(item.getError()))
                            : Outcome.of(read(item)));
        }
        return outcomes;
    }

    private static Tokenized read(io.lunasec.client.internal.wire.TokenizeItem item) {
        if (!Wire.known(item).hasTokenized()) {
            throw Wire.misread("an item is neither a token nor an error");
        }
        return read(Wire.known(item.getTokenized()));
    }

    private static Tokenized read(TokenizeResponse answer) {
        return new Tokenized(Wire.token(answer.getToken()), Wire.durability(answer.getDurability()));
    }
}
