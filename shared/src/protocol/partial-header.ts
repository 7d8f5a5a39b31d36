// Reads the header of messages that the codec refuses.
import { LIMITS } from './limits.ts';
import { isRpcReply } from './rpc.ts';

const FIELDS = ['id', 'traceId', 'to', 'replyTo', 'corrId', 'flowId'] as const;

/** The readable header fields of a message that is not a valid envelope. */
export interface PartialHeader {
  readonly id?: string;
  readonly traceId?: string;
  readonly to?: string;
  readonly replyTo?: string;
  readonly corrId?: string;
  readonly flowId?: string;
  /** `frame.type` as received, even if it is unknown. */
  readonly frameType: string | undefined;
  /** True if the payload is a JSON-RPC reply, to which no answer is expected. */
  readonly isReply: boolean;
}

const decoder = new TextDecoder();

/** Nodes write the frame behind the header. Quotes inside a text are escaped, so no text contains this. */
const FRAME_KEY = ',"frame":{"type":"Data"';

// Parses a message, or the header alone if the payload is broken. Sentinels do not check the inside of long texts.
function parseMessage(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const frameAt = text.indexOf(FRAME_KEY);
    if (frameAt < 0) return undefined;
    try {
      return JSON.parse(`${text.slice(0, frameAt)}${FRAME_KEY}}}`);
    } catch {
      // The header is broken too. The caller of this function logs the refusal.
      return undefined;
    }
  }
}

/**
 * Reads the header fields of a message that the codec refused, so that the refusal can be sent to the caller. Returns
 * `undefined` if the message is longer than `maxBytes` or not a JSON object. @default maxBytes the largest frame
 */
export function parsePartialHeader(
  bytes: Uint8Array,
  maxBytes: number = LIMITS.maxFrameBytes,
): PartialHeader | undefined {
  if (bytes.byteLength > maxBytes) return undefined;
  const message = parseMessage(decoder.decode(bytes));
  if (typeof message !== 'object' || message === null) return undefined;
  const { frame, ...fields } = message as Record<string, unknown>;
  const { type, payload } = (frame ?? {}) as { type?: unknown; payload?: unknown };
  const header: { -readonly [Field in keyof PartialHeader]: PartialHeader[Field] } = {
    frameType: typeof type === 'string' ? type : undefined,
    isReply: isRpcReply(payload),
  };
  for (const field of FIELDS) {
    const text = fields[field];
    if (typeof text === 'string' && text.length <= LIMITS.maxIdBytes) header[field] = text;
  }
  return header;
}
