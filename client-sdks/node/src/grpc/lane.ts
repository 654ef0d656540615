/**
 * Messages of one direction of a call: each is worked on when it is its turn, and what comes after them waits.
 *
 * @internal
 */
export class Lane {
  #tail: Promise<void> | undefined;

  /** Whether something is still to be done. */
  get busy(): boolean {
    return this.#tail !== undefined;
  }

  /** Runs after all that was said before: at once where there is nothing. */
  after(then: () => void): void {
    if (this.#tail === undefined) {
      then();
    } else {
      void this.#queue(async () => then());
    }
  }

  /**
   * Works on a message, then hands it on; or says what went wrong.
   */
  message(work: () => Promise<unknown>, then: (done: unknown) => void, failed: (error: unknown) => void): void {
    void this.#queue(async () => {
      let done: unknown;
      try {
        done = await work();
      } catch (error) {
        failed(error);
        return;
      }
      // Outside of the try: what a handler throws is not ours.
      then(done);
    });
  }

  #queue(step: () => Promise<void>): Promise<void> {
    const last = (this.#tail ?? Promise.resolve()).then(step).finally(() => {
      if (this.#tail === last) {
        this.#tail = undefined;
      }
    });
    this.#tail = last;
    return last;
  }
}
