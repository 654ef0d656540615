package io.lunasec.client;

import io.lunasec.client.LunaSecException.InvalidRequest;
import io.lunasec.client.LunaSecException.PayloadTooLarge;
import io.netty.util.AsciiString;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;

/**
 * One request that carries the items of several callers, tried again as far as that helps. Each caller gets what its own items came to,
 * as soon as that is known, and none can fail another: what the sidecar refuses as a whole is sent again in halves, until it is known
 * whose fault it was. Used in the client's thread only.
 */
final class Flight<T> extends Journey {
    private final Common<T> common;
    private final Searches searches;
    private final Telemetry.Span span;
    private List<Entry<T>> entries;
    private List<Seat<T>> seats;
    private List<AsciiString> head;

    private static final class Seat<T> {
        final Entry<T> entry;
        final Unit unit;
        Outcome<T> outcome;

        Seat(Entry<T> entry, Unit unit) {
            this.entry = entry;
            this.unit = unit;
        }

        boolean isOpen() {
            return !entry.call().over() && (outcome == null || !outcome.isFinal());
        }
    }

    /** What is sent once, and everybody who gets what it comes to. */
    private record Slot<T>(Unit unit, List<Seat<T>> seats) {}

    Flight(Engine engine, Common<T> common, List<Entry<T>> entries, Searches searches) {
        super(engine, common.attempts(), true);
        this.common = common;
        this.searches = searches;
        this.entries = entries;
        this.seats = new ArrayList<>(entries.size());
        List<Object> from = new ArrayList<>(entries.size());
        for (Entry<T> entry : entries) {
            entry.units().forEach(unit -> seats.add(new Seat<>(entry, unit)));
            from.add(entry.here());
            entry.call().whenLeft(() -> engine.run(this::left, entry.call()));
        }
        this.span = engine.spans().start(common.operation().operation(), seats.size(), from);
    }

    private void left() {
        if (!stop.said() && entries.stream().allMatch(entry -> entry.call().over())) {
            stop.say();
            span.end(Spans.codeOf(new CancellationException()));
        }
    }

    @Override
    void attempt() {
        List<Slot<T>> slots = slots(toSend());
        if (slots.isEmpty() && !seats.isEmpty()) {
            // Everybody has left just now, and says so.
            return;
        }
        Route<?, List<Outcome<T>>> route = route(slots);
        if (head == null) {
            head = engine.head(route, common.context(), common.idempotencyKey(), span);
        }
        engine.attempt(route, head, stop, (outcomes, error) -> {
            if (error != null) {
                failed(error);
            } else {
                take(slots, outcomes);
                settle();
            }
        });
    }

    /** All items where an item is known by its place, else those that came to nothing yet. */
    private List<Seat<T>> toSend() {
        List<Seat<T>> open = seats.stream().filter(Seat::isOpen).toList();
        return common.operation().keyed() && !open.isEmpty() ? seats : open;
    }

    /** What is sent, and whose it is: a token that several callers asked for is asked for once. */
    private List<Slot<T>> slots(List<Seat<T>> of) {
        List<Slot<T>> slots = new ArrayList<>(of.size());
        Map<Token, Slot<T>> first = of.size() == 1 ? Map.of() : new HashMap<>();
        for (Seat<T> seat : of) {
            Token shared = of.size() > 1 && common.shared(seat.entry) != null ? seat.unit.token() : null;
            Slot<T> same = shared == null ? null : first.get(shared);
            if (same != null) {
                same.seats.add(seat);
                continue;
            }
            Slot<T> slot = new Slot<>(seat.unit, new ArrayList<>(1));
            slot.seats.add(seat);
            slots.add(slot);
            if (shared != null) {
                first.put(shared, slot);
            }
        }
        return slots;
    }

    private Route<?, List<Outcome<T>>> route(List<Slot<T>> slots) {
        // Of a request that is sent again, what is left may be one item: it stays a batch.
        boolean single = seats.size() == 1 || (slots.size() == 1 && slots(seats).size() == 1);
        Route<?, List<Outcome<T>>> alone =
                common.asBatch() || !single ? null : common.operation().alone(slots.get(0).unit);
        return alone != null
                ? alone
                : common.operation().batch(slots.stream().map(Slot::unit).toList());
    }

    private void take(List<Slot<T>> slots, List<Outcome<T>> outcomes) {
        for (int at = 0; at < slots.size(); at++) {
            for (Seat<T> seat : slots.get(at).seats) {
                if (seat.outcome == null || !seat.outcome.isFinal()) {
                    seat.outcome = outcomes.get(at);
                }
            }
        }
    }

