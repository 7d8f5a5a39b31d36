// Reads the credential of a request. There are two carriers here (`session-cookies.ts` is the one for pages
// of the sentinel): the Authorization header, and for browsers, which cannot set headers
// on a WebSocket, the subprotocol `bearer, TOKEN`. A credential is never read from a URL, since URLs are logged.

export type Credential =
  | { readonly kind: 'none' }
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** The headers that may carry a credential. */
export interface CredentialHeaders {
  readonly authorization?: string | undefined;
  readonly 'sec-websocket-protocol'?: string | undefined;
}

const NONE: Credential = Object.freeze({ kind: 'none' });
/** Printable ASCII without blanks. */
const BEARER = /^bearer +([\x21-\x7e]+)$/i;

/** Subprotocol under which browsers send a token. The server must select it, and never the token that follows. */
export const BEARER_PROTOCOL = 'bearer';

export function credentialOf(headers: CredentialHeaders): Credential {
  const { authorization, 'sec-websocket-protocol': protocols } = headers;
  if (authorization !== undefined) {
    const token = BEARER.exec(authorization)?.[1];
    return token === undefined
      ? unreadable('The Authorization header must be "Bearer TOKEN"')
      : { kind: 'bearer', token };
  }
  const offered = protocols?.split(',').map((protocol) => protocol.trim());
  if (!offered?.includes(BEARER_PROTOCOL)) return NONE;
  const [first, token, ...more] = offered;
  return first !== BEARER_PROTOCOL || !token || more.length > 0
    ? unreadable('The offered subprotocols must be "bearer, TOKEN"')
    : { kind: 'bearer', token };
}

const unreadable = (reason: string): Credential => ({ kind: 'unreadable', reason });
