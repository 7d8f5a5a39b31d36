// Reads the signed parts of a Data envelope from its bytes, without parsing the payload: its digest `pd` stands for it.
import { LIMITS } from '../limits.ts';
import { Scan } from '../router/json-scan.ts';
import type { SignedHeader } from './signed-text.ts';

const QUOTE = 34;
const COLON = 58;
/** A digest has at most 22 characters. */
const MAX_DIGEST = 32;

/** The parts of a Data envelope that its signature covers, and the field with the signature. */
export interface SignedData {
  readonly header: SignedHeader & { readonly sec?: unknown };
  /** Digest of the payload; `undefined` if there is none. */
  readonly pd: string | undefined;
}

const scan = new Scan();
let digestAt = 0;

function findDigest(bytes: Buffer, from: number, to: number): boolean {
  // In JSON.parse the last of two equal keys wins.
  if (to - from === 2 && bytes.toString('latin1', from, to) === 'pd') digestAt = to + 1;
  return true;
}

/** Reads an envelope that `readHeader` accepted; `frameAt` is the position of its frame. */
export function readSignedData(bytes: Buffer, frameAt: number): SignedData {
  digestAt = 0;
  const frameEnd = scan.reset(bytes).skipObject(frameAt, LIMITS.maxDepth - 1, findDigest);
  const header = `${bytes.toString('utf8', 0, frameAt)}null${bytes.toString('utf8', frameEnd)}`;
  return {
    header: JSON.parse(header) as SignedData['header'],
    pd: digestAt === 0 ? undefined : digestOf(bytes),
  };
}

function digestOf(bytes: Buffer): string | undefined {
  if (bytes[digestAt] !== COLON || bytes[digestAt + 1] !== QUOTE) return undefined;
  const from = digestAt + 2;
  const to = bytes.indexOf(QUOTE, from);
  return to < 0 || to - from > MAX_DIGEST ? undefined : bytes.toString('latin1', from, to);
}
