import type { LunaSec } from '@lunasec/node';
import type { RequestLunaSec } from '@lunasec/node/express';
import { lunasecDirectives, lunasecTypeDefs, takeReport } from '@lunasec/node/graphql';
import type { Request, RequestHandler } from 'express';
import { buildSchema, GraphQLError } from 'graphql';
import { createHandler } from 'graphql-http/lib/use/express';

import { say } from './log.js';
import { NOT_THEIRS, type Order, type Orders, productOf } from './orders.js';
import type { Customer, People, Person } from './people.js';
import { lastFour } from './private.js';

const typeDefs = /* GraphQL */ `
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
export function graphql(client: LunaSec, people: People, orders: Orders): RequestHandler {
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
    schema,
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
