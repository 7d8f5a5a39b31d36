// The `sid` field of envelopes: a hash of the sender's path, base62 of the first 16 bytes of SHA-256.
import { createHash } from 'node:crypto';

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** Computes the sid of a physical path: `/RKsXiRss762vzbhZ` has the sid `1Onwe2yOg0dNOM8EPMDvK0`. */
export function sidOf(path: string): string {
  const digest = createHash('sha256').update(path, 'utf8').digest('hex').slice(0, 32);
  let number = BigInt(`0x${digest}`);
  let text = '';
  do {
    text = DIGITS[Number(number % 62n)] + text;
    number /= 62n;
  } while (number > 0n);
  return text;
}
