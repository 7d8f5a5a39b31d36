// Compares the history that a chat client sends with the journal. Only user messages are compared: clients leave out old messages, tools
// and reasoning, and they change the system prompt from day to day.
import { hash } from '../shared/retry-key.ts';
import type { SentMessages, SentRun } from './chat-messages.ts';

/** A question of the user in the journal. */
export interface KnownQuestion {
  readonly text: string;
  /** The answer; undefined before it exists. */
  readonly answer: string | undefined;
}

/** A question of the user in a request. `answer` is undefined if the client sent none. */
export type SentQuestion = KnownQuestion;

/** The place of a new message. */
export interface Match {
  /** Questions of the journal that the new message follows. */
  readonly kept: number;
  /** Number of questions of the request among those. If the request has more, the next one was edited. */
  readonly used: number;
}

/** Maximum messages of one run that are compared with the journal individually. */
const MAX_RUN = 32;

/** The text of a question or an answer for the comparison. */
export const comparable = (text: string): string =>
  hash(text.normalize('NFC').replaceAll('\r\n', '\n').trim());

/** The text of consecutive user messages, which are one turn. */
export const joined = (texts: readonly string[]): string => texts.join('\n\n');

/**
 * Returns the earlier questions of a request and the text of the new one. Consecutive user messages are one question, unless the
 * journal has some of them as separate turns, because these failed.
 */
export function questionsOf(
  { runs, texts }: Pick<SentMessages, 'runs' | 'texts'>,
  known: ReadonlySet<string>,
): { history: SentQuestion[]; text: string } {
  const history = runs.flatMap((run) => split(run, known).questions);
  const last = split({ texts, answer: undefined }, known, true);
  return { history: [...history, ...last.questions], text: last.rest };
}

/** @param keepsLast true to leave the last message out of the questions */
function split(
  { texts, answer }: SentRun,
  known: ReadonlySet<string>,
  keepsLast = false,
): { questions: SentQuestion[]; rest: string } {
  const questions: SentQuestion[] = [];
  let from = 0;
  const end = keepsLast ? texts.length - 1 : texts.length;
  while (from < end && texts.length <= MAX_RUN) {
    const to = lastKnown(texts, from, end, known);
    if (to === undefined) break;
    questions.push({ text: comparable(joined(texts.slice(from, to))), answer: undefined });
    from = to;
  }
  const rest = joined(texts.slice(from));
  if (!keepsLast && from < end) questions.push({ text: comparable(rest), answer: undefined });
  const last = questions.pop();
  if (last) questions.push({ ...last, answer: answer === undefined ? undefined : comparable(answer) });
  return { questions, rest };
}

/** The end of the longest run of messages from `from` that is one known question. */
function lastKnown(
  texts: readonly string[],
  from: number,
  end: number,
  known: ReadonlySet<string>,
): number | undefined {
  for (let to = end; to > from; to--) {
    if (known.has(comparable(joined(texts.slice(from, to))))) return to;
  }
  return undefined;
}

export interface MatchOptions {
  /** The new question; undefined if the request brings only results of calls. */
  readonly next: string | undefined;
  /** True if the client sends its whole history, so that a single question is the first one. */
  readonly sendsHistory: boolean;
  /** True if the first question of the request is the first one of the journal. */
  readonly isFromStart: boolean;
}

/** Finds the place of the new message of a request in the journal. */
export function matchHistory(
  sent: readonly SentQuestion[],
  known: readonly KnownQuestion[],
  { next, sendsHistory, isFromStart }: MatchOptions,
): Match {
  const all = next === undefined ? sent : [...sent, { text: next, answer: undefined }];
  const whole = commonStart(all, known);
  // The request ends with the last question of the journal again: the client wants another answer.
  const isAgain = next !== undefined && whole === all.length && whole === known.length;
  if (isAgain) return { kept: sent.length, used: sent.length };
  const start = Math.min(whole, sent.length);
  if (isFromStart) return { kept: start, used: start };
  if (sent.length === 0) {
    const kept = sendsHistory ? 0 : known.length;
    return { kept, used: 0 };
  }
  if (endsAt(sent, known, known.length)) return { kept: known.length, used: sent.length };
  if (start === sent.length) return { kept: start, used: start };
  for (let kept = known.length - 1; kept >= sent.length; kept--) {
    if (endsAt(sent, known, kept)) return { kept, used: sent.length };
  }
  return { kept: start, used: start };
}

/** Number of equal questions at the start. */
function commonStart(sent: readonly SentQuestion[], known: readonly KnownQuestion[]): number {
  let count = 0;
  while (count < sent.length && sent[count]?.text === known[count]?.text) count++;
  return count;
}

/** True if the first `kept` questions of the journal end with those of the request, or vice versa. */
function endsAt(sent: readonly SentQuestion[], known: readonly KnownQuestion[], kept: number): boolean {
  const overlap = Math.min(sent.length, kept);
  if (overlap === 0) return false;
  for (let i = 1; i <= overlap; i++) if (sent.at(-i)!.text !== known[kept - i]!.text) return false;
  return true;
}
