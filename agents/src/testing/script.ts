// Scripted answers, for the scripted model (in memory) and the fake OpenAI server (real bytes): a list of steps, played in order.
// A script waits at gates that the test opens; it uses no timers.
import { untilAborted } from '@fame-fabric/shared/internal';
import type { FinishReason, ModelChunk, ModelRequest, ModelWait, Usage } from '../model/model.ts';

/** A point where the script waits for the test. */
export interface Gate {
  readonly wait: Promise<unknown>;
  /** Called when the script reaches the gate. */
  arrive?(): void;
}

/** A gate with its handle: `reached` resolves when the script arrives, `open()` lets it continue. */
export interface ControlledGate extends Gate {
  readonly reached: Promise<void>;
  open(): void;
}

/** Makes a gate that stays closed until `open()`. */
export function gate(): ControlledGate {
  const opened = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  return {
    wait: opened.promise,
    reached: reached.promise,
    arrive: reached.resolve,
    open: opened.resolve,
  };
}

/** Makes a piece of reasoning. */
export const reasoning = (text: string): ModelChunk => ({
  choices: [{ index: 0, delta: { reasoning: text } }],
});

/** Makes a gate that never opens: the stream is silent until the reader leaves. */
export const stall = (): ScriptStep => ({ wait: new Promise(() => {}) });

export type ScriptStep =
  /** A piece of text. */
  | string
  /** A chunk, sent unchanged. */
  | ModelChunk
  /** Waits. */
  | Gate
  /** Fails the stream; over HTTP, with an `error` event. */
  | { readonly fail: Error }
  /** Cuts the connection. */
  | { readonly disconnect: true }
  /** Reports a wait before the request is repeated, for the scripted model only. The fake server answers with an error instead. */
  | { readonly retry: ModelWait }
  /** Raw bytes of the response body, for the fake server only. */
  | { readonly bytes: Uint8Array | string };

export interface ScriptReply {
  /** Matches the requests that this reply answers. @default all */
  when?: (request: ModelRequest) => boolean;
  steps: readonly ScriptStep[];
  /** `null` sends none. @default tool_calls if the reply has one, else stop */
  finish?: FinishReason | null;
  /** `null` sends none. @default DEFAULT_USAGE */
  usage?: Usage | null;
  /** Number of requests that it answers. A reply with `Infinity` may stay unused. @default 1 */
  times?: number;
}

/** A reply, its text, its steps, or a function that makes one from the request. */
export type Scripted<Reply extends ScriptReply = ScriptReply> =
  | string
  | readonly ScriptStep[]
  | Reply
  | ((request: ModelRequest, index: number) => string | readonly ScriptStep[] | Reply);

export const DEFAULT_USAGE: Usage = Object.freeze({
  prompt_tokens: 10,
  completion_tokens: 5,
  total_tokens: 15,
});

/** Cuts a text into pieces of `size` UTF-16 units, even through surrogate pairs; the last may be shorter. */
export const pieces = (text: string, size: number): string[] =>
  Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));

type ReplyOptions = Omit<ScriptReply, 'steps'>;

/** Makes a text answer, in chunks of `chunkChars` characters. */
export const reply = (text: string, o: ReplyOptions & { chunkChars?: number } = {}): ScriptReply => {
  const { chunkChars = Math.max(1, text.length), ...rest } = o;
  return { steps: pieces(text, chunkChars), ...rest };
};

export interface ScriptedCall {
  name: string;
  /** An object is sent as JSON, a string unchanged. */
  arguments: Record<string, unknown> | string;
  /** @default call_<number of the call, over the whole run> */
  id?: string;
}

let callCount = 0;

