// The commands for conversations and requests, with a store in PostgreSQL.
import { openDatabaseStore } from '@fame-fabric/agents/internal';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { PostgresServer } from '../../kit/postgres.ts';
import { fameArgs, startNode } from '../../kit/processes.ts';
import { temporaryDirectory } from '../../kit/sentinel.ts';

describe.skipIf(inject('postgres').reason !== undefined)('with FAME_STORE_URL', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
    const store = await openDatabaseStore(server.url);
    const started = { kind: 'conversation_started' as const, at: 1, body: { system_prompt: 'Be kind.' } };
    await store.create({
      id: 'c1',
      agent: 'a@fame.fabric',
      startCallId: 's',
      historyTurns: 9,
      totals: {},
      started,
    });
    const { fence } = (await store.acquire('c1', 1_000))!;
    const turn = { at: 2, turnId: 't' };
    await store.append({
      conversationId: 'c1',
      fence,
      after: 1,
      events: [
        { ...turn, kind: 'turn_accepted', body: { user_message: 'Hello there' } },
        { ...turn, kind: 'turn_completed', body: { text: 'Hi', in_history: true } },
      ],
      leaseMs: 0,
    });
    await store.acceptRequest({
      agent: 'a@fame.fabric',
      id: 'r1',
      principal: 'local',
      method: 'pay',
      digest: 'd',
      params: { text: '{}', keyId: '' },
      answerTo: '{}',
      deadlineAt: 0,
      maxRequests: 9,
      maxChars: 999,
    });
    await store.close();
  });
  afterAll(() => server?.close());

  const dataDir = temporaryDirectory();
  const run = async (...words: string[]): Promise<{ code: number | null; output: string }> => {
    const env = { FAME_DATA_DIR: dataDir, FAME_STORE_URL: server.tcpUrl() };
    const proc = startNode(fameArgs(...words), { env });
    const { code } = await proc.exited;
    expect(proc.output).not.toContain(encodeURIComponent(server.password));
    return { code, output: proc.output };
  };

  test('conversations are listed, shown, exported, removed, restored and swept', async () => {
    expect(await run('conversations', 'ls')).toMatchObject({
      code: 0,
      output: expect.stringMatching(/c1 +a@fame/),
    });
    expect((await run('conversations', 'show', 'c1')).output).toContain('Hello there');
    expect((await run('conversations', 'export', 'c1')).output.trim().split('\n')).toHaveLength(3);
    expect((await run('conversations', 'rm', 'c1')).output).toContain('Moved c1 to the trash');
    expect((await run('conversations', 'ls', '--trash')).output).toContain('c1');
    expect((await run('conversations', 'restore', 'c1')).output).toContain('Restored c1');
    expect((await run('conversations', 'sweep')).output).toContain('Moved 0 conversations');
    expect((await run('conversations', 'rm', 'c1', '--now')).output).toContain('Removed c1');
    expect((await run('conversations', 'ls')).output).toContain(
      `no conversations in postgres://127.0.0.1:${server.port}/fame`,
    );
  });

  test('requests are listed, and the doctor names the database', async () => {
    expect((await run('requests', 'ls')).output).toMatch(/r1 .*pay/);
    expect((await run('doctor')).output).toContain(`postgres://127.0.0.1:${server.port}/fame`);
  });
});
