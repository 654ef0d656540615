package io.lunasec.client;

/** How many more requests may be made to find out whose fault a refusal of a whole batch was. */
final class Searches {
    private int left = Limits.SEARCHES;

    boolean take() {
        if (left <= 1) {
            return false;
        }
        left -= 2;
        return true;
    }
}