/** Makes the chunks of one tool call: its opening delta, then the arguments in pieces of `chunkChars`. */
export function callChunks(
  call: ScriptedCall,
  o: { index?: number | undefined; chunkChars?: number | undefined } = {},
): ModelChunk[] {
  const { index = 0 } = o;
  const text = typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments);
  callCount += 1;
  const id = call.id ?? `call_${callCount}`;
  return [
    {
      choices: [
        { index: 0, delta: { tool_calls: [{ index, id, function: { name: call.name, arguments: '' } }] } },
      ],
    },
    ...pieces(text, o.chunkChars ?? Math.max(1, text.length)).map(
      (part): ModelChunk => ({
        choices: [{ index: 0, delta: { tool_calls: [{ index, function: { arguments: part } }] } }],
      }),
    ),
  ];
}

/** Makes an answer with tool calls, after an optional text. */
export const callTools = (
  list: ScriptedCall | readonly ScriptedCall[],
  o: ReplyOptions & { chunkChars?: number; text?: string } = {},
): ScriptReply => {
  const { chunkChars, text, ...rest } = o;
  const all = Array.isArray(list) ? (list as readonly ScriptedCall[]) : [list as ScriptedCall];
  return {
    steps: [
      ...(text ? [text] : []),
      ...all.flatMap((call, index) => callChunks(call, { index, chunkChars })),
    ],
    ...rest,
  };
};

/** Makes an answer that fails, after an optional text. */
export const failing = (error: Error, text = '', o: ReplyOptions = {}): ScriptReply => ({
  steps: [...(text ? [text] : []), { fail: error }],
  ...o,
});

/** Makes a matcher: the last user message contains `text`, or matches it. */
export const lastUser =
  (text: string | RegExp) =>
  (request: ModelRequest): boolean => {
    const content = request.messages.findLast((message) => message.role === 'user')?.content ?? '';
    return typeof text === 'string' ? content.includes(text) : text.test(content);
  };

/** Makes a matcher: a system message contains `text`. */
export const system =
  (text: string) =>
  (request: ModelRequest): boolean =>
    request.messages.some((message) => message.role === 'system' && message.content.includes(text));

type Played =
  | { chunk: ModelChunk }
  | { fail: Error }
  | { disconnect: true }
  | { retry: ModelWait }
  | { bytes: Uint8Array | string };

/** Normalizes a script to a reply. */
export const asReply = <Reply extends ScriptReply>(
  script: Scripted<Reply>,
  request: ModelRequest,
  index: number,
): Reply | ScriptReply => {
  if (typeof script === 'function') return asReply(script(request, index), request, index);
  if (typeof script === 'string') return reply(script);
  return 'steps' in script ? script : { steps: script };
};

/**
 * Plays a reply: its steps, then its finish and its usage. Rejects with the signal's reason while it waits. `beforeWait`
 * runs when a gate is reached, before `reached` resolves.
 */
export async function* play(
  script: ScriptReply,
  signal: AbortSignal,
  beforeWait?: () => Promise<void>,
): AsyncGenerator<Played, void> {
  let hasCalls = false;
  let finished = script.finish === null;
  for (const step of script.steps) {
    signal.throwIfAborted();
    if (typeof step === 'string') {
      yield { chunk: { choices: [{ index: 0, delta: { content: step } }] } };
    } else if ('choices' in step) {
      hasCalls ||= step.choices.some((choice) => choice.delta.tool_calls?.length);
      finished ||= step.choices.some((choice) => choice.finish_reason);
      yield { chunk: step };
    } else if ('wait' in step) {
      await beforeWait?.();
      step.arrive?.();
      await untilAborted(step.wait, signal);
    } else {
      yield step;
      if (!('bytes' in step || 'retry' in step)) return;
    }
  }
  if (!finished) {
    const finish_reason = script.finish ?? (hasCalls ? 'tool_calls' : 'stop');
    yield { chunk: { choices: [{ index: 0, delta: {}, finish_reason }] } };
  }
  if (script.usage !== null) yield { chunk: { choices: [], usage: script.usage ?? DEFAULT_USAGE } };
}
