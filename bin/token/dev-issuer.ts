// A token issuer for development and tests: a key set and the client credentials grant (RFC 6749, 4.4) for one client, on loopback
// only. Its paths are those of naylence's development server, so nodes of naylence can use it.
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, FabricError, systemClock } from '@fame-fabric/shared';
import type { IssuerKey } from './issuer-key.ts';

const MAX_BODY_BYTES = 8_192;
const REQUEST_WITHIN_MS = 10_000;
const MAX_CONNECTIONS = 256;
const SCOPES = ['node.connect', 'node.trusted'];

export interface TokenRequest {
  readonly issuer: string;
  readonly audience: string;
  readonly lifetimeMs: number;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Issues a token that is valid from now on. */
export function issueToken(
  key: IssuerKey,
  { issuer, audience, lifetimeMs, claims }: TokenRequest,
  clock: Clock,
): string {
  const now = Math.floor(clock.now() / 1_000);
  // Rounded up, so that the token lives for at least the stated time.
  const exp = Math.ceil((clock.now() + lifetimeMs) / 1_000);
  return key.sign({ iss: issuer, aud: audience, iat: now, nbf: now, exp, ...claims });
}

export interface DevIssuerOptions {
  readonly key: IssuerKey;
  /** A loopback address. */
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Audience of tokens whose request names none. */
  readonly audience: string;
  readonly lifetimeMs: number;
  readonly clock?: Clock | undefined;
}

export interface DevIssuer {
  /** The issuer, as in the claim `iss`. */
  readonly url: string;
  close(): Promise<void>;
}

export const issuerUrl = (host: string, port: number): string =>
  `http://${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Starts the issuer. @throws {CONFIG_INVALID} when the port cannot be opened */
export async function startDevIssuer(options: DevIssuerOptions): Promise<DevIssuer> {
  const { host, port } = options;
  const server = createServer({ maxHeaderSize: 8_192 }, async (request, response) => {
    const { method, headers } = request;
    const route = `${method} ${request.url?.split('?')[0]}`;
    try {
      const form = method === 'POST' ? await readForm(request) : undefined;
      send(response, answerOf({ route, authorization: headers.authorization, form }, options, url));
    } catch {
      // The client closed its connection.
      response.destroy();
    }
  });
  server.requestTimeout = REQUEST_WITHIN_MS;
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE' ? 'it is taken. Choose another one with --port' : error.message;
      reject(new FabricError('CONFIG_INVALID', `Port ${port} on ${host} cannot be opened: ${reason}`));
    });
    server.listen(port, host, resolve);
  });
  const url = issuerUrl(host, (server.address() as AddressInfo).port);
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export interface IssuerRequest {
  /** Method and path. */
  readonly route: string;
  readonly authorization?: string | undefined;
  /** Undefined if it is too large. */
  readonly form?: URLSearchParams | undefined;
}

export interface IssuerAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

const failed = (status: number, error: string): IssuerAnswer => ({ status, body: { error } });

/** Answers a request to the issuer at `url`. */
export function answerOf(request: IssuerRequest, options: DevIssuerOptions, url: string): IssuerAnswer {
  switch (request.route) {
    case 'GET /.well-known/jwks.json':
      return { status: 200, body: { keys: [options.key.publicJwk] } };
    case 'GET /.well-known/openid-configuration': {
      const body = {
        issuer: url,
        token_endpoint: `${url}/oauth/token`,
        jwks_uri: `${url}/.well-known/jwks.json`,
        grant_types_supported: ['client_credentials'],
        scopes_supported: SCOPES,
        token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
        id_token_signing_alg_values_supported: ['EdDSA'],
      };
      return { status: 200, body };
    }
    case 'GET /health':
      return { status: 200, body: { status: 'ok' } };
    case 'POST /oauth/token':
      return grant(request, options, url);
    default:
      return failed(404, 'not_found');
  }
}

function grant(
  { authorization, form }: IssuerRequest,
  options: DevIssuerOptions,
  issuer: string,
): IssuerAnswer {
  if (form === undefined) return failed(413, 'invalid_request');
  const { audience, clientId, clientSecret, clock = systemClock, key, lifetimeMs } = options;
  const [id, secret] = clientOf(authorization, form);
  // Both are compared, so that the time of an answer reveals nothing.
  if (![isSame(id, clientId), isSame(secret, clientSecret)].every(Boolean))
    return failed(401, 'invalid_client');
  if (form.get('grant_type') !== 'client_credentials') return failed(400, 'unsupported_grant_type');
  const wanted =
    form
      .get('scope')
      ?.split(/[\s,]+/)
      .filter(Boolean) ?? [];
  const scopes = wanted.length === 0 ? ['node.connect'] : wanted.filter((scope) => SCOPES.includes(scope));
  if (scopes.length === 0) return failed(400, 'invalid_scope');
  const scope = scopes.join(' ');
  const claims = { sub: clientId, client_id: clientId, scope };
  const token = issueToken(
    key,
    { issuer, audience: form.get('audience') || audience, lifetimeMs, claims },
    clock,
  );
  const expiresIn = Math.floor(lifetimeMs / 1_000);
  return { status: 200, body: { access_token: token, token_type: 'Bearer', expires_in: expiresIn, scope } };
}

/** Id and secret of the client: from the Basic header, else from the form. */
function clientOf(authorization = '', form: URLSearchParams): [id: string, secret: string] {
  const [, basic] = /^basic +([\w+/=]+)$/i.exec(authorization) ?? [];
  if (basic === undefined) return [form.get('client_id') ?? '', form.get('client_secret') ?? ''];
  const text = Buffer.from(basic, 'base64').toString();
  const colon = text.indexOf(':');
  return [text.slice(0, colon), text.slice(colon + 1)];
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();
const isSame = (a: string, b: string): boolean => timingSafeEqual(digestOf(a), digestOf(b));

/** Reads a form. Undefined if it is too large. */
async function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return undefined;
  let text = '';
  request.setEncoding('latin1');
  for await (const piece of request) {
    text += piece;
    if (text.length > MAX_BODY_BYTES) return undefined;
  }
  return new URLSearchParams(text);
}

function send(response: ServerResponse, { status, body }: IssuerAnswer): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    ...(status === 401 && { 'www-authenticate': 'Basic realm="token"' }),
  });
  response.end(JSON.stringify(body));
}
