// Resume tokens: 128 random bits each. A session keeps the digest of its token, never the token.
import { hash, randomFillSync } from 'node:crypto';

const TOKEN_BYTES = 16;
/** Random bytes of the next tokens. They are drawn for many tokens at once, because a draw takes longer than its bytes. */
const drawn = Buffer.alloc(64 * TOKEN_BYTES);
let drawnAt = drawn.length;

export function newToken(): string {
  if (drawnAt === drawn.length) {
    randomFillSync(drawn);
    drawnAt = 0;
  }
  const from = drawnAt;
  drawnAt += TOKEN_BYTES;
  const token = drawn.toString('base64url', from, drawnAt);
  drawn.fill(0, from, drawnAt);
  return token;
}

/** Digest of a resume token, as a compact string, because each idle session keeps one. */
export const tokenDigest = (token: string): string => hash('sha256', token, 'binary');