    /** Answers whoever can be answered; what is wrong with the others decides whether they are asked for again. */
    private void settle() {
        LunaSecException trouble = null;
        List<Entry<T>> crowded = new ArrayList<>();
        List<Runnable> known = new ArrayList<>(entries.size());
        for (Map.Entry<Entry<T>, List<Outcome<T>>> each : byEntry().entrySet()) {
            List<Outcome<T>> outcomes = each.getValue();
            LunaSecException open = firstOpen(outcomes);
            if (open != null) {
                trouble = trouble == null ? open : trouble;
            } else if (isCrowded(outcomes)) {
                crowded.add(each.getKey());
            } else {
                known.add(() -> each.getKey().call().resolve(outcomes));
            }
        }
        // One that asks for nothing is here by itself.
        entries.stream()
                .filter(entry -> entry.units().isEmpty())
                .forEach(entry -> known.add(() -> entry.call().resolve(List.of())));
        makeRoom(crowded);
        if (trouble == null) {
            succeeded();
            span.end(Spans.OK);
        }
        known.forEach(Runnable::run);
        if (trouble != null) {
            failed(trouble);
        }
    }

    private static <T> LunaSecException firstOpen(List<Outcome<T>> outcomes) {
        for (Outcome<T> outcome : outcomes) {
            if (!outcome.isFinal()) {
                return outcome.error();
            }
        }
        return null;
    }

    /** Who found no room goes again, with fewer. */
    private void makeRoom(List<Entry<T>> crowded) {
        if (crowded.isEmpty()) {
            return;
        }
        boolean all = crowded.size() == entries.size();
        entries = entries.stream().filter(entry -> !crowded.contains(entry)).toList();
        seats = seats.stream().filter(seat -> !crowded.contains(seat.entry)).toList();
        if (all) {
            crowded.forEach(entry -> anew(List.of(entry)));
        } else {
            anew(crowded);
        }
    }

    /** Whether an item of a caller found no room only because of the items of others. */
    private boolean isCrowded(List<Outcome<T>> outcomes) {
        return entries.size() > 1 && outcomes.stream().anyMatch(common.operation()::foundNoRoom);
    }

    /** Of those who still wait, what their items came to so far. */
    private Map<Entry<T>, List<Outcome<T>>> byEntry() {
        Map<Entry<T>, List<Outcome<T>>> found = new IdentityHashMap<>();
        for (Seat<T> seat : seats) {
            if (!seat.entry.call().over() && seat.outcome != null) {
                found.computeIfAbsent(
                                seat.entry,
                                entry -> new ArrayList<>(entry.units().size()))
                        .add(seat.outcome);
            }
        }
        return found;
    }

    @Override
    long until() {
        long until = System.nanoTime();
        for (Entry<T> entry : entries) {
            if (!entry.call().over() && entry.call().until() - until > 0) {
                until = entry.call().until();
            }
        }
        return until;
    }

    @Override
    void again(LunaSecException error) {
        span.retried();
        entries.forEach(entry -> entry.call().trouble(error));
    }

    /** The last word: what items came to counts; a refusal of the whole is sought in each half. */
    @Override
    void gaveUp(LunaSecException error) {
        span.end(Spans.codeOf(error));
        List<Entry<T>> waitingStill =
                entries.stream().filter(entry -> !entry.call().over()).toList();
        Map<Entry<T>, List<Outcome<T>>> known = byEntry();
        if (refusesWhole(error) && waitingStill.size() > 1 && known.isEmpty() && searches.take()) {
            int half = (waitingStill.size() + 1) / 2;
            anew(waitingStill.subList(0, half));
            anew(waitingStill.subList(half, waitingStill.size()));
            return;
        }
        for (Entry<T> entry : waitingStill) {
            List<Outcome<T>> outcomes = known.get(entry);
            if (outcomes != null && outcomes.size() == entry.units().size()) {
                entry.call().resolve(outcomes);
            } else {
                entry.call().reject(error);
            }
        }
    }

    /** What one item may have brought upon all. */
    private static boolean refusesWhole(LunaSecException error) {
        return error instanceof InvalidRequest || error instanceof PayloadTooLarge;
    }

    private void anew(List<Entry<T>> of) {
        new Flight<>(engine, common, of, searches).go();
    }
}
