// What can be told of a message that the codec refuses: enough of its header to say so to whoever waits for an answer.
import type { Envelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { isRpcReply } from '../protocol/rpc.ts';

export interface Salvaged extends Partial<Envelope> {
  /** It is an answer, so nobody waits for an answer to it. */
  isReply: boolean;
}

const decoder = new TextDecoder();
const FIELDS = ['id', 'traceId', 'to', 'replyTo', 'corrId', 'flowId'] as const;

/** The readable header of a refused Data message; `undefined` when there is none. */
export function salvage(bytes: Uint8Array): Salvaged | undefined {
  if (bytes.byteLength > LIMITS.maxFrameBytes) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    // Not JSON: there is nothing to answer to, and the refusal itself is logged already.
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const envelope = value as Record<string, unknown>;
  const frame = envelope.frame as { type?: unknown; payload?: unknown } | null | undefined;
  if (typeof frame !== 'object' || frame === null || frame.type !== 'Data') return undefined;
  const header: Salvaged = { isReply: isRpcReply(frame.payload) };
  for (const field of FIELDS) {
    const text = envelope[field];
    if (typeof text === 'string' && text.length <= LIMITS.maxIdBytes) header[field] = text;
  }
  return header;
}
