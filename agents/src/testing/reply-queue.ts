// The scripted answers of one test: each request takes the first unused one that fits. Remembers what was not expected and
// what was refused, so that one call at the end tells all that was wrong.
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

  /** Adds replies behind the others. */
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

  /** The answer to request number `index` (from 0), or undefined when none fits. */
  take(request: ModelRequest, index: number): Reply | ScriptReply | undefined {
    const slot = this.#slots.find((one) => one.left > 0 && (!one.when || one.when(request)));
    if (!slot) return undefined;
    slot.left -= 1;
    return asReply(slot.script, request, index);
  }

  /** Notes a request that nothing answers; gives the sentence about it. */
  unexpected(request: ModelRequest, index: number): string {
    const text = `request ${index + 1} was not expected; its last message is ${JSON.stringify(request.messages.at(-1))}`;
    this.#unexpected.push(text);
    return text;
  }

  /** Throws when a request was refused as the OpenAI API would. */
  assertValid(): void {
    if (this.violations.length === 0) return;
    throw new Error(`Invalid requests:\n${this.violations.map((one) => `- ${one.message}`).join('\n')}`);
  }

  /** Throws when a request was not valid or not expected, or a reply was not used. */
  done(requests: number): void {
    this.assertValid();
    if (this.#unexpected.length > 0) throw new Error(`Script: ${this.#unexpected.join('; ')}.`);
    const unused = this.#slots.filter((slot) => !slot.optional && slot.left > 0).length;
    if (unused > 0) {
      throw new Error(`Script: ${unused} of ${this.#slots.length} replies not used by ${requests} requests.`);
    }
  }
}
