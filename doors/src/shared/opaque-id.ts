// Ids that a door issues. They name an agent, a conversation and a turn, so that the door needs no table. They are not secret and grant no
// permission: the agent checks each use.

export interface OpaqueId {
  readonly agent: string;
  readonly conversation: string;
  readonly turn?: string | undefined;
  readonly extra?: string | undefined;
}

/** Maximum length of an id, in characters. */
export const MAX_ID_CHARS = 1_024;
const BASE64URL = /^[\w-]+$/;

/** Returns the id `prefix` and base64url of a JSON array, such as `resp_WyJjaGF0...`. */
export function encodeId(prefix: string, { agent, conversation, turn, extra }: OpaqueId): string {
  const fields = [agent, conversation, turn, extra].map((field) => field ?? null);
  while (fields.at(-1) === null) fields.pop();
  return prefix + Buffer.from(JSON.stringify(fields)).toString('base64url');
}

/** Reads an id. Undefined if it was not made by `encodeId` with this prefix. */
export function decodeId(prefix: string, text: string): OpaqueId | undefined {
  if (text.length > MAX_ID_CHARS || !text.startsWith(prefix)) return undefined;
  const encoded = text.slice(prefix.length);
  if (!BASE64URL.test(encoded)) return undefined;
  let fields: unknown;
  try {
    fields = JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields.length < 2 || fields.length > 4) return undefined;
  const isField = (field: unknown, i: number): boolean =>
    typeof field === 'string' ? field.isWellFormed() : field === null && i >= 2;
  if (!fields.every(isField)) return undefined;
  const [agent, conversation, turn, extra] = fields as (string | null)[];
  const id: OpaqueId = {
    agent: agent!,
    conversation: conversation!,
    turn: turn ?? undefined,
    extra: extra ?? undefined,
  };
  // Accepts one text for each id: base64url has several texts for the same bytes.
  return encodeId(prefix, id) === text ? id : undefined;
}
