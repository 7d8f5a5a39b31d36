// Two agent processes on one store, each with its own sentinel: a conversation has one writer at a time. A writer that was paused
// (SIGSTOP) and continues after another took over writes nothing.
import { fileURLToPath } from 'node:url';
import { gate, type ScriptStep } from '@fame-fabric/agents/testing';
import type { Client, TurnEvent } from '@fame-fabric/client';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { PostgresServer } from '../kit/postgres.ts';
import { type Proc, startNode } from '../kit/processes.ts';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { API_KEY, CHAT, lastUserText, openClient, pause, startModel, stopStack } from '../kit/stack.ts';
import { textOf } from '../kit/streamed-text.ts';
import { type Journal, JournalView } from './journal-view.ts';
import { PostgresJournal } from './postgres/postgres-journal.ts';

const LEASE_MS = 3_000;
const PROGRAM = fileURLToPath(new URL('./agent-program.ts', import.meta.url));

/** One of the two: an agent process behind its own sentinel, and a client of it. */
interface Side {
  agent: Proc;
  client: Client;
}

const isSkipped = (kind: string): boolean => kind === 'PostgreSQL' && inject('postgres').reason !== undefined;

describe.each(['SQLite', 'PostgreSQL'].filter((kind) => !isSkipped(kind)))(
  'with conversations in %s',
  (kind) => {
    const dataDir = temporaryDirectory();
    let server: PostgresServer | undefined;
    let journal: Journal;
    const held = gate();
    let model: Awaited<ReturnType<typeof startModel>>;
    let one: Side;
    let other: Side;

    async function startSide(): Promise<Side> {
      const { url } = await startOurSentinel();
      const agent = startNode(['--disable-warning=ExperimentalWarning', PROGRAM, dataDir, String(LEASE_MS)], {
        name: 'agent',
        env: {
          FAME_DIRECT_ADMISSION_URL: url,
          FAME_DATA_DIR: dataDir,
          ...(server ? { FAME_STORE_URL: server.url } : {}),
          OPENAI_API_KEY: API_KEY,
          OPENAI_BASE_URL: model.url,
        },
      });
      await agent.waitFor(/ is served through /, 20_000);
      return { agent, client: await openClient(url) };
    }

    beforeAll(async () => {
      if (kind === 'PostgreSQL') server = await PostgresServer.start();
      journal = server ? new PostgresJournal(server.url) : new JournalView(dataDir);
      model = await startModel({
        respond(request, index): readonly ScriptStep[] {
          const text = lastUserText(request);
          const answer = [`an answer to ${text}`];
          // The first call of this turn is held; a repeated request gets the complete answer at once.
          if (
            text === 'held' &&
            model.requests.slice(0, index).every(({ body }) => lastUserText(body) !== 'held')
          )
            return ['an answer ', held, 'to held, late'];
          return [pause(5), ...answer];
        },
      });
      [one, other] = await Promise.all([startSide(), startSide()]);
    });

    afterAll(async () => {
      journal.close();
      one.agent.child.kill('SIGCONT');
      await stopStack();
      await server?.close();
    });

    const ask = async (side: Side, id: string, text: string, turnId: string): Promise<TurnEvent[]> => {
      const conversation = side.client.conversation(CHAT, { id, isResumed: true });
      const events: TurnEvent[] = [];
      for await (const event of conversation.stream(text, { turnId })) events.push(event);
      return events;
    };

    /** Invariants of every journal, whichever process wrote it. */
    function checkJournal(id: string, turnIds: readonly string[]): void {
      const events = journal.events(id);
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
      for (const turnId of turnIds) {
        const own = events.filter((event) => event.turnId === turnId).map(({ kind }) => kind);
        expect(own.filter((kind) => kind === 'turn_accepted')).toHaveLength(1);
        expect(own.filter((kind) => /^turn_(completed|failed|cancelled)$/.test(kind))).toHaveLength(1);
      }
    }

    test('a paused writer that continues after another took over writes nothing', {
      retry: 0,
    }, async () => {
      await one.client.conversation(CHAT, { id: 'paused' }).start();
      const first = ask(one, 'paused', 'held', 't1');
      await held.reached;
      one.agent.child.kill('SIGSTOP');
      // The other process finds the turn by itself, once the lease of its owner has expired.
      const recorded = await ask(other, 'paused', 'held', 't1');
      expect(textOf(recorded)).toBe('an answer to held');
      expect(recorded.at(-1)).toMatchObject({ type: 'done', text: 'an answer to held' });
      const before = journal.events('paused');
      held.open();
      one.agent.child.kill('SIGCONT');
      // The client of the paused process sends the turn again, and gets the answer from the journal.
      const events = await first;
      expect(events.at(-1)).toMatchObject({ type: 'done', text: 'an answer to held' });
      expect(textOf(events)).toBe('an answer to held');
      expect(journal.events('paused')).toEqual(before);
      checkJournal('paused', ['t1']);
      // Both continue the conversation, one after the other.
      expect(textOf(await ask(one, 'paused', 'next', 't2'))).toBe('an answer to next');
      expect(textOf(await ask(other, 'paused', 'last', 't3'))).toBe('an answer to last');
      checkJournal('paused', ['t1', 't2', 't3']);
      model.assertValid();
    });

    test('turns that reach both processes at once run one after the other, each of them once', {
      retry: 0,
    }, async () => {
      const conversations = Array.from({ length: 8 }, (_, n) => `c${n}`);
      await Promise.all(conversations.map((id) => one.client.conversation(CHAT, { id }).start()));
      const asked = conversations.flatMap((id) =>
        Array.from({ length: 6 }, (_, n) => ({ id, turnId: `${id}-t${n}`, text: `message ${n} of ${id}` })),
      );
      // Every second turn is sent to both, under one id; the others to one of them.
      const answers = await Promise.all(
        asked.flatMap(({ id, text, turnId }, n) => {
          const sides = n % 2 === 0 ? [one, other] : [n % 4 === 1 ? one : other];
          return sides.map(async (side) => ({ text, answer: textOf(await ask(side, id, text, turnId)) }));
        }),
      );
      for (const { text, answer } of answers) expect(answer).toBe(`an answer to ${text}`);
      for (const id of conversations) {
        checkJournal(
          id,
          asked.filter((turn) => turn.id === id).map(({ turnId }) => turnId),
        );
      }
      for (const { text } of asked) {
        expect(model.requests.filter(({ body }) => lastUserText(body) === text)).toHaveLength(1);
      }
      model.assertValid();
    });
  },
);
