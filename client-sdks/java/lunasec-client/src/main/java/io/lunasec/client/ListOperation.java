package io.lunasec.client;

import java.util.List;

/** An operation on a list of items. Two are the same call if they are equal. */
interface ListOperation<T> {
    /** As the contract names it. */
    String operation();

    /** Of the request. */
    int bytes();

    /** Keyed by the client, and so sent again as a whole: an item is known by its place. Otherwise only what failed is. */
    default boolean keyed() {
        return false;
    }

    /** Whether an item only found no room in the answer: alone it would. */
    default boolean foundNoRoom(Outcome<T> outcome) {
        return false;
    }

    Route<?, List<Outcome<T>>> batch(List<Unit> units);

    /** The route of an item that is alone; null if there is none. */
    default Route<?, List<Outcome<T>>> alone(Unit unit) {
        return null;
    }
}
