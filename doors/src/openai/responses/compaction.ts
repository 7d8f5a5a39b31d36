// Compaction items: the summary of a conversation in the place of its messages. The client sends it back as it is.
import { invalid } from '../openai-error.ts';

/** Content of a compaction item. It has no secret: the summary comes from messages that the client sent. */
export const compactionOf = (summary: string): string =>
  Buffer.from(JSON.stringify({ summary })).toString('base64url');

/** Reads a compaction item as text for the model. @throws {PARAMS_INVALID} if no door made it */
export function summaryOf(
  { encrypted_content: content }: Readonly<Record<string, unknown>>,
  at: string,
): string {
  try {
    const { summary } = JSON.parse(Buffer.from(String(content), 'base64url').toString('utf8')) as {
      summary?: unknown;
    };
    if (typeof summary === 'string') return `Summary of the conversation so far:\n${summary}`;
  } catch {
    // Reported below.
  }
  throw invalid(`${at}.encrypted_content`, 'was not made by POST /v1/responses/compact of this door.');
}
