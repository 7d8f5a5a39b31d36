// An editor, the client side of the ACP library, talks to agents on a fabric in memory. `test/doors` has processes.

import { PassThrough, Readable, Writable } from 'node:stream';
import * as acp from '@agentclientprotocol/sdk';
import {
  AgentWorker,
  ChatAgent,
  type ChatAgentOptions,
  MemoryStore,
  ToolSet,
  tool,
} from '@fame-fabric/agents';
import {
  callTools,
  failing,
  gate,
  reasoning,
  type Scripted,
  scriptedModel,
} from '@fame-fabric/agents/testing';
import { Client } from '@fame-fabric/client';
import { startMemoryDoorHost } from '@fame-fabric/sentinel/testing';
import { FabricError, Link } from '@fame-fabric/shared';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { serveAcp } from './acp-agent.ts';
import { RESTART_NOTE } from './turn-updates.ts';

const closing: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A fabric with a chat agent. */
async function fabricWith(replies: readonly Scripted[], chat: Partial<ChatAgentOptions> = {}) {
  const log = new CaptureLog();
  const sentinel = startMemoryDoorHost({ log });
  closing.push(() => sentinel.close());
  const model = scriptedModel(replies);
  const newLink = (): Link => new Link({ url: 'memory://test', dial: sentinel.dial, log });
  const worker = new AgentWorker([new ChatAgent({ model, ...chat })], { link: newLink(), log });
  await worker.start();
  closing.push(() => worker.drain(0));
  return { model, newLink, log };
}

interface Editor {
  readonly agent: acp.ClientContext;
  readonly initialized: acp.InitializeResponse;
  readonly updates: acp.SessionUpdate[];
  readonly log: CaptureLog;
  /** Text of the agent's messages since the last call, by message. */
  answers(): string[];
  /** Ends the editor, as if its process was killed. */
  leave(): Promise<void>;
}

interface EditorOptions {
  onPermission?: (request: acp.RequestPermissionRequest, signal: AbortSignal) => Promise<string | undefined>;
  connect?: () => Promise<Client>;
}

async function openEditor(
  newLink: () => Link,
  { onPermission, connect }: EditorOptions = {},
): Promise<Editor> {
  const [toAgent, toEditor] = [new PassThrough(), new PassThrough()];
  const log = new CaptureLog();
  const served = serveAcp({
    connect:
      connect ??
      (async () => {
        const link = newLink();
        await link.connect();
        return new Client(link);
      }),
    address: 'chat@fame.fabric',
    version: '1.0.0',
    log,
    input: Readable.toWeb(toAgent) as ReadableStream<Uint8Array>,
    output: Writable.toWeb(toEditor),
  });
  const updates: acp.SessionUpdate[] = [];
  const connection = acp
    .client({ name: 'editor' })
    .onNotification(acp.methods.client.session.update, ({ params }) => void updates.push(params.update))
    .onRequest(acp.methods.client.session.requestPermission, async ({ params, signal }) => {
      const optionId = await onPermission?.(params, signal);
      return {
        outcome: optionId === undefined ? { outcome: 'cancelled' } : { outcome: 'selected', optionId },
      };
    })
    .connect(
      acp.ndJsonStream(Writable.toWeb(toAgent), Readable.toWeb(toEditor) as ReadableStream<Uint8Array>),
    );
  const leave = async (): Promise<void> => {
    toAgent.destroy();
    await served;
    connection.close();
  };
  closing.push(leave);
  const initialized = await connection.agent.request(acp.methods.agent.initialize, {
    protocolVersion: acp.PROTOCOL_VERSION,
    clientCapabilities: {},
  });
  let read = 0;
  return {
    agent: connection.agent,
    initialized,
    updates,
    log,
    answers() {
      const messages = new Map<string, string>();
      for (const update of updates.slice(read)) {
        if (update.sessionUpdate !== 'agent_message_chunk' || update.content.type !== 'text') continue;
        const id = String(update.messageId);
        messages.set(id, (messages.get(id) ?? '') + update.content.text);
      }
      read = updates.length;
      return [...messages.values()];
    },
    leave,
  };
}

