package io.lunasec.client;

import io.netty.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/** One request, tried until it works or no other attempt would be right. Used in the client's thread only. */
abstract class Journey {
    final Engine engine;
    final Stop stop = new Stop();
    private final Retries retries;

    Journey(Engine engine, int attempts, boolean repeatable) {
        this.engine = engine;
        this.retries = engine.retries(attempts, repeatable);
    }

    /** One attempt; ends in {@link #succeeded()} or {@link #failed}. */
    abstract void attempt();

    /** When the last who waits is gone, by {@link System#nanoTime()}. */
    abstract long until();

    /** It did not work, and will be tried again. */
    abstract void again(LunaSecException error);

    /** It did not work, and will not. */
    abstract void gaveUp(LunaSecException error);

    final void go() {
        if (stop.said()) {
            return;
        }
        try {
            attempt();
        } catch (Throwable defect) {
            // One of ours, or of the class path, must not leave callers waiting.
            gaveUp(defect(defect));
        }
    }

    static LunaSecException defect(Throwable cause) {
        return LunaSecException.of(
                new LunaSecException.Facts("protocol_error", "the request could not be made; see the cause")
                        .because(cause));
    }

    private void awake() {
        engine.pausing().remove(this);
        stop.listen(null);
        go();
    }

    /** The client was closed: who waits for another attempt waits in vain. */
    final void closed() {
        gaveUp(Faults.closed());
    }

    final void succeeded() {
        retries.succeeded();
    }

    final void failed(LunaSecException error) {
        long now = System.nanoTime();
        long pause = stop.said() ? Retries.NEVER : retries.after(error, now);
        if (pause == Retries.NEVER || engine.isClosed() || now + pause - until() >= 0) {
            gaveUp(error);
            return;
        }
        again(error);
        ScheduledFuture<?> timer = engine.loop().schedule(this::awake, pause, TimeUnit.NANOSECONDS);
        engine.pausing().add(this);
        stop.listen(() -> {
            timer.cancel(false);
            engine.pausing().remove(this);
        });
    }
}
