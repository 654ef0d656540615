package io.lunasec.client;

import java.util.List;

/**
 * One caller's items of a list, and the caller who waits for what they come to.
 *
 * @param units that it is about
 * @param call who waits
 * @param here what was active where it called; may be null
 */
record Entry<T>(List<Unit> units, Call<List<Outcome<T>>> call, Object here) {}
