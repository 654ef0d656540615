/**
 * Says to whatever a request waits for that nobody wants it any more. What `AbortController` is, for one who listens at a
 * time: making one of those takes as long as a third of a call.
 *
 * @internal
 */
export class Stop {
  #reason: Error | undefined;
  #then: (() => void) | undefined;

  /** Why, once it is said. */
  get reason(): Error | undefined {
    return this.#reason;
  }

  stop(reason: Error): void {
    this.#reason ??= reason;
    const then = this.#then;
    this.#then = undefined;
    then?.();
  }

  /** Calls back when it is said; in place of who listened before. */
  listen(then: (() => void) | undefined): void {
    this.#then = then;
  }
}
