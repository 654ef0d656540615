package io.lunasec.client;

/** Says to whatever a request waits for that nobody wants it any more. Used in the client's thread only. */
final class Stop {
    private boolean said;
    private Runnable then;

    boolean said() {
        return said;
    }

    void say() {
        said = true;
        Runnable now = then;
        then = null;
        if (now != null) {
            now.run();
        }
    }

    /** Calls back when it is said; in place of who listened before. May be null. */
    void listen(Runnable to) {
        then = to;
    }
}
