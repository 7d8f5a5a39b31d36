// The parts of messages and artifacts. Agents of the fabric take texts and data objects; their artifacts may also have files.
import type { Message as FameMessage, Part as FamePart } from '@fame-fabric/shared';
import { ContentTypeNotSupportedError, type Message, type Part, RequestMalformedError, Role } from './sdk.ts';

type Data = Record<string, unknown>;

/** Maximum parts of a message. */
const MAX_PARTS = 100;
/** Key in the metadata of a message of the fabric for the id of the A2A message. */
const MESSAGE_ID = 'messageId';

export const textPart = (value: string): Part => ({
  content: { $case: 'text', value },
  metadata: undefined,
  filename: '',
  mediaType: '',
});

export const dataPart = (value: unknown): Part => ({
  content: { $case: 'data', value },
  metadata: undefined,
  filename: '',
  mediaType: '',
});

/** Converts a message of a client for an agent with task methods. @throws the errors of `famePartsOf` */
export const fameMessageOf = (message: Message): FameMessage => ({
  role: 'user',
  parts: famePartsOf(message.parts),
  metadata: { ...message.metadata, [MESSAGE_ID]: message.messageId },
});

/**
 * Converts parts for an agent with task methods. A data value that is not an object becomes `{ value }`.
 * @throws ContentTypeNotSupportedError for files, and for texts of a media type that is not text
 */
function famePartsOf(parts: readonly Part[]): FamePart[] {
  checkParts(parts);
  return parts.map(({ content, metadata }) => {
    if (content?.$case === 'text') return { type: 'text', text: content.value, metadata: metadata ?? null };
    const value: unknown = content?.value;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    const data = isObject ? (value as Data) : { value };
    return { type: 'data', data, metadata: metadata ?? null };
  });
}

/** Returns the text of a message for a chat agent. Data becomes JSON. @throws as `famePartsOf` */
export function textOf(parts: readonly Part[]): string {
  checkParts(parts);
  return parts
    .map(({ content }) =>
      content?.$case === 'text' ? content.value : JSON.stringify(content?.value ?? null),
    )
    .join('\n');
}

function checkParts(parts: readonly Part[]): void {
  if (parts.length === 0) throw new RequestMalformedError('message.parts: at least one part is required');
  if (parts.length > MAX_PARTS)
    throw new RequestMalformedError(`message.parts: ${parts.length} parts; at most ${MAX_PARTS} are allowed`);
  for (const [index, { content, mediaType }] of parts.entries()) {
    if (!content) throw new RequestMalformedError(`message.parts[${index}]: text or data is required`);
    const isSupported =
      content.$case === 'text'
        ? mediaType === '' || /^text\//i.test(mediaType)
        : content.$case === 'data' &&
          (mediaType === '' || /^application\/(?:[\w.+-]+\+)?json\b/i.test(mediaType));
    if (!isSupported)
      throw new ContentTypeNotSupportedError(
        `message.parts[${index}]: the agent takes text and data. Files and other media are not supported.`,
      );
  }
}

/** Converts the parts of an agent. */
export const partsOf = (parts: readonly FamePart[]): Part[] => parts.map(partOf);

function partOf(part: FamePart): Part {
  const metadata = part.metadata ?? undefined;
  if (part.type === 'text') return { ...textPart(part.text), metadata };
  if (part.type === 'data') return { ...dataPart(part.data), metadata };
  const { name, mimeType, bytes, uri } = part.file;
  const content: Part['content'] =
    typeof bytes === 'string'
      ? { $case: 'raw', value: Buffer.from(bytes, 'base64') }
      : { $case: 'url', value: uri ?? '' };
  return { content, metadata, filename: name ?? '', mediaType: mimeType ?? '' };
}

/** Ids of a message of a task. */
export interface MessageIds {
  readonly messageId: string;
  readonly taskId: string;
  readonly contextId: string;
}

/** Makes a message of the agent. */
export const agentMessage = (ids: MessageIds, parts: Part[]): Message => ({
  ...ids,
  role: Role.ROLE_AGENT,
  parts,
  metadata: undefined,
  extensions: [],
  referenceTaskIds: [],
});

/** Makes a message of the user. */
export const userMessage = (ids: MessageIds, parts: Part[]): Message => ({
  ...agentMessage(ids, parts),
  role: Role.ROLE_USER,
});

/** Converts a message of the fabric. Messages of A2A clients keep their id; others get `ids.messageId`. */
export function messageOf({ role, parts, metadata }: FameMessage, ids: MessageIds): Message {
  const { [MESSAGE_ID]: given, ...rest } = metadata ?? {};
  const messageId = typeof given === 'string' && given !== '' ? given : ids.messageId;
  const make = role === 'user' ? userMessage : agentMessage;
  return {
    ...make({ ...ids, messageId }, partsOf(parts)),
    metadata: Object.keys(rest).length > 0 ? rest : undefined,
  };
}
