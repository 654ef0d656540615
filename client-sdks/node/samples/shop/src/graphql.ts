import { STATUS_CODES } from 'node:http';
import type { LunaSec } from '@lunasec/node';
import type { RequestLunaSec } from '@lunasec/node/express';
import { lunasecDirectives, lunasecTypeDefs, takeReport } from '@lunasec/node/graphql';
import type { Request, RequestHandler } from 'express';
import { buildSchema, GraphQLError, parse } from 'graphql';
import type { Response } from 'graphql-http';
import { createHandler } from 'graphql-http/lib/use/express';

import { TOKENS, TOO_MUCH, turnsOf } from './bounds.js';
import { say } from './log.js';
import { NOT_THEIRS, type Order, type Orders, productOf } from './orders.js';
import type { Customer, People, Person } from './people.js';
import { lastFour } from './private.js';
import { TOO_OFTEN, type Turns } from './turns.js';

/** What customers can ask for and do. */
export const typeDefs = /* GraphQL */ `
  type Query {
    me: Customer!
  }
  type Mutation {
    order(product: ID!, address: ID! @verify, card: ID! @verify): Order!
    move(address: String! @tokenize): Customer!
  }
  type Customer {
    name: String @detokenize(onUnavailable: MASK)
    address: String @detokenize(onUnavailable: MASK)
    card: String!
    orders: [Order!]!
  }
  type Order {
    id: ID!
    product: String!
    cents: Int!
    address: String @detokenize(onUnavailable: MASK)
    card: String!
  }
`;

/** What resolvers know of a request. */
interface Context extends Record<PropertyKey, unknown> {
  readonly person: Person;
  readonly session: string;
  readonly lunasec: RequestLunaSec;
  readonly req: Request;
}

type Parameters = Record<string, string>;

/** For what GraphQL asks, reads and writes alike: with the grants before it, a question waits as long as a page. */
const PATIENCE_MS = 1_000;

/** The customer's own GraphQL: what comes in is tokenized or verified, what goes out is revealed. */
export function graphql(client: LunaSec, people: People, orders: Orders, turns: Turns): RequestHandler {
  const schema = lunasecDirectives<Context>(buildSchema(lunasecTypeDefs + typeDefs), {
    client: client.with({ deadlineMs: PATIENCE_MS }),
    session: ({ session }) => session,
  });
  const shownOrder = (order: Order) => ({
    ...order,
    card: (_: unknown, { req }: Context) => lastFour(req, order.card),
  });
  const shownCustomer = (id: number, customer: Customer) => ({
    ...customer,
    card: (_: unknown, { req }: Context) => lastFour(req, customer.card),
    orders: async () => (await orders.of(id)).map(shownOrder),
  });
  const me = async ({ person }: Context) => shownCustomer(person.id, (await people.customer(person.id)) as Customer);
  const rootValue = {
    me: (_: Parameters, context: Context) => me(context),
    order: async ({ product, address, card }: Parameters, { person }: Context) => {
      const chosen = productOf(product);
      if (chosen === undefined) {
        throw refused('There is no such thing in this shop.');
      }
      const order = await orders.place(person.id, chosen, String(address), String(card));
      if (order === undefined) {
        throw refused(NOT_THEIRS);
      }
      return shownOrder(order);
    },
    move: async ({ address }: Parameters, context: Context) => {
      await context.lunasec.grantIn([address], '[]');
      await people.moveTo(context.person.id, String(address));
      return me(context);
    },
  };
  return createHandler<Context>({
    parse: (source) => parse(source, { maxTokens: TOKENS }),
    // Asked for each question before anything looks at it more closely.
    schema: ({ raw: req }, { document, operationName }) => {
      const cost = turnsOf(schema, document, operationName);
      if (cost === undefined) {
        return answered(400, TOO_MUCH);
      }
      // The request took the first one.
      const wait = turns.take((req.visitor.person as Person).id, cost - 1);
      return wait === undefined ? schema : answered(429, TOO_OFTEN, { 'retry-after': String(wait) });
    },
    rootValue,
    context: ({ raw: req }) => {
      const { person, session = '' } = req.visitor;
      return { person: person as Person, session, lunasec: req.lunasec, req };
    },
    formatError: (error) => (isForCustomers(error) ? error : failed(error)),
    onOperation: (_request, { contextValue }, result) => {
      const report = takeReport(contextValue);
      return report === undefined ? undefined : { ...result, extensions: { lunasec: report } };
    },
  });
}

/** Instead of what was asked for. */
function answered(status: number, message: string, headers: Record<string, string> = {}): Response {
  const body = JSON.stringify({ errors: [{ message, extensions: { code: 'refused' } }] });
  const statusText = STATUS_CODES[status] ?? '';
  return [body, { status, statusText, headers: { ...headers, 'content-type': 'application/json; charset=utf-8' } }];
}

/** What GraphQL itself says, and LunaSec's errors, which have a code and hold nothing; of others nobody is told. */
function isForCustomers(error: Readonly<Error>): boolean {
  return error instanceof GraphQLError && (error.originalError === undefined || error.extensions['code'] !== undefined);
}

/** For customers: an error without a code is none. */
function refused(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: 'refused' } });
}

function failed(error: Readonly<Error>): GraphQLError {
  say(String(error.stack));
  return new GraphQLError('something went wrong on our side');
}
