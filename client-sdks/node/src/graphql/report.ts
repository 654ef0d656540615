import { sharedNotes } from '../shared.js';

/** Where a field is in an answer. */
export type FieldPath = readonly (string | number)[];

/** `extensions.lunasec` of an answer; only where there is something to say. */
export interface LunaSecReport {
  /** Values or verifications of it are masked, or older than they should be. */
  readonly degraded: boolean;
  /** Why: the error's code for what is masked; `storage`, `keys` or `storage,keys` for what is old. */
  readonly reasons: readonly string[];
  /** The age of the oldest, in seconds, where it is known. */
  readonly ageSeconds?: number;
  /** The fields that hold a mask instead of a value. */
  readonly masked: readonly FieldPath[];
  /** A value that came in is journaled: safe on the sidecar's volume, not yet in central storage. */
  readonly journaled: boolean;
}

/** What is noted of one operation. */
interface Notes {
  readonly reasons: Set<string>;
  readonly masked: FieldPath[];
  ageSeconds: number | undefined;
  journaled: boolean;
}

/** By the context, which is the one object that resolvers and servers both know. */
const NOTES = sharedNotes<object, Notes>('graphql/notes');

function notesOf(context: unknown): Notes | undefined {
  if (typeof context !== 'object' || context === null) {
    return undefined;
  }
  let notes = NOTES.get(context);
  if (notes === undefined) {
    notes = { reasons: new Set(), masked: [], ageSeconds: undefined, journaled: false };
    NOTES.set(context, notes);
  }
  return notes;
}

/** @internal */
export function noteMasked(context: unknown, path: FieldPath, reason: string): void {
  const notes = notesOf(context);
  notes?.reasons.add(reason);
  notes?.masked.push(path);
}

/** @internal */
export function noteStale(context: unknown, degraded: string | undefined, ageSeconds: number | undefined): void {
  const notes = degraded === undefined ? undefined : notesOf(context);
  if (degraded !== undefined && notes !== undefined) {
    notes.reasons.add(degraded);
    notes.ageSeconds = ageSeconds === undefined ? notes.ageSeconds : Math.max(ageSeconds, notes.ageSeconds ?? 0);
  }
}

/** @internal */
export function noteJournaled(context: unknown): void {
  const notes = notesOf(context);
  if (notes !== undefined) {
    notes.journaled = true;
  }
}

/**
 * What there is to say of the operation that ran with this context, and has not been taken yet. For servers other than
 * Apollo and Yoga, which have {@link lunasecApollo} and {@link lunasecYoga}: put it into `extensions.lunasec`.
 */
export function takeReport(context: unknown): LunaSecReport | undefined {
  const at = typeof context === 'object' && context !== null ? context : undefined;
  const notes = at && NOTES.get(at);
  if (at === undefined || notes === undefined) {
    return undefined;
  }
  NOTES.delete(at);
  const { reasons, masked, ageSeconds, journaled } = notes;
  return {
    degraded: reasons.size > 0,
    reasons: [...reasons],
    ...(ageSeconds === undefined ? {} : { ageSeconds }),
    masked,
    journaled,
  };
}
