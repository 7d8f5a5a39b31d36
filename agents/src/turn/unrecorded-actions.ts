// The actions of a turn without a journal: for a team that runs on its own, outside a conversation.
import type { Outbound } from '../agent/operation.ts';
import { noLink } from '../agent/scoped-link.ts';
import { askModel } from '../model/ask-model.ts';
import type { MakeCall } from '../tools/make-call.ts';
import { APPROVAL_UNAVAILABLE, faultContent } from '../tools/tool-outcome.ts';
import type { RunnerActions, TextSource } from './turn.ts';
import { TurnText } from './turn-text.ts';

export class UnrecordedActions implements RunnerActions {
  readonly #text = new TurnText({ isReplaying: false });
  readonly #onText: (text: string) => void;
  readonly link: Outbound;

  /** `onText` receives each piece of text, line breaks included. */
  constructor(onText: (text: string) => void, link: Outbound = noLink) {
    this.#onText = onText;
    this.link = link;
  }

  readonly ask = askModel;

  readonly makeCall: MakeCall = async ({ call: { index }, speaker, needsApproval, execute }) => {
    if (needsApproval?.()) return { ok: false, content: faultContent(APPROVAL_UNAVAILABLE) };
    return execute((text) => void this.emitText(text, { from: 'tool', step: 0, index, speaker }));
  };

  emitText(text: string, source: TextSource): undefined {
    const added = this.#text.add(text, source);
    if (added.length > 0) this.#onText(added.map((piece) => piece.text).join(''));
  }

  assertLive(): void {}

  get text(): string {
    return this.#text.value;
  }
}
