// A schema with a directive in every shape, whose resolvers give back what they were given.
import { makeExecutableSchema } from '@graphql-tools/schema';
import type { LunaSec, OnUnavailable } from '@lunasec/node';
import { type LunaSecDirectivesOptions, lunasecDirectives, lunasecTypeDefs } from '@lunasec/node/graphql';
import { GraphQLScalarType, type GraphQLSchema } from 'graphql';

import type { Context } from './servers.js';

const typeDefs = /* GraphQL */ `
  scalar JSON
  scalar CardNumber

  interface Named {
    name: String @detokenize
    secret(proof: ID @verify): String
  }
  type Person implements Named {
    id: ID!
    name: String
    secret(proof: ID): String
  }
  type Company implements Named {
    id: ID!
    name: String @detokenize(onUnavailable: MASK)
    secret(proof: ID): String
    vat: String @detokenize
  }
  union Owner = Person | Company

  type Card {
    id: ID
    token: ID @grant(expiresIn: "15m")
    brief: ID @grant(expiresIn: "1s")
    tokens: [ID!] @grant
    number: String @detokenize
    shown: String @detokenize(onUnavailable: MASK)
    surely: String! @detokenize
    numbers: [String] @detokenize
    allNumbers: [String!] @detokenize
    grid: [[String]] @detokenize
    masks: [[String]] @detokenize(onUnavailable: MASK)
    scalar: CardNumber @detokenize
    owner: Owner
    named: Named
    cards: [Card!]
  }

  input CardInput {
    number: String! @tokenize
    note: String
    kind: String = "usual" @tokenize
    aliases: [String!] @tokenize
    grid: [[String]] @tokenize
    scalar: CardNumber @tokenize
    proof: ID @verify
    backup: CardInput
    more: [[CardInput!]]
  }

  # These have no directive of their own, and lead to some.
  input Envelope {
    note: String
    inner: Envelope
    cards: [CardInput]
  }
  type Page {
    next: Page
    cards: [Card]
  }

  type Query {
    page: Page
    card(id: ID): Card
    cards: [Card]
    owners: [Owner]
    named: [Named]
    find(token: ID! @verify, tokens: [[ID]] @verify): JSON
  }

  type Mutation {
    value(value: String @tokenize, id: ID! = "by default" @tokenize, values: [String] @tokenize): JSON
    save(card: CardInput!): JSON
    saveAll(cards: [[CardInput!]!]! = [[{ number: "1" }]], plain: JSON): JSON
    send(envelope: Envelope!): JSON
    use(token: ID! @verify, value: String @tokenize): JSON
  }

  type Subscription {
    cards(session: ID @verify): Card
  }
`;

/** A list of errors and others, as a data source gives it. */
export interface Rows {
  card: unknown;
  page: unknown;
  cards: unknown;
  owners: unknown;
  named: unknown;
}

export interface Shop {
  readonly schema: GraphQLSchema;
  /** What the next queries find. */
  readonly rows: Rows;
  /** The fields whose resolvers ran. */
  readonly ran: string[];
  /** What a subscription gives. */
  events: AsyncIterable<unknown> | undefined;
}

export function shop(client: LunaSec<OnUnavailable>, options: Partial<LunaSecDirectivesOptions<Context>> = {}): Shop {
  const rows: Rows = { card: undefined, page: undefined, cards: undefined, owners: undefined, named: undefined };
  const ran: string[] = [];
  const gave = (field: string) => (_source: unknown, args: unknown) => {
    ran.push(field);
    return args;
  };
  const row = (field: keyof Rows) => () => {
    const value = rows[field];
    return typeof value === 'function' ? (value as () => unknown)() : value;
  };
  const typeOf = ({ vat }: { vat?: unknown }) => (vat === undefined ? 'Person' : 'Company');
  const made: { events: Shop['events'] } = { events: undefined };
  const resolvers = {
    JSON: new GraphQLScalarType({ name: 'JSON' }),
    CardNumber: new GraphQLScalarType({ name: 'CardNumber', parseValue: cardNumber, serialize: cardNumber }),
    Owner: { __resolveType: typeOf },
    Named: { __resolveType: typeOf },
    Person: { secret: (...given: [unknown, object]) => JSON.stringify(gave('secret')(...given)) },
    Query: {
      card: row('card'),
      page: row('page'),
      cards: row('cards'),
      owners: row('owners'),
      named: row('named'),
      find: gave('find'),
    },
    Mutation: {
      value: gave('value'),
      save: gave('save'),
      saveAll: gave('saveAll'),
      use: gave('use'),
      send: gave('send'),
    },
    Subscription: { cards: { subscribe: () => made.events, resolve: (card: unknown) => card } },
  };
  const schema = lunasecDirectives<Context>(
    makeExecutableSchema({ typeDefs: [lunasecTypeDefs, typeDefs], resolvers }),
    {
      client,
      session: ({ session }) => session,
      scalars: ['CardNumber'],
      ...options,
    },
  );
  return Object.assign(made, { schema, rows, ran });
}

function cardNumber(value: unknown): string {
  if (typeof value === 'string' && /^[\d ]+$/.test(value)) {
    return value;
  }
  throw new TypeError('this is no card number');
}
