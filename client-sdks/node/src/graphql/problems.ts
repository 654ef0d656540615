import { brand, isBranded } from '../brand.js';

/** A schema whose directives cannot work. It names every mistake at once: {@link LunaSecSchemaError.problems}. */
export class LunaSecSchemaError extends Error {
  /** Where each mistake is, and what to do. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the schema's LunaSec directives cannot work:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
    this.problems = problems;
    Object.defineProperty(this, 'name', { value: 'LunaSecSchemaError', configurable: true });
    brand(this, 'graphql/schema-error');
  }

  /** True also for one of another copy of this package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isBranded(value, 'graphql/schema-error');
  }
}

/**
 * What is wrong with a schema so far.
 *
 * @internal
 */
export class Problems {
  readonly #found = new Set<string>();

  at(where: string, what: string): void {
    this.#found.add(`${where}: ${what}`);
  }

  get none(): boolean {
    return this.#found.size === 0;
  }

  throwAny(): void {
    if (this.#found.size > 0) {
      throw new LunaSecSchemaError([...this.#found]);
    }
  }
}
