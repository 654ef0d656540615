// The same schema, asked through graphql-js itself, and over HTTP through Apollo Server and GraphQL Yoga.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { lunasecApollo, lunasecYoga, takeReport } from '@lunasec/node/graphql';
import { type GraphQLSchema, graphql } from 'graphql';
import { createYoga } from 'graphql-yoga';

export interface Context {
  session?: string | undefined;
}

export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they like
  data?: any;
  errors?: { message: string; path?: (string | number)[]; extensions: Record<string, unknown> }[];
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  extensions?: any;
}

export interface Question {
  readonly variables?: Record<string, unknown>;
  readonly session?: string;
}

export interface Server {
  readonly url: string;
  ask(source: string, question?: Question): Promise<Answer>;
  stop(): Promise<void>;
}

function direct(schema: GraphQLSchema): Server {
  return {
    url: '',
    async ask(source, { variables, session } = {}) {
      const contextValue: Context = { session };
      const result = await graphql({ schema, source, contextValue, variableValues: variables ?? null });
      const report = takeReport(contextValue);
      return JSON.parse(JSON.stringify(report ? { ...result, extensions: { lunasec: report } } : result)) as Answer;
    },
    stop: async () => undefined,
  };
}

function overHttp(url: string, stop: () => Promise<void>): Server {
  return {
    url,
    async ask(query, { variables, session } = {}) {
      const headers = {
        'content-type': 'application/json',
        ...(session === undefined ? {} : { 'x-session': session }),
      };
      // As text: JSON.stringify of an object with an own __proto__ keeps it.
      const body = JSON.stringify({ query, variables });
      const response = await fetch(url, { method: 'POST', headers, body });
      return (await response.json()) as Answer;
    },
    stop,
  };
}

async function apollo(schema: GraphQLSchema): Promise<Server> {
  const server = new ApolloServer<Context>({
    schema,
    plugins: [lunasecApollo()],
    includeStacktraceInErrorResponses: true,
  });
  const { url } = await startStandaloneServer(server, {
    listen: { port: 0, host: '127.0.0.1' },
    context: async ({ req }) => ({ session: req.headers['x-session'] as string | undefined }),
  });
  return overHttp(url, () => server.stop());
}

async function yoga(schema: GraphQLSchema): Promise<Server> {
  const made = createYoga<object, Context>({
    schema,
    logging: false,
    plugins: [lunasecYoga()],
    context: ({ request }) => ({ session: request.headers.get('x-session') ?? undefined }),
  });
  const server = createServer(made);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return overHttp(`http://127.0.0.1:${port}/graphql`, async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
}

export const SERVERS: Readonly<Record<string, (schema: GraphQLSchema) => Server | Promise<Server>>> = {
  'graphql-js': direct,
  'Apollo Server': apollo,
  'GraphQL Yoga': yoga,
};
