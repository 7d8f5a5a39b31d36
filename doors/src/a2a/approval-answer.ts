// Reads a person's answer to the questions of a task from a message: a data part, or a text that begins with yes or no.
import type { ApprovalAnswer } from '@fame-fabric/client';
import { textOf } from './parts.ts';
import { type Part, RequestMalformedError } from './sdk.ts';

const MAX_NOTE_CHARS = 2_000;
const DECISION = /^\s*(?:(yes|y|approve|approved|ok|allow)|(no|n|deny|denied|refuse|reject))\b[\s,.:;!-]*/i;

export interface MessageAnswer extends ApprovalAnswer {
  /** Id of the answered question. @default all open questions */
  callId?: string | undefined;
}

/**
 * Reads an answer: `{ approve: true, note?, callId? }` in a data part, or a text such as "yes" or "no, too expensive". The rest of the
 * text is the note. Returns undefined if the message has no answer.
 * @throws the errors of `textOf`
 */
export function readAnswer(parts: readonly Part[]): MessageAnswer | undefined {
  const text = textOf(parts);
  for (const { content } of parts) {
    if (content?.$case !== 'data') continue;
    const { approve, note, callId } = Object(content.value) as Record<string, unknown>;
    if (typeof approve !== 'boolean') continue;
    return {
      approve,
      note: noteOf(typeof note === 'string' ? note : ''),
      callId: typeof callId === 'string' ? callId : undefined,
    };
  }
  const decision = DECISION.exec(text);
  if (!decision) return undefined;
  return { approve: decision[1] !== undefined, note: noteOf(text.slice(decision[0].length)) };
}

function noteOf(text: string): string | undefined {
  const note = text.trim();
  if (note.length > MAX_NOTE_CHARS)
    throw new RequestMalformedError(
      `The note has ${note.length} characters; at most ${MAX_NOTE_CHARS} are allowed.`,
    );
  return note === '' ? undefined : note;
}