const newSession = async ({ agent }: Editor, more: Partial<acp.NewSessionRequest> = {}): Promise<string> =>
  (await agent.request(acp.methods.agent.session.new, { cwd: '/home/ada', mcpServers: [], ...more }))
    .sessionId;
const prompt = ({ agent }: Editor, sessionId: string, ...blocks: (string | acp.ContentBlock)[]) =>
  agent.request(acp.methods.agent.session.prompt, {
    sessionId,
    prompt: blocks.map((block) => (typeof block === 'string' ? { type: 'text', text: block } : block)),
  });
const load = ({ agent }: Editor, sessionId: string) =>
  agent.request(acp.methods.agent.session.load, { sessionId, cwd: '/home/ada', mcpServers: [] });
const userTexts = (updates: readonly acp.SessionUpdate[]) =>
  updates.flatMap((update) =>
    update.sessionUpdate === 'user_message_chunk' && update.content.type === 'text'
      ? [update.content.text]
      : [],
  );

test('an editor receives the capabilities of the agent', async () => {
  const { newLink } = await fabricWith([]);
  const { initialized } = await openEditor(newLink);
  expect(initialized).toMatchObject({
    protocolVersion: 1,
    agentInfo: { name: 'fame-fabric', title: 'chat@fame.fabric', version: '1.0.0' },
    agentCapabilities: {
      loadSession: true,
      promptCapabilities: { image: false, audio: false, embeddedContext: true },
      mcpCapabilities: { http: false, sse: false },
    },
  });
});

describe('a prompt', () => {
  test('streams its answer, the reasoning of the model and the usage', async () => {
    const { newLink, model } = await fabricWith([{ steps: [reasoning('Hm.'), 'Hello', ' Ada'] }, 'Again']);
    const editor = await openEditor(newLink);
    const id = await newSession(editor);
    const response = await prompt(editor, id, 'Hi');
    expect(response).toMatchObject({
      stopReason: 'end_turn',
      _meta: { 'fame/turnId': expect.any(String), 'fame/usage': { total_tokens: expect.any(Number) } },
    });
    expect(editor.answers()).toEqual(['Hello Ada']);
    expect(editor.updates).toContainEqual({
      sessionUpdate: 'agent_thought_chunk',
      content: { type: 'text', text: 'Hm.' },
    });
    expect(await prompt(editor, id, 'And?')).toMatchObject({ stopReason: 'end_turn' });
    expect(editor.answers()).toEqual(['Again']);
    expect(model.requests.at(-1)!.messages.filter(({ role }) => role === 'user')).toMatchObject([
      { content: 'Hi' },
      { content: 'And?' },
    ]);
  });

  test('may have links and text files, which become text', async () => {
    const { newLink, model } = await fabricWith(['ok']);
    const editor = await openEditor(newLink);
    const id = await newSession(editor);
    await prompt(
      editor,
      id,
      'Explain ',
      { type: 'resource_link', name: 'a.ts', uri: 'file:///a.ts' },
      { type: 'resource', resource: { uri: 'file:///b.md', text: '```\ncode\n```' } },
    );
    expect(model.requests[0]!.messages.at(-1)).toEqual({
      role: 'user',
      content: 'Explain [a.ts](file:///a.ts)\nfile:///b.md\n````\n```\ncode\n```\n````\n',
    });
  });

  test.each<[string, acp.ContentBlock]>([
    ['an image', { type: 'image', data: 'AAAA', mimeType: 'image/png' }],
    ['audio', { type: 'audio', data: 'AAAA', mimeType: 'audio/wav' }],
    ['a binary file', { type: 'resource', resource: { uri: 'file:///a.bin', blob: 'AAAA' } }],
  ])('with %s is refused, and runs no turn', async (kind, block) => {
    const { newLink, model } = await fabricWith([]);
    const editor = await openEditor(newLink);
    const id = await newSession(editor);
    await expect(prompt(editor, id, 'See ', block)).rejects.toMatchObject({
      code: -32602,
      message: expect.stringContaining(`prompt[1] is ${kind}, and the agent takes text only`),
    });
    expect(model.requests).toEqual([]);
  });

  test.each([
    ['length', 'max_tokens'],
    ['content_filter', 'refusal'],
  ] as const)('whose answer ends by %s has the stop reason %s', async (finish, stopReason) => {
    const { newLink } = await fabricWith([{ steps: ['Some text'], finish }]);
    const editor = await openEditor(newLink);
    expect(await prompt(editor, await newSession(editor), 'Hi')).toMatchObject({ stopReason });
  });

  test('that fails is an error with our code', async () => {
    const { newLink } = await fabricWith([failing(new FabricError('MODEL_AUTH', 'The key is not valid'))]);
    const editor = await openEditor(newLink);
    const failed = prompt(editor, await newSession(editor), 'Hi');
    await expect(failed).rejects.toMatchObject({
      code: -32603,
      message: expect.stringContaining('(MODEL_AUTH)'),
      data: { code: 'MODEL_AUTH', retryable: false },
    });
  });

  test('that is cancelled ends, also at the agent', async () => {
    const isFree = gate();
    const { newLink } = await fabricWith([['Once', isFree], 'Next']);
    const editor = await openEditor(newLink);
    const id = await newSession(editor);
    const running = prompt(editor, id, 'Tell me a story');
    await isFree.reached;
    await expect(prompt(editor, id, 'Another')).rejects.toMatchObject({ data: { code: 'TURN_IN_PROGRESS' } });
    await editor.agent.notify(acp.methods.agent.session.cancel, { sessionId: id });
    expect(await running).toMatchObject({ stopReason: 'cancelled' });
    expect(await prompt(editor, id, 'Another')).toMatchObject({ stopReason: 'end_turn' });
  });
});

