import type { OperationName } from './operation.js';

/** @internal */
export interface Span {
  propagate(headers: Record<string, string>): void;
  retried(): void;
  end(error: unknown): void;
}

/** @internal */
export interface Telemetry {
  /** Settles when it is known whether anything is traced; undefined afterwards. */
  readonly loading: Promise<void> | undefined;
  /** The active context, to be handed to `start`. */
  here(): unknown;
  /** A span below the first of these contexts, linked to the others. */
  start(operation: OperationName, items: number, from: readonly unknown[]): Span;
}

const NO_SPAN: Span = {
  propagate() {
    // Nothing is traced.
  },
  retried() {
    // Nothing is traced.
  },
  end() {
    // Nothing is traced.
  },
};

/** @internal */
export const NO_TELEMETRY: Telemetry = { loading: undefined, here: () => undefined, start: () => NO_SPAN };
