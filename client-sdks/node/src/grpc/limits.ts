/** Every bound of the interceptors, named once. */

/** Messages that a handler wrote before its call failed, and that are still sent. */
export const LAST_MESSAGES = 1_000;