describe('tools', () => {
  const paid: number[] = [];
  const pay = tool({
    name: 'pay',
    description: 'Pays',
    parameters: z.object({ usd: z.number() }),
    approval: ({ usd }) => usd > 100,
    execute: ({ usd }) => void paid.push(usd),
  });
  const chat = { tools: new ToolSet([pay]) };
  const call = (usd: number): Scripted => callTools({ name: 'pay', arguments: { usd } });

  test('are shown from their start to their end', async () => {
    const { newLink } = await fabricWith([call(5), 'Paid.'], chat);
    const editor = await openEditor(newLink);
    await prompt(editor, await newSession(editor), 'Pay 5');
    const calls = editor.updates.filter(({ sessionUpdate }) => sessionUpdate.startsWith('tool_call'));
    expect(calls).toMatchObject([
      { sessionUpdate: 'tool_call', title: 'pay', status: 'in_progress', rawInput: { usd: 5 } },
      { sessionUpdate: 'tool_call_update', status: 'completed' },
    ]);
  });

  test.each([
    ['allow', [500], 'completed'],
    ['reject', [], 'failed'],
  ] as const)('that need approval ask the editor: %s', async (answer, expected, status) => {
    paid.length = 0;
    const { newLink } = await fabricWith([call(500), 'Done.'], chat);
    const asked: acp.RequestPermissionRequest[] = [];
    const editor = await openEditor(newLink, {
      onPermission: async (request) => {
        asked.push(request);
        return answer;
      },
    });
    expect(await prompt(editor, await newSession(editor), 'Pay 500')).toMatchObject({
      stopReason: 'end_turn',
    });
    expect(paid).toEqual(expected);
    expect(asked).toMatchObject([
      {
        toolCall: { title: 'pay', rawInput: { usd: 500 } },
        options: [{ kind: 'allow_once' }, { kind: 'reject_once' }],
      },
    ]);
    const shown = editor.updates.filter(({ sessionUpdate }) => sessionUpdate.startsWith('tool_call'));
    expect(shown[0]).toMatchObject({
      sessionUpdate: 'tool_call',
      status: 'pending',
      toolCallId: asked[0]!.toolCall.toolCallId,
    });
    expect(shown.at(-1)).toMatchObject({ status, toolCallId: asked[0]!.toolCall.toolCallId });
  });

  test('that another caller approves withdraw the question', async () => {
    paid.length = 0;
    const { newLink } = await fabricWith([call(500), 'Done.'], chat);
    const isWithdrawn = gate();
    let callId = '';
    const editor = await openEditor(newLink, {
      onPermission: async (request, signal) => {
        callId = request.toolCall.toolCallId;
        signal.addEventListener('abort', () => isWithdrawn.open());
        await isWithdrawn.wait;
        return undefined;
      },
    });
    const id = await newSession(editor);
    const running = prompt(editor, id, 'Pay 500');
    await vi.waitFor(() => expect(callId).not.toBe(''));
    const link = newLink();
    await link.connect();
    closing.push(() => link.close());
    await new Client(link).conversations('chat@fame.fabric').answerApproval(id, callId, { approve: true });
    expect(await running).toMatchObject({ stopReason: 'end_turn' });
    await isWithdrawn.wait;
    expect(paid).toEqual([500]);
  });
});

