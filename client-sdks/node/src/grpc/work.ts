import { InvalidRequest, LunaSecError } from '../errors.js';
import { ITEMS_IN, ITEMS_OUT } from '../limits.js';
import type { OnUnavailable } from '../policy.js';
import type { CallOptions } from '../tokenizer.js';
import { nonValue } from '../values.js';
import { refusalOf } from '../verdict.js';
import { told } from '../words.js';
import type { Caller } from './caller.js';
import type { Content } from './content.js';
import type { Plan, Role } from './plan.js';
import type { Rule } from './rules.js';
import { FieldError } from './status.js';
import { open, type Slot } from './walk.js';

/**
 * Carries out the rules in the messages of one call. All fields of a message that need the same are one request of the
 * sidecar: they ask in one turn of the event loop.
 *
 * @internal
 */
export class Work {
  readonly #caller: Caller;
  readonly #role: Role;
  readonly #onUnavailable: OnUnavailable;
  readonly #options: CallOptions;

  constructor(caller: Caller, role: Role, onUnavailable: OnUnavailable, signal: AbortSignal) {
    this.#caller = caller;
    this.#role = role;
    this.#onUnavailable = onUnavailable;
    this.#options = { signal, share: this };
  }

  /** A request as its handler gets it, or as it leaves the client. */
  async request(plan: Plan, message: unknown): Promise<unknown> {
    const { copy, slots } = open(plan, message, ITEMS_IN);
    const values: Slot[] = [];
    const tokens: Slot[] = [];
    for (const slot of slots) {
      if (slot.rule.tokenize && !this.#isKnown(slot)) {
        values.push(slot);
      } else if (slot.rule.verify && this.#role !== 'client' && !slot.content.empty) {
        tokens.push(slot);
      }
    }
    // First of all: nothing is made for a call that is refused.
    await this.#verify(tokens);
    await this.#tokenize(values);
    return copy;
  }

  /** A response as it leaves the server, or as the client's application gets it. */
  async response(plan: Plan, message: unknown): Promise<unknown> {
    const { copy, slots } = open(plan, message, ITEMS_OUT);
    const tokens = slots.filter(({ content }) => !content.empty);
    for (const { content, set } of tokens) {
      if (content.isToken) {
        set(content.ofText(content.text));
      }
    }
    if (this.#role !== 'client') {
      await this.#grant(tokens.map((slot) => [slot, slot.content.text]));
    }
    if (this.#role !== 'behind') {
      await this.#detokenize(tokens.filter(({ rule }) => rule.detokenize));
    }
    return copy;
  }

  /** Whether it is a token already; refused where nobody would look at whose it is. */
  #isKnown({ where, rule, content, set }: Slot): boolean {
    if (this.#role === 'behind') {
      if (content.exactToken) {
        return true;
      }
      throw new FieldError(where, told(new InvalidRequest('clients tokenize this field; it holds something else')));
    }
    // The application's own code gave it, as a Token: no text from outside can be one.
    if (!content.isToken && !holdsToken(where, rule, content)) {
      return false;
    }
    set(content.ofText(content.text));
    return true;
  }

  async #verify(slots: readonly Slot[]): Promise<void> {
    if (slots.length === 0) {
      return;
    }
    const session = await this.#caller.session();
    await each(byToken(slots), async ([text]) => {
      const [answer] = await session.verify([text], this.#options);
      const refusal = refusalOf(answer);
      if (refusal !== undefined) {
        throw refusal;
      }
    });
  }

  async #tokenize(slots: readonly Slot[]): Promise<void> {
    if (slots.length === 0) {
      return;
    }
    const client = await this.#caller.any();
    const made: [Slot, string][] = [];
    await each(
      slots.map((slot) => [slot, [slot]] as const),
      async ([slot]) => {
        const { token } = await client.tokenize(slot.content.plain, this.#options);
        slot.set(slot.content.ofText(token.expose()));
        made.push([slot, token.expose()]);
      },
    );
    await this.#grant(made);
  }

  async #grant(tokens: readonly (readonly [Slot, string])[]): Promise<void> {
    const granted = tokens.filter(([{ rule }]) => rule.grant !== undefined);
    if (granted.length === 0) {
      return;
    }
    const session = await this.#caller.session();
    const distinct = new Map(granted.map(([slot, text]) => [`${slot.rule.grant} ${text}`, [slot, text] as const]));
    await each(
      [...distinct.values()].map(([slot, text]) => [text, [slot]] as const),
      async ([text, [slot]]) => {
        const [answer] = await session.grant([text], { ...this.#options, expiresIn: slot?.rule.grant });
        if (answer?.kind !== 'granted') {
          throw answer?.error;
        }
      },
    );
  }

  async #detokenize(slots: readonly Slot[]): Promise<void> {
    if (slots.length === 0) {
      return;
    }
    const client = await this.#caller.any();
    await each(byToken(slots), async ([text, same]) => {
      const shown = await client.detokenize(text, { ...this.#options, onUnavailable: this.#onUnavailable });
      for (const { content, set } of same) {
        if (shown.kind === 'value') {
          set(content.ofValue(shown.value));
        } else {
          set(content.ofStandIn(shown.kind === 'masked' ? shown.text : shown.value));
        }
      }
    });
  }
}

/** Whether it is to be verified, else it is a value; what is neither is refused. */
function holdsToken(where: string, rule: Rule, content: Content): boolean {
  const wrong = nonValue(content.plain);
  if (wrong === undefined || (wrong.token && rule.verify)) {
    return wrong !== undefined;
  }
  const mend = wrong.token ? ', and would be anybody’s who found one; let the field say verify, too' : '';
  throw new FieldError(where, told(new InvalidRequest(`it ${wrong.words}${mend}`)));
}

/** A token that is in several places is asked for once. */
function byToken(slots: readonly Slot[]): (readonly [string, readonly Slot[]])[] {
  const all = new Map<string, Slot[]>();
  for (const slot of slots) {
    const { text } = slot.content;
    const same = all.get(text);
    if (same === undefined) {
      all.set(text, [slot]);
    } else {
      same.push(slot);
    }
  }
  return [...all];
}

/** Does all of it in one turn; an error says which field it is about. */
async function each<T>(
  all: readonly (readonly [T, readonly Slot[]])[],
  task: (one: readonly [T, readonly Slot[]]) => Promise<void>,
): Promise<void> {
  const outcomes = await Promise.allSettled(all.map(task));
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected') {
      const slot = all[index]?.[1][0];
      const { reason } = outcome;
      throw slot !== undefined && reason instanceof LunaSecError ? new FieldError(slot.where, reason) : reason;
    }
  }
}
