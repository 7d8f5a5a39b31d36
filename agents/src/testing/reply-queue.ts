// The scripted answers of one test. Each request takes the first unused answer that matches. Records unexpected and invalid
// requests, so that one call at the end of the test reports all of them.
import type { ModelRequest } from '../model/model.ts';
import { asReply, type Scripted, type ScriptReply } from './script.ts';
import type { Violation } from './transcript-validator.ts';

interface Slot<Reply extends ScriptReply> {
  readonly script: Scripted<Reply>;
  readonly when: ((request: ModelRequest) => boolean) | undefined;
  readonly optional: boolean;
  left: number;
}

export class ReplyQueue<Reply extends ScriptReply = ScriptReply> {
  readonly #slots: Slot<Reply>[] = [];
  readonly #unexpected: string[] = [];
  readonly violations: Violation[] = [];

  /** Appends replies. */
  push(...replies: readonly Scripted<Reply>[]): void {
    for (const script of replies) {
      const fixed = typeof script === 'object' && 'steps' in script ? script : undefined;
      const times = fixed?.times ?? 1;
      this.#slots.push({
        script,
        when: fixed?.when,
        left: times,
        optional: times === Number.POSITIVE_INFINITY,
      });
    }
  }

  /** Returns the answer to request number `index` (from 0), or undefined if none matches. */
  take(request: ModelRequest, index: number): Reply | ScriptReply | undefined {
    const slot = this.#slots.find((one) => one.left > 0 && (!one.when || one.when(request)));
    if (!slot) return undefined;
    slot.left -= 1;
    return asReply(slot.script, request, index);
  }

  /** Records a request without an answer. Returns its description. */
  unexpected(request: ModelRequest, index: number): string {
    const text = `request ${index + 1} was not expected; its last message is ${JSON.stringify(request.messages.at(-1))}`;
    this.#unexpected.push(text);
    return text;
  }

  /** Throws if a request was invalid for the OpenAI API. */
  assertValid(): void {
    if (this.violations.length === 0) return;
    throw new Error(`Invalid requests:\n${this.violations.map((one) => `- ${one.message}`).join('\n')}`);
  }

  /** Throws if a request was invalid or unexpected, or a reply was not used. */
  done(requests: number): void {
    this.assertValid();
    if (this.#unexpected.length > 0) throw new Error(`Script: ${this.#unexpected.join('; ')}.`);
    const unused = this.#slots.filter((slot) => !slot.optional && slot.left > 0).length;
    if (unused > 0) {
      throw new Error(`Script: ${unused} of ${this.#slots.length} replies not used by ${requests} requests.`);
    }
  }
}