describe('an editor that connects again', () => {
  test('loads the whole conversation, and continues it', async () => {
    const { newLink } = await fabricWith([
      'First.',
      failing(new FabricError('MODEL_AUTH', 'The key is not valid'), 'Par'),
      'Third.',
    ]);
    const first = await openEditor(newLink);
    const id = await newSession(first);
    await prompt(first, id, 'One');
    await expect(prompt(first, id, 'Two')).rejects.toThrow();
    await first.leave();
    const second = await openEditor(newLink);
    await load(second, id);
    expect(userTexts(second.updates)).toEqual(['One', 'Two']);
    expect(second.answers()).toEqual([
      'First.',
      'Par',
      expect.stringMatching(/^\*\(The turn failed: .*MODEL_AUTH\)\)\*$/),
    ]);
    expect(await prompt(second, id, 'Three')).toMatchObject({ stopReason: 'end_turn' });
    expect(second.answers()).toEqual(['Third.']);
  });

  test('in the middle of an answer sees all of it, because the turn went on', async () => {
    const isFree = gate();
    const { newLink } = await fabricWith([['Once', isFree, ' upon a time']]);
    const first = await openEditor(newLink);
    const id = await newSession(first);
    prompt(first, id, 'Tell me a story').catch(() => {}); // the connection closes
    await isFree.reached;
    await first.leave();
    const second = await openEditor(newLink);
    await load(second, id);
    isFree.open();
    await vi.waitFor(() => expect(JSON.stringify(second.updates)).toContain('upon a time'));
    expect(second.answers()).toEqual(['Once upon a time']);
  });

  test('answers a question that was open, and may cancel the turn', async () => {
    const { newLink } = await fabricWith([callTools({ name: 'ask', arguments: {} }), 'Done.'], {
      tools: new ToolSet([
        tool({
          name: 'ask',
          description: 'Asks',
          parameters: z.object({}),
          approval: 'always',
          execute: () => 'yes',
        }),
      ]),
    });
    const isAsked = gate();
    const first = await openEditor(newLink, {
      onPermission: async () => {
        isAsked.open();
        return new Promise(() => {});
      },
    });
    const id = await newSession(first);
    prompt(first, id, 'Go').catch(() => {}); // the connection closes
    await isAsked.wait;
    await first.leave();
    const second = await openEditor(newLink, { onPermission: async () => 'allow' });
    await load(second, id);
    await vi.waitFor(() => expect(JSON.stringify(second.updates)).toContain('Done.'));
  });

  test('lists its sessions, resumes one without its history, and closes it', async () => {
    const { newLink } = await fabricWith(['First.', 'Second.']);
    const editor = await openEditor(newLink);
    const id = await newSession(editor);
    await prompt(editor, id, 'What is\n a fabric?');
    const { sessions } = await editor.agent.request(acp.methods.agent.session.list, { cwd: '/home/ada' });
    expect(sessions).toMatchObject([{ sessionId: id, cwd: '/home/ada', title: 'What is a fabric?' }]);
    const second = await openEditor(newLink);
    await second.agent.request(acp.methods.agent.session.resume, { sessionId: id, cwd: '/home/ada' });
    expect(second.updates).toEqual([]);
    await prompt(second, id, 'More');
    expect(second.answers()).toEqual(['Second.']);
    await second.agent.request(acp.methods.agent.session.close, { sessionId: id });
    await expect(prompt(second, id, 'More')).rejects.toMatchObject({ code: -32002 });
  });

  test('with the id of another conversation gets the error of the protocol', async () => {
    const { newLink } = await fabricWith([]);
    const editor = await openEditor(newLink);
    await expect(load(editor, 'unknown')).rejects.toMatchObject({
      code: -32002,
      data: { sessionId: 'unknown' },
    });
  });
});

