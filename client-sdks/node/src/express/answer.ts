import { DATA, Draft } from './draft.js';
import type { Next, ResponseLike } from './types.js';

/**
 * Something that is done to what is sent, before it is.
 *
 * @internal
 */
export type Step = (draft: Draft) => Promise<void>;

/** What is to be done to one answer: whatever the order of the middleware, first grants, then reveals. */
class Plan {
  readonly grants: Step[] = [];
  readonly reveals: Step[] = [];
  /** Whether it is being carried out, or was. */
  at: 'before' | 'under way' | 'after' = 'before';
  next: Next = () => undefined;

  async carriedOut(body: unknown): Promise<unknown> {
    const draft = new Draft(body, DATA);
    await Promise.all(this.grants.map((step) => step(draft)));
    await Promise.all(this.reveals.map((step) => step(draft)));
    return draft.data;
  }
}

/** On the response: an application may have both builds of this package, and each adds to the same plan. */
const PLAN = Symbol.for('@lunasec/node/express/plan');

/**
 * Does something to what the route sends with `res.json()`, or with `res.send()` of an object. Not to refusals, of
 * status 400 and above; nor to what is sent in another way: its tokens stay tokens.
 *
 * @internal
 */
export function beforeAnswer(kind: 'grants' | 'reveals', step: Step, res: ResponseLike, next: Next): void {
  const plan = (res as { [PLAN]?: Plan })[PLAN] ?? hooked(res);
  plan[kind].push(step);
  // The innermost router's: its error handlers come first.
  plan.next = next;
}

function hooked(res: ResponseLike): Plan {
  const plan = new Plan();
  Object.defineProperty(res, PLAN, { value: plan });
  const { json, end } = res;
  res.json = (...given: unknown[]): unknown => {
    if (plan.at === 'under way') {
      throw sentAlready();
    }
    // Express 4 also takes a status: whoever says it there is not answered otherwise than without this.
    if (plan.at === 'after' || res.statusCode >= 400 || given.length > 1) {
      return Reflect.apply(json, res, given);
    }
    if (res.headersSent) {
      throw sentAlready();
    }
    plan.at = 'under way';
    void send(plan, res, given[0], json);
    return res;
  };
  // `res.json(…).end()` adds nothing to what is on its way. Who ends it with something else has answered otherwise.
  res.end = ((...given: unknown[]) => {
    const adds = given[0] !== undefined && given[0] !== null && typeof given[0] !== 'function';
    if (plan.at !== 'under way' || adds) {
      return Reflect.apply(end, res, given);
    }
    const done = given.find((each) => typeof each === 'function');
    return done === undefined ? res : res.once('finish', done as () => void);
  }) as ResponseLike['end'];
  return plan;
}

async function send(plan: Plan, res: ResponseLike, body: unknown, json: ResponseLike['json']): Promise<void> {
  // What was sent first counts, with what was said of it by then.
  const status = res.statusCode;
  try {
    const ready = await plan.carriedOut(body);
    plan.at = 'after';
    if (res.writableEnded) {
      return;
    }
    if (res.headersSent) {
      throw sentAlready();
    }
    res.statusCode = status;
    Reflect.apply(json, res, [ready]);
  } catch (error) {
    // From here on the answer is the error handlers' own; unless the route has ended it otherwise meanwhile.
    plan.at = 'after';
    if (!res.writableEnded) {
      plan.next(error);
    }
  }
}

/** As Node.js says it where an answer is sent twice. */
function sentAlready(): Error {
  const error = new Error('the answer is on its way already: send one, and nothing of its head before res.json()');
  return Object.assign(error, { code: 'ERR_HTTP_HEADERS_SENT' });
}
