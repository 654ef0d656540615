package io.lunasec.client;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Makes one request of the calls that wait for the client's thread at the same time and say the same of themselves: operation,
 * namespace, session, JWT, purpose. No call waits for others: one that is alone is sent as it is, and while the thread is busy those
 * that come meanwhile gather.
 */
final class Batcher {
    private final Engine engine;
    private final int items;
    private final Queue<Waiting<?>> queue = new ConcurrentLinkedQueue<>();
    private final AtomicBoolean called = new AtomicBoolean();

    Batcher(Engine engine, int items) {
        this.engine = engine;
        this.items = Math.min(items, Limits.BATCH_ITEMS);
    }

    private record Waiting<T>(Common<T> common, Entry<T> entry) {}

    /** What becomes one request. */
    private static final class Batch<T> {
        final List<Entry<T>> entries = new ArrayList<>();
        int items;
        long bytes;
    }

    /** Calls that go together. */
    private record Group<T>(Common<T> common, List<Entry<T>> entries) {
        /** What was found to say the same of itself has the same results. */
        @SuppressWarnings("unchecked")
        void add(Entry<?> entry) {
            entries.add((Entry<T>) entry);
        }
    }

    /** One caller's items, together with those of others. */
    <T> Call<List<Outcome<T>>> submit(Common<T> common, List<Unit> units, View<?> view, boolean reads) {
        // What an empty list comes to is the sidecar's to say, and not that of whoever shares its request.
        if (units.isEmpty() || units.size() > items) {
            return alone(common, units, view, reads);
        }
        Object here = engine.spans().here();
        Call<List<Outcome<T>>> call =
                engine.call(view.deadlineMs(reads), view.said().session(), false);
        if (call.over()) {
            return call;
        }
        queue.add(new Waiting<>(common, new Entry<>(units, call, here)));
        if (called.compareAndSet(false, true)) {
            engine.run(this::drain, call);
        }
        return call;
    }

    /** One caller's items, by themselves. */
    <T> Call<List<Outcome<T>>> alone(Common<T> common, List<Unit> units, View<?> view, boolean reads) {
        Object here = engine.spans().here();
        Call<List<Outcome<T>>> call =
                engine.call(view.deadlineMs(reads), view.said().session(), false);
        if (call.over()) {
            return call;
        }
        Entry<T> entry = new Entry<>(units, call, here);
        engine.run(() -> new Flight<>(engine, common, List.of(entry), new Searches()).go(), call);
        return call;
    }

    private void drain() {
        called.set(false);
        List<Group<?>> groups = new ArrayList<>(1);
        for (Waiting<?> next = queue.poll(); next != null; next = queue.poll()) {
            if (!next.entry.call().over()) {
                group(groups, next);
            }
        }
        for (Group<?> group : groups) {
            try {
                cut(group);
            } catch (Throwable defect) {
                // It must not leave callers waiting, nor drop the other groups.
                group.entries.forEach(entry -> entry.call().reject(Journey.defect(defect)));
            }
        }
    }

    private static <T> void group(List<Group<?>> groups, Waiting<T> waiting) {
        for (Group<?> each : groups) {
            if (each.common.sameAs(waiting.common)) {
                each.add(waiting.entry);
                return;
            }
        }
        Group<T> made = new Group<>(waiting.common, new ArrayList<>());
        made.entries.add(waiting.entry);
        groups.add(made);
    }

    /** Cuts a group into batches that are small enough. Whoever asks for what a batch asks for already goes along with it. */
    private <T> void cut(Group<T> group) {
        List<Batch<T>> batches = new ArrayList<>(1);
        Map<Token, Batch<T>> asked = group.entries.size() == 1 ? Map.of() : new HashMap<>();
        for (Entry<T> entry : group.entries) {
            // Where each call is to be a request, it is one.
            Unit shared = items == 1 || group.entries.size() == 1 ? null : group.common.shared(entry);
            Batch<T> batch = shared == null ? null : asked.get(shared.token());
            if (batch == null) {
                batch = batchFor(group.common.operation(), entry, batches);
            }
            batch.entries.add(entry);
            if (shared != null) {
                asked.put(shared.token(), batch);
            }
        }
        for (Batch<T> batch : batches) {
            new Flight<>(engine, group.common, batch.entries, new Searches()).go();
        }
    }

    /** The last batch if there is room for so much more, else another one. */
    private <T> Batch<T> batchFor(ListOperation<T> operation, Entry<T> entry, List<Batch<T>> batches) {
        int more = entry.units().size();
        long bytes = 0;
        for (Unit unit : entry.units()) {
            bytes += unit.bytes();
        }
        Batch<T> batch = batches.isEmpty() ? null : batches.get(batches.size() - 1);
        if (batch == null || batch.items + more > items || batch.bytes + bytes > operation.bytes()) {
            batch = new Batch<>();
            batches.add(batch);
        }
        batch.items += more;
        batch.bytes += bytes;
        return batch;
    }
}
