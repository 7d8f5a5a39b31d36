// Cards by address, shared by the links of all principals: most agents describe themselves to every caller in the same way, and a card of a
// chat agent takes 60 KB.
import { createHash } from 'node:crypto';
import { type AgentCard, agentCard } from './agent-card.ts';

const MAX_CARDS = 4_096;

export class CardCache {
  /** The last card of each address; the oldest one first. */
  readonly #cards = new Map<string, { readonly digest: string; readonly card: AgentCard }>();

  /** Reads the answer to `describe`. Returns the same object for the same answer. */
  readonly read = (address: string, answer: unknown): AgentCard => {
    const digest = createHash('sha256')
      .update(JSON.stringify(answer ?? null))
      .digest('base64url');
    const last = this.#cards.get(address);
    if (last?.digest === digest) return last.card;
    const card = agentCard(address, answer);
    this.#cards.delete(address);
    this.#cards.set(address, { digest, card });
    if (this.#cards.size > MAX_CARDS) this.#cards.delete(this.#cards.keys().next().value!);
    return card;
  };
}