test('an answer that the agent starts again is repeated as a whole, with a note', async () => {
  const store = new MemoryStore();
  const isRunning = gate();
  const log = new CaptureLog();
  const sentinel = startMemoryDoorHost({ log });
  closing.push(() => sentinel.close());
  const newLink = (): Link => new Link({ url: 'memory://test', dial: sentinel.dial, log });
  const serve = async (replies: readonly Scripted[]) => {
    const agent = new ChatAgent({ model: scriptedModel(replies), store });
    const worker = new AgentWorker([agent], { link: newLink(), log });
    await worker.start();
    return worker;
  };
  const first = await serve([['A first try', isRunning]]);
  const editor = await openEditor(newLink);
  const id = await newSession(editor);
  const running = prompt(editor, id, 'Hi');
  await isRunning.reached;
  await vi.waitFor(() => expect(editor.updates.length).toBeGreaterThan(0));
  await first.drain(0);
  const second = await serve(['The answer']);
  closing.push(() => second.drain(0));
  expect(await running).toMatchObject({ stopReason: 'end_turn' });
  expect(editor.answers()).toEqual(['A first try', `${RESTART_NOTE}The answer`]);
  const third = await openEditor(newLink);
  await load(third, id);
  expect(third.answers()).toEqual(['The answer']);
});

test('MCP servers of the editor are not used, and the log says so without their settings', async () => {
  const { newLink } = await fabricWith(['ok']);
  const editor = await openEditor(newLink);
  const mcpServers = [
    { name: 'files', command: 'files', args: [], env: [{ name: 'KEY', value: 'sk-secret' }] },
  ];
  expect(await prompt(editor, await newSession(editor, { mcpServers }), 'Hi')).toMatchObject({
    stopReason: 'end_turn',
  });
  expect(editor.log.lines).toMatchObject([{ message: expect.stringContaining('not used') }]);
  expect(JSON.stringify(editor.log.lines)).toContain('files');
  expect(JSON.stringify(editor.log.lines)).not.toContain('sk-secret');
});

test('a fabric that cannot be reached is an error of the session, and the next one tries again', async () => {
  const { newLink } = await fabricWith(['ok']);
  let attempts = 0;
  const editor = await openEditor(newLink, {
    connect: async () => {
      attempts += 1;
      if (attempts === 1) throw new FabricError('LINK_TIMEOUT', 'No sentinel answered');
      const link = newLink();
      await link.connect();
      return new Client(link);
    },
  });
  await expect(newSession(editor)).rejects.toMatchObject({
    code: -32603,
    message: 'No sentinel answered (LINK_TIMEOUT)',
    data: { code: 'LINK_TIMEOUT', retryable: true },
  });
  expect(await prompt(editor, await newSession(editor), 'Hi')).toMatchObject({ stopReason: 'end_turn' });
});
