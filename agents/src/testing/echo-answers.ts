// How the fake server's own process answers: it says the user's nonce back, so that a crash test can tell whose answer it
// holds, and calls a tool when the message says so. Its settings can be changed while it runs.
import type { ModelRequest } from '../model/model.ts';
import type { ServerReply } from './openai-server.ts';
import { callTools, type Gate, pieces, type ScriptStep } from './script.ts';

export interface EchoSettings {
  /** Pause before each chunk of text. */
  chunkDelayMs: number;
  /** Pieces that the text is cut into. */
  chunks: number;
  /** Stop after this many chunks of text until released; -1 never stops. */
  holdAfter: number;
  /** Answer so many requests with `failStatus` first. */
  failCount: number;
  failStatus: number;
}

export const ECHO_DEFAULTS: Readonly<EchoSettings> = Object.freeze({
  chunkDelayMs: 0,
  chunks: 8,
  holdAfter: -1,
  failCount: 0,
  failStatus: 503,
});

const lastUserText = (request: ModelRequest): string =>
  String(request.messages.findLast((message) => message.role === 'user')?.content ?? '');

/** The nonce of a message: what follows the word `nonce`; without one the whole message. */
export const nonceOf = (text: string): string => /\bnonce[\s:=-]*([\w-]+)/i.exec(text)?.[1] ?? text;

/** What the server says to a message: every answer carries its nonce. */
export const echoText = (text: string, toolResults: readonly string[]): string =>
  [`echo ${nonceOf(text)}`, ...toolResults.map((result) => `tool said ${result}`), 'end of the echo'].join(
    '; ',
  );

/** Answers requests by the settings of the moment. */
export class EchoAnswers {
  settings: EchoSettings = { ...ECHO_DEFAULTS };
  #held = Promise.withResolvers<void>();

  /** Lets held answers go on. Later ones are held again if the settings say so. */
  release(): void {
    this.#held.resolve();
    this.#held = Promise.withResolvers<void>();
  }

  answer(request: ModelRequest): ServerReply {
    const { settings } = this;
    if (settings.failCount > 0) {
      settings.failCount -= 1;
      return { steps: [], http: { status: settings.failStatus, headers: { 'retry-after-ms': '10' } } };
    }
    const text = lastUserText(request);
    const sinceUser = request.messages.slice(
      request.messages.findLastIndex((one) => one.role === 'user') + 1,
    );
    const results = sinceUser.filter((one) => one.role === 'tool').map((one) => one.content);
    // "call NAME {...}" asks for a tool call, once.
    const [, name, args] = /\bcall (\w[\w-]*)(?:\s+(\{[\s\S]*\}))?/.exec(text) ?? [];
    if (name && results.length === 0 && request.tools?.some((tool) => tool.function.name === name)) {
      return callTools({
        name,
        arguments: args ?? '{}',
        id: `call_${request.messages.length}_${nonceOf(text)}`.slice(0, 40),
      });
    }
    const said = echoText(text, results);
    const parts = pieces(said, Math.max(1, Math.ceil(said.length / settings.chunks)));
    return {
      steps: parts.flatMap((part, i): ScriptStep[] => [
        ...(settings.chunkDelayMs > 0 ? [later(settings.chunkDelayMs)] : []),
        ...(settings.holdAfter === i ? [{ wait: this.#held.promise }] : []),
        part,
      ]),
    };
  }
}

/** A gate that opens so long after it was reached. */
function later(ms: number): Gate {
  const opened = Promise.withResolvers<void>();
  return { wait: opened.promise, arrive: () => void setTimeout(opened.resolve, ms) };
}
