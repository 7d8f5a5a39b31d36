// An ability: a function that an agent may call. Its return value decides how the turn continues: a text is shown to the user, no
// value means no reply, and any other JSON goes back to the agent, which is asked again. Running an ability never throws; a failure
// is an outcome too.
import { type Clock, type FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import { cutText, timeText } from '@fame-fabric/shared/internal';
import type { z } from 'zod';
import type { ContextLink, Outbound } from '../agent/operation.ts';
import { ScopedLink } from '../agent/scoped-link.ts';
import type { ApprovalRule } from '../tools/approval-rule.ts';
import type { JsonObject, JsonValue } from '../tools/schema/json-schema.ts';
import type { ToolFaultCode } from '../tools/tool-outcome.ts';

// Ability modules may have their own copy of this file, so replies are recognized by a mark and not by their class.
const MARK = Symbol.for('fame-fabric.reply');

/** A return value with an explicit meaning. */
export class Reply {
  readonly [MARK] = true;
  readonly kind: 'text' | 'silent' | 'data' | 'handoff';
  readonly value: JsonValue;

  constructor(kind: Reply['kind'], value: JsonValue) {
    this.kind = kind;
    this.value = value;
  }
}

/** Return values for abilities, where the plain value would mean something else. */
export const reply = Object.freeze({
  /** Shown to the user; ends the turn. */
  text: (text: string): Reply => new Reply('text', text),
  /** No reply; ends the turn. */
  silent: (): Reply => new Reply('silent', null),
  /** Goes to the agent, also when it is a text. */
  data: (value: JsonValue): Reply => new Reply('data', value),
  /** Hands the message over to another agent. */
  handoff: (agent: string): Reply => new Reply('handoff', agent),
});

export interface AbilityContext {
  /** Aborts when the turn is cancelled or the ability reaches its time limit. */
  readonly signal: AbortSignal;
  readonly callId: string;
  /** The agent that called. */
  readonly agent: string;
  readonly conversationId: string | undefined;
  /**
   * Calls other agents over the link of this agent. The calls carry the trace id, the remaining hops and the remaining time of the
   * turn, and are cancelled when `signal` aborts. Without an agent on a link, each use fails with LINK_MISSING.
   */
  readonly link: ContextLink;
  readonly log: Logger;
  /** Shows a text to the user at once; it is not part of the result. */
  emit(text: string): void;
}

export type AbilityReturn = string | null | undefined | JsonValue | Reply;
// biome-ignore lint/suspicious/noExplicitAny: arguments are checked against the agent file before the call
type AbilityArgs = any;
export type AbilityFn = (
  args: AbilityArgs,
  context: AbilityContext,
) => AbilityReturn | Promise<AbilityReturn>;

/** An ability with its own definition, so that an agent file needs only its name. */
export interface AbilityDef {
  readonly name: string;
  readonly description: string;
  readonly parameters: z.ZodObject;
  readonly timeoutMs?: number;
  /** False if a call that was interrupted by a crash must not be repeated. @default true */
  readonly idempotent?: boolean;
  /** @default no call needs approval */
  readonly approval?: ApprovalRule<AbilityArgs>;
  execute: AbilityFn;
}

/** Abilities by name: a module whose exports are functions, or an object of them. */
export type AbilityModule = Readonly<Record<string, AbilityFn | AbilityDef>>;

type AbilityFaultCode =
  | Extract<ToolFaultCode, 'timeout' | 'failed' | 'not_json' | 'aborted'>
  | FabricError['code'];

export type AbilityOutcome =
  | { kind: 'text'; text: string }
  | { kind: 'silent' }
  | { kind: 'data'; json: string }
  | { kind: 'handoff'; agent: string }
  | { kind: 'error'; code: AbilityFaultCode; message: string; cause?: unknown };

/** Maximum length of a result, in UTF-16 units. Of a longer one the agent gets the beginning, with a mark. */
const MAX_RESULT_CHARS = 65_536;
export const DEFAULT_TIMEOUT_MS = 30_000;

export interface RunAbilityOptions {
  timeoutMs: number;
  clock: Clock;
  /** Of the turn. */
  signal: AbortSignal;
}

/** Runs an ability. A result that arrives after the timeout or an abort is dropped. */
export async function runAbility(
  ability: AbilityFn,
  args: JsonObject,
  context: Omit<AbilityContext, 'signal' | 'link'> & { link: Outbound },
  options: RunAbilityOptions,
): Promise<AbilityOutcome> {
  const { timeoutMs, clock, signal: outer } = options;
  if (outer.aborted) return { kind: 'error', code: 'aborted', message: 'the turn was aborted' };
  const inner = new AbortController();
  const endsAt = clock.monotonic() + timeoutMs;
  const leftMs = (): number => endsAt - clock.monotonic();
  const link = new ScopedLink(context.link, { signal: inner.signal, leftMs });
  const { promise: stopped, resolve: stop } = Promise.withResolvers<AbilityOutcome>();
  const onAbort = (): void => {
    inner.abort(outer.reason);
    stop({ kind: 'error', code: 'aborted', message: 'the turn was aborted' });
  };
  outer.addEventListener('abort', onAbort, { once: true });
  const timer = clock.after(timeoutMs, () => {
    const message = `timed out after ${timeText(timeoutMs)}`;
    inner.abort(new DOMException(message, 'TimeoutError'));
    stop({ kind: 'error', code: 'timeout', message });
  });
  let isOver = false;
  const emit = (text: string): void => {
    if (!isOver && text !== '') context.emit(text);
  };
  const work = (async () =>
    outcomeOf(await ability(args, { ...context, link, emit, signal: inner.signal })))();
  try {
    return await Promise.race([work.catch(failure), stopped]);
  } finally {
    isOver = true;
    timer.stop();
    outer.removeEventListener('abort', onAbort);
  }
}

// The model reads the messages of our own errors. Any other error goes to the log only.
const failure = (cause: unknown): AbilityOutcome => ({
  kind: 'error',
  code: isFabricError(cause) ? cause.code : 'failed',
  message: isFabricError(cause) ? cause.message : 'the function failed',
  cause,
});

const isReply = (value: unknown): value is Reply =>
  typeof value === 'object' && value !== null && (value as { [MARK]?: unknown })[MARK] === true;

function outcomeOf(value: unknown): AbilityOutcome {
  if (isReply(value)) {
    if (value.kind === 'silent') return { kind: 'silent' };
    if (value.kind === 'text') return { kind: 'text', text: String(value.value) };
    if (value.kind === 'handoff') return { kind: 'handoff', agent: String(value.value) };
    return dataOf(value.value);
  }
  if (value === null || value === undefined) return { kind: 'silent' };
  if (typeof value === 'string') return { kind: 'text', text: value };
  return dataOf(value);
}

function dataOf(value: unknown): AbilityOutcome {
  const notJson: AbilityOutcome = {
    kind: 'error',
    code: 'not_json',
    message: 'the function returned something that is not JSON',
  };
  try {
    const json = JSON.stringify(value) as string | undefined;
    if (json === undefined) return notJson;
    if (json.length <= MAX_RESULT_CHARS) return { kind: 'data', json };
    const beginning = cutText(json, MAX_RESULT_CHARS, '');
    return { kind: 'data', json: JSON.stringify({ truncated: true, chars: json.length, beginning }) };
  } catch (cause) {
    return { ...notJson, cause };
  }
}

/** Collects abilities by name. Of two with the same name the later module wins. */
export function abilitiesOf(modules: readonly AbilityModule[]): Map<string, AbilityFn | AbilityDef> {
  return new Map(modules.flatMap((module) => Object.entries(module)));
}
