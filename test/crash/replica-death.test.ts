// Three processes of the built command that serve the chat agent over one store, and a kill -9 of one in the middle of its streams: the others
// call the model again within 5 s, each for a part of the turns, and every caller gets the whole answer.
import { type ControlledGate, gate } from '@fame-fabric/agents/testing';
import { newId } from '@fame-fabric/shared';
import { afterEach, describe, expect, inject, test } from 'vitest';
import type { Proc } from '../kit/processes.ts';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, lastUserText, openClient, spawnAgent, startModel, stopStack } from '../kit/stack.ts';
import { textOf } from '../kit/streamed-text.ts';

const REPLICAS = 3;
const TURNS = 60;
const TAKEOVER_MS = 5_000;
const { url: database, reason } = inject('postgres');

afterEach(stopStack);

const stores = [
  { store: 'SQLite', isMissing: false, env: {} },
  { store: 'PostgreSQL', isMissing: reason !== undefined, env: { FAME_STORE_URL: database ?? '' } },
];

for (const { store, isMissing, env } of stores) {
  describe.skipIf(isMissing)(store, () => {
    test('K2: the turns of a killed replica continue at all others within 5 s', {
      timeout: 90_000,
      retry: 0,
    }, async () => {
      /** Holds the first answer to each turn in the middle. */
      const held = new Map<string, ControlledGate>();
      const model = await startModel({
        respond(request) {
          const text = lastUserText(request);
          if (held.has(text)) return [`Again: an answer to ${text}`];
          const half = gate();
          held.set(text, half);
          return ['Once: ', half, `an answer to ${text}`];
        },
      });
      const sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '1000' } });
      const dataDir = temporaryDirectory();
      const keyOf = (n: number): string => `sk-replica-${n}`;
      const replicas: Proc[] = [];
      for (let n = 0; n < REPLICAS; n++) {
        const own = {
          FAME_CHAT_ADDRESS: 'chat@*.fame.fabric',
          OPENAI_API_KEY: keyOf(n),
          OPENAI_BASE_URL: model.url,
        };
        replicas.push(spawnAgent(sentinel.url, { dataDir, env: { ...own, ...env } }));
      }
      await Promise.all(replicas.map((proc) => proc.waitFor(/ is served through /)));
      const client = await openClient(sentinel.url);
      const asked = Array.from({ length: TURNS }, (_, n) => `message ${n}`);
      const answers = asked.map(async (text) => {
        const events = [];
        const conversation = client.conversation(CHAT, { id: newId() });
        for await (const event of conversation.stream(text, { turnId: newId() })) events.push(event);
        return textOf(events);
      });
      await expect.poll(() => held.size).toBe(TURNS);
      await Promise.all([...held.values()].map(({ reached }) => reached));

      const callsOf = (n: number) =>
        model.requests.filter(({ headers }) => headers.authorization === `Bearer ${keyOf(n)}`);
      const shares = replicas.map((_, n) => callsOf(n).length);
      const victim = shares.indexOf(Math.max(...shares));
      const survivors = [0, 1, 2].filter((n) => n !== victim);
      const killedAt = performance.now();
      await replicas[victim]!.kill();
      const taken = () => model.requests.filter(({ at }) => at > killedAt);
      await expect.poll(() => taken().length).toBe(shares[victim]);
      const tookMs = Math.round(Math.max(...taken().map(({ at }) => at)) - killedAt);
      const parts = survivors.map((n) => callsOf(n).length - shares[n]!);
      console.info(
        `K2, ${store}: ${shares[victim]} turns of a killed replica were taken up within ${tookMs} ms, by the others ${parts.join(' and ')}`,
      );
      expect(tookMs).toBeLessThan(TAKEOVER_MS);
      for (const part of parts) expect(part).toBeGreaterThan(0);
      for (const half of held.values()) half.open();
      const texts = (await Promise.all(answers)).map((text, n) => [text, asked[n]!] as const);
      for (const [text, message] of texts) {
        expect([`Once: an answer to ${message}`, `Again: an answer to ${message}`]).toContain(text);
      }
      expect(texts.filter(([text]) => text.startsWith('Again: '))).toHaveLength(shares[victim]!);
      model.assertValid();
    });
  });
}
