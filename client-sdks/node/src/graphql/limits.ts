/** Every bound and default of the GraphQL directives, named once. */

/** Values and tokens in the arguments of one field: as many as one batch has. */
export const ITEMS_OF_A_FIELD = 1_000;
/** How long a field waits for the other fields of its answer, at most. */
export const GATHER_MS = 50;
/** The longest time that a timer takes. */
export const GATHER_MOST_MS = 2_147_483_647;
