// N5: a backup that is made while conversations run has every turn that had ended before. It is restored after a kill -9 of the
// agent, and the conversations continue. A killed backup leaves no file with its name.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import { afterAll, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { fameArgs, startNode } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import {
  CHAT,
  converse,
  lastUserText,
  openClient,
  pause,
  startAgent,
  startStack,
  stopStack,
} from '../kit/stack.ts';

const CONVERSATIONS = 6;

afterAll(stopStack);

interface Answered {
  readonly conversationId: string;
  readonly user: string;
  readonly text: string;
}

/** Sends one message after the other in each conversation, until `stop`. */
function keepTalking(client: Client, answered: Answered[]): { stop(): Promise<void> } {
  let isStopped = false;
  const talk = async (n: number): Promise<void> => {
    const conversation = await converse(client);
    for (let i = 0; !isStopped; i++) {
      const user = `message ${i} of ${n}`;
      try {
        const text = await conversation.ask(user);
        answered.push({ conversationId: conversation.id, user, text });
      } catch (error) {
        // The agent was killed in the middle of a turn.
        if (!isStopped || !isFabricError(error)) throw error;
      }
    }
  };
  const all = Promise.all(Array.from({ length: CONVERSATIONS }, (_, n) => talk(n)));
  return {
    async stop() {
      isStopped = true;
      await all;
    },
  };
}

/** Starts `fame conversations WORDS`. */
const conversations = (dataDir: string, ...words: string[]) =>
  startNode(fameArgs('conversations', ...words), { name: words[0]!, env: { FAME_DATA_DIR: dataDir } });

async function run(dataDir: string, ...words: string[]): Promise<{ code: number | null; output: string }> {
  const proc = conversations(dataDir, ...words);
  const { code } = await proc.exited;
  return { code, output: proc.output };
}

test('N5: turns that ended before a backup under load are whole after kill -9 and restore', async () => {
  const dataDir = temporaryDirectory();
  const backup = join(temporaryDirectory(), 'backup.db');
  const { model, sentinel, agent } = await startStack({
    model: {
      respond: (request) => [
        'You said: ',
        pause(3),
        lastUserText(request),
        pause(3),
        `. ${'Word after word. '.repeat(20)}`,
      ],
    },
    agent: { dataDir },
  });
  const client = await openClient(sentinel.url);
  const answered: Answered[] = [];
  const talking = keepTalking(client, answered);
  await eventually(() => expect(answered.length).toBeGreaterThan(4 * CONVERSATIONS));

  // A killed backup.
  const killed = join(temporaryDirectory(), 'killed.db');
  const doomed = conversations(dataDir, 'backup', killed);
  while (!existsSync(`${killed}.partial`) && doomed.alive) await new Promise((done) => setImmediate(done));
  await doomed.kill();
  if (!existsSync(killed)) {
    const again = await run(dataDir, 'backup', killed);
    expect(again).toMatchObject({ code: 1, output: expect.stringContaining('killed.db.partial exists') });
  }

  const before = [...answered];
  const made = await run(dataDir, 'backup', backup);
  expect(made).toMatchObject({ code: 0, output: expect.stringContaining('The backup was checked') });
  const after = answered.length;
  await eventually(() => expect(answered.length).toBeGreaterThan(after));
  const stopped = talking.stop();
  await agent.kill();
  const restored = temporaryDirectory();
  const put = await run(restored, 'restore-backup', backup);
  expect(put.code, put.output).toBe(0);
  await startAgent(sentinel.url, { model, dataDir: restored });
  await stopped;

  expect(before.length).toBeGreaterThan(4 * CONVERSATIONS);
  const ids = new Set(before.map(({ conversationId }) => conversationId));
  expect(ids.size).toBe(CONVERSATIONS);
  for (const id of ids) {
    const shown = await run(restored, 'show', id, '--json');
    const { transcript } = JSON.parse(shown.output) as {
      transcript: { user: string; text: string; state: string }[];
    };
    for (const { user, text } of before.filter(({ conversationId }) => conversationId === id)) {
      const turns = transcript.filter((turn) => turn.user === user);
      expect(turns).toEqual([expect.objectContaining({ user, text, state: 'completed' })]);
    }
    const continued = client.conversation(CHAT, { id, isResumed: true });
    expect(await continued.ask('still there?')).toContain('You said: still there?');
  }
});
