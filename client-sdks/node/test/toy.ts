// A sidecar in a few lines, for what is not about the sidecar: the README's examples.
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';

type Body = Record<string, unknown>;

const ROUTES: Readonly<Record<string, (vault: Map<string, Body>, body: Body) => Body>> = {
  '/v1/tokenize': (vault, body) => tokenized(vault, body),
  '/v1/detokenize': (vault, { token }) => revealed(vault, token as string),
  '/v1/detokenize:batch': (vault, { tokens }) => items(tokens, (token) => ({ token, ...revealed(vault, token) })),
  '/v1/metadata/get': (vault, { token }) => {
    const { metadata } = vault.get(token as string) ?? {};
    return { metadata: metadata ?? {}, version: 1, created_at: '2026-01-02T03:04:05.678Z' };
  },
  '/v1/metadata/set': () => ({ durability: 'stored', version: 2 }),
  '/v1/grants/create': (_vault, { tokens }) =>
    items(tokens, (token) => ({ token, expires_at: '2026-01-02T03:04:05.678Z', durability: 'stored' })),
  '/v1/grants/verify': (_vault, { tokens }) =>
    items(tokens, (token) => ({ token, valid: true, expires_at: '2026-01-02T03:04:05.678Z' })),
  '/v1/grants/revoke': () => ({ durability: 'stored' }),
  '/v1/delete': (_vault, { tokens }) => items(tokens, (token) => ({ token, deleted: true, durability: 'stored' })),
};

function items(tokens: unknown, item: (token: string) => Body): Body {
  return { items: (tokens as string[]).map(item) };
}

function tokenized(vault: Map<string, Body>, body: Body): Body {
  const token = `lunasec-${randomUUID()}`;
  vault.set(token, body);
  return { token, durability: 'stored' };
}

function revealed(vault: Map<string, Body>, token: string): Body {
  const { value, encoding } = vault.get(token) ?? {};
  return { value, encoding: encoding ?? 'utf8' };
}

export function toySidecar(): Server {
  const vault = new Map<string, Body>();
  return createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
    }
    const body = JSON.parse(Buffer.concat(chunks).toString() || '{}') as Body;
    const answer = ROUTES[request.url ?? '']?.(vault, body);
    response.writeHead(answer ? 200 : 500, { 'content-type': 'application/json' }).end(JSON.stringify(answer ?? {}));
  });
}
