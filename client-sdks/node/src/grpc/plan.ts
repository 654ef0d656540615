import { FieldRuleError, type Kind, kindOf, type Rule, ruleOf } from './rules.js';
import type { FieldShape, Shapes } from './shapes.js';

/** @internal */
export type Direction = 'request' | 'response';

/**
 * Who carries rules out. `server`: all of them. `behind`: a server whose clients tokenize and detokenize. `client`: one
 * of those.
 *
 * @internal
 */
export type Role = 'server' | 'behind' | 'client';

/**
 * A message that rules apply to, itself or further down.
 *
 * @internal
 */
export interface Plan {
  readonly name: string;
  readonly fields: readonly PlannedField[];
}

/** @internal */
export interface PlannedField {
  readonly shape: FieldShape;
  /** What is done with it. */
  readonly ruled: { readonly rule: Rule; readonly kind: Kind; readonly wrapped: boolean } | undefined;
  /** Where it is a message: what is done with that. */
  readonly plan: Plan | undefined;
}

/** @internal */
export interface MethodPlans {
  readonly request: Plan | undefined;
  readonly response: Plan | undefined;
}

/**
 * Whether a rule means something in a direction at all, whoever carries it out.
 *
 * @internal
 */
function applies(rule: Rule, direction: Direction): boolean {
  return direction === 'request' ? rule.tokenize || rule.verify : rule.detokenize || rule.grant !== undefined;
}

function acts(rule: Rule, direction: Direction, role: Role): boolean {
  if (role === 'client') {
    return direction === 'request' ? rule.tokenize : rule.detokenize;
  }
  return direction === 'request' || role === 'server' ? applies(rule, direction) : rule.grant !== undefined;
}

function needsSession(rule: Rule, direction: Direction, role: Role): boolean {
  if (direction === 'response') {
    return role !== 'client' && rule.grant !== undefined;
  }
  return (role !== 'client' && rule.verify) || (role !== 'behind' && rule.tokenize && rule.grant !== undefined);
}

/**
 * What is to be done with the messages of each method, by path. All that cannot be done is said here, at once.
 *
 * @internal
 * @throws {@link FieldRuleError}
 */
export function plansOf(shapes: Shapes, role: Role, hasSession: boolean): ReadonlyMap<string, MethodPlans> {
  const mistakes = new Set<string>();
  const rules = new Map<FieldShape, Rule>();
  for (const field of [...shapes.messages.values()].flat()) {
    const rule = ruleOf(field, (words) => mistakes.add(words));
    if (rule !== undefined) {
      rules.set(field, rule);
    }
  }
  const sides = {
    request: new Side(shapes, rules, 'request', role),
    response: new Side(shapes, rules, 'response', role),
  };
  for (const words of [...unused(sides, rules), ...(hasSession ? [] : withoutSession(sides, rules, role))]) {
    mistakes.add(words);
  }
  if (mistakes.size > 0) {
    throw new FieldRuleError([...mistakes]);
  }
  return new Map(
    [...shapes.methods].map(([path, { request, response }]) => [
      path,
      { request: sides.request.plan(request), response: sides.response.plan(response) },
    ]),
  );
}

type Sides = Readonly<Record<Direction, Side>>;

/** Rules that would silently never be carried out. */
function* unused({ request, response }: Sides, rules: ReadonlyMap<FieldShape, Rule>): Iterable<string> {
  for (const [field, rule] of rules) {
    const [asked, answered] = [request.used.has(field), response.used.has(field)];
    if (asked && !answered && !applies(rule, 'request')) {
      yield `${field.where}: it is only part of requests, where detokenize and grant do nothing; use verify or tokenize, or move the rule to the response`;
    } else if (answered && !asked && !applies(rule, 'response')) {
      yield `${field.where}: it is only part of responses, where tokenize and verify do nothing; use detokenize or grant, or move the rule to the request`;
    }
  }
}

function* withoutSession(sides: Sides, rules: ReadonlyMap<FieldShape, Rule>, role: Role): Iterable<string> {
  for (const [field, rule] of rules) {
    for (const side of [sides.request, sides.response]) {
      if (side.used.has(field) && needsSession(rule, side.direction, role)) {
        yield `${field.where}: grant and verify are for a session; give the interceptor its option session`;
      }
    }
  }
}

/** What can be reached from the messages of one direction, and what is done there. */
class Side {
  readonly used = new Set<FieldShape>();
  readonly #plans = new Map<string, Plan>();

  constructor(
    readonly shapes: Shapes,
    readonly rules: ReadonlyMap<FieldShape, Rule>,
    readonly direction: Direction,
    readonly role: Role,
  ) {
    const names = this.#reach();
    for (const name of this.#concerned(names)) {
      this.#plans.set(name, { name, fields: [] });
    }
    for (const [name, plan] of this.#plans) {
      (plan.fields as PlannedField[]).push(...this.#fields(name));
    }
  }

  plan(name: string): Plan | undefined {
    return this.#plans.get(name);
  }

  #of(name: string): readonly FieldShape[] {
    return this.shapes.messages.get(name) ?? [];
  }

  #reach(): Set<string> {
    const roots = [...this.shapes.methods.values()].map((method) => method[this.direction]);
    const names = new Set(roots);
    // A set that grows while it is gone through is gone through to its end.
    for (const name of names) {
      for (const field of this.#of(name)) {
        this.used.add(field);
        if (field.message) {
          names.add(field.type);
        }
      }
    }
    return names;
  }

  #active(field: FieldShape): boolean {
    const rule = this.rules.get(field);
    return rule !== undefined && acts(rule, this.direction, this.role);
  }

  /** The messages with something to do in them, themselves or further down; they may hold themselves. */
  #concerned(names: ReadonlySet<string>): Set<string> {
    const found = new Set<string>();
    for (let before = -1; before < found.size; ) {
      before = found.size;
      for (const name of names) {
        if (this.#of(name).some((field) => this.#active(field) || (field.message && found.has(field.type)))) {
          found.add(name);
        }
      }
    }
    return found;
  }

  #fields(name: string): PlannedField[] {
    return this.#of(name).flatMap((shape) => {
      const rule = this.#active(shape) ? this.rules.get(shape) : undefined;
      const kind = kindOf(shape);
      const ruled = rule !== undefined && kind !== undefined ? { rule, ...kind } : undefined;
      const plan = shape.message ? this.#plans.get(shape.type) : undefined;
      return ruled === undefined && plan === undefined ? [] : [{ shape, ruled, plan }];
    });
  }
}
