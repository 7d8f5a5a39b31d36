// The command prints texts of agents, models, peers, servers and files. No such text may control the terminal, reorder the
// visible text, or add a line that looks like one of ours.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ChatTurns, ConversationHost, SqliteStore, storePath } from '@fame-fabric/agents/internal';
import { failing, scriptedModel } from '@fame-fabric/agents/testing';
import { createEnvelopePrinter, type TurnEvent } from '@fame-fabric/client';
import { chooseConversation, Repl, type ReplConversation, type ReplInput } from '@fame-fabric/client/repl';
import { type ErrorCode, FabricError, makeEnvelope, systemClock } from '@fame-fabric/shared';
import { configInvalid, createStyle, explainError } from '@fame-fabric/shared/internal';
import { afterAll, expect, test, vi } from 'vitest';
import { showLogs } from './local/logs.ts';
import { ManagedProcess } from './local/managed-process.ts';
import type { NodeList, TraceLine } from './sentinel-http.ts';
import { resultText } from './verbs/call.ts';
import { runConversations } from './verbs/conversations.ts';
import { descriptionText } from './verbs/description-text.ts';
import { findingText } from './verbs/doctor.ts';
import { describeNodes } from './verbs/ps.ts';
import { runTeamCommand } from './verbs/team.ts';
import { lineText } from './verbs/trace.ts';

/** C0 except tab and line feed, DEL, C1, and every bidirectional control of Unicode. */
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
const LINE_BREAK = /[\n\r\u0085\u2028\u2029]/;
const CONTROLS =
  '\u0000\u0007\u001b[2J\u007f\u009b31m\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069';
/** A text without line breaks, for text that may have several lines. */
const HOSTILE = `a${CONTROLS}z`;
/** The same with a forged line, for text that belongs on one line. */
const FORGED = `a${CONTROLS}\r\nFORGED\u2028FORGED\u2029FORGED\u0085z`;

const directory = mkdtempSync(join(tmpdir(), 'fame-untrusted-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const style = createStyle(false);

/** Returns all output of the prompt in a conversation with an agent that sends `text` in every field. */
async function promptOutput(text: string): Promise<string> {
  let output = '';
  const lines = ['Hello', '/history', '/model', '/agents', `/${text}`, 'again', '/leave'];
  const input: ReplInput = {
    onInterrupt: undefined,
    read: async () => lines.shift(),
    question: async (question) => {
      output += question;
      return 'n';
    },
    note: (note) => {
      output += note;
    },
    close: () => {},
  };
  let turns = 0;
  let approvals = 0;
  const conversation: ReplConversation = {
    id: 'c1',
    address: 'chat@fame.fabric',
    systemPrompt: undefined,
    start: async () => {},
    describe: async () => ({ model: text }),
    state: async () => 'working' as const,
    history: async () => [
      { role: 'user', text },
      { role: 'assistant', text },
    ],
    end: async () => {},
    answerApproval: async () => {
      if (approvals++ > 0) throw new FabricError('MODEL_REFUSED', text);
    },
    async *stream(): AsyncGenerator<TurnEvent> {
      if (turns++ > 0) throw new FabricError('MODEL_REFUSED', text);
      yield { type: 'text', text: HOSTILE };
      yield { type: 'tool_call', name: text, args: { city: text, list: [text] } };
      yield { type: 'tool_result', name: text, ok: false };
      yield { type: 'approval', id: 'a', kind: 'tool', name: text, args: { city: text, list: [text] } };
      yield { type: 'approval', id: 'b', kind: 'tool', name: text };
      yield {
        type: 'approval',
        id: 'c',
        kind: 'budget',
        name: text,
        args: { limit: text, unit: text, spent: text },
      };
      await vi.waitFor(() => expect(approvals).toBe(3));
      yield { type: 'done', text: HOSTILE };
    },
  };
  const repl = new Repl(
    {
      input,
      write: (piece) => {
        output += piece;
      },
      newConversation: () => conversation,
      listAgents: async () => describeNodes(nodesOf(text)),
      trace: { isOn: false },
      reasoning: { isOn: false },
      style,
      clock: systemClock,
    },
    { isInteractive: true, defaultAddress: 'chat@fame.fabric' },
  );
  await repl.run();
  return output;
}

const nodesOf = (text: string): NodeList => ({
  sentinel: {
    id: text,
    path: text,
    version: text,
    uptimeMs: 1,
    queues: {
      queuedBytes: text as unknown as number,
      socketBytes: text as unknown as number,
      limitBytes: text as unknown as number,
      totalLimitBytes: text as unknown as number,
    },
  },
  nodes: [
    {
      id: text,
      path: text,
      kind: text,
      state: text,
      since: text,
      addresses: [text],
      capabilities: [text],
      queuedMessages: 0,
      queuedBytes: 0,
      withheldGrants: text as unknown as number,
      openCalls: 0,
    },
  ],
});

async function savedOutput(title: string): Promise<string> {
  let output = '';
  await chooseConversation({
    saved: [{ id: title, address: 'chat@fame.fabric', title, changedAt: 0 }],
    id: undefined,
    address: undefined,
    defaultAddress: 'chat@fame.fabric',
    now: 0,
    writeNote: (note) => {
      output += note;
    },
    prompt: async () => '',
  });
  return output;
}

function envelopeOutput(text: string, mode: 'metadata' | 'full'): string {
  let output = '';
  const print = createEnvelopePrinter({
    write: (block) => {
      output += block;
    },
    mode,
  });
  const payload = { jsonrpc: '2.0', id: text, method: text, params: { text } };
  print('received', makeEnvelope({ type: 'Data', payload }, { to: text, corrId: text }));
  return output;
}

async function logOutput(text: string, isText = false): Promise<string> {
  const part = new ManagedProcess('sentinel', join(directory, 'logs-test'));
  mkdirSync(dirname(part.logFile), { recursive: true });
  writeFileSync(part.logFile, `${text}\n`);
  let output = '';
  await showLogs([part], (piece) => (output += piece), { lines: 5, isText });
  return output;
}

async function teamOutput(action: 'check' | 'diagram' | 'run', text: string): Promise<string> {
  const file = join(directory, `${action}.yaml`);
  const unknownKey = action === 'check' ? { [text]: text } : {};
  const agents = { [text]: { model: 'offline', ...unknownKey } };
  writeFileSync(file, JSON.stringify({ start: text, agents }));
  let output = '';
  const receive = (piece: string): void => {
    output += piece;
  };
  await runTeamCommand([action, file, ...(action === 'run' ? ['Hello'] : [])], {
    env: {},
    print: receive,
    write: receive,
    models: async () => () => scriptedModel([HOSTILE]),
    store: async () => {
      throw new Error('not used');
    },
  });
  return output;
}

async function conversationsOutput(words: string, text: string): Promise<string> {
  const dataDir = mkdtempSync(join(directory, 'data-'));
  const store = await SqliteStore.open({ path: storePath(dataDir) });
  const model = scriptedModel([HOSTILE, failing(new FabricError('MODEL_REFUSED', text))]);
  const host = new ConversationHost({ runner: new ChatTurns({ model }), store, agent: text });
  const options = { systemPrompt: text, maxHistoryLength: 10, turnPolicy: 'queue' as const };
  await host.start({ id: 'c1', callId: 's', options });
  for (const turnId of ['t1', 't2']) {
    await (await host.turn({ conversationId: 'c1', userMessage: text, turnId })).outcome;
  }
  await host.close();
  await store.close();
  let output = '';
  await runConversations(words.split(' '), {
    json: false,
    env: { FAME_DATA_DIR: dataDir },
    print: (piece) => (output += piece),
    write: (message) => (output += message),
  });
  return output;
}

async function conversationsError(text: string): Promise<string> {
  let output = '';
  const receive = (piece: string): void => {
    output += piece;
  };
  const env = { FAME_DATA_DIR: directory };
  await runConversations([text], { json: false, env, print: receive, write: receive });
  return output;
}

const errorText = (code: ErrorCode, text: string): string => explainError(new FabricError(code, text));
const traceLine = (text: string): TraceLine => ({
  t: text as unknown as number,
  dir: text,
  type: text,
  from: text,
  to: text,
  via: text,
  corrId: text,
  bytes: text as unknown as number,
  code: text,
  sentinel: text,
});

/** The text of a description whose fields are all `text`. */
function descriptionOutput(text: string): string {
  const schema = { type: text, default: text, enum: [text] };
  const params = {
    properties: { [text]: schema, b: { const: text }, c: { anyOf: [{ type: [text] }] } },
    required: [text],
  };
  const operations = [{ name: text, description: text, params, streams: false }];
  return descriptionText('a@fame.fabric', { address: text, description: text, operations });
}

/** The output of a prompt that refuses an agent with these operations. */
async function refusalOutput(text: string): Promise<string> {
  let output = '';
  const input: ReplInput = {
    onInterrupt: undefined,
    read: async () => undefined,
    question: async () => undefined,
    note: (note) => {
      output += note;
    },
    close: () => {},
  };
  const operations = [{ name: text, params: {}, streams: false }];
  const conversation = {
    address: 'a@fame.fabric',
    describe: async () => ({ address: text, operations }),
  } as unknown as ReplConversation;
  const deps = {
    input,
    write: () => {},
    newConversation: () => conversation,
    trace: { isOn: false },
    reasoning: { isOn: false },
  };
  await new Repl(
    { ...deps, listAgents: async () => '', style, clock: systemClock },
    { isInteractive: true, defaultAddress: 'chat@fame.fabric' },
  ).run();
  return output;
}

const printers: readonly [name: string, print: (text: string) => string | Promise<string>][] = [
  ['the prompt: answers, tools, model, history, nodes, errors', promptOutput],
  ['the prompt: the operations of an agent without conversations', refusalOutput],
  ['the description of an agent', descriptionOutput],
  ['the list of conversations to resume', savedOutput],
  ['fame local logs on a terminal', (text) => logOutput(JSON.stringify({ msg: text, [text]: text }), true)],
  ['fame ps', (text) => describeNodes(nodesOf(text))],
  ['fame trace', (text) => lineText(traceLine(text), style)],
  [
    'fame doctor',
    (text) =>
      findingText({ check: 'chat agent', ok: false, found: errorText('NO_ROUTE', text), fix: text }, style),
  ],
  ['fame call, JSON', (text) => resultText({ [text]: [text] }, false)],
  ['fame call --json', (text) => resultText(text, true)],
  ['fame team check', (text) => teamOutput('check', text)],
  ['fame team diagram', (text) => teamOutput('diagram', text)],
  ['fame team run', (text) => teamOutput('run', text)],
  ['fame conversations ls', (text) => conversationsOutput('ls', text)],
  ['fame conversations show', (text) => conversationsOutput('show c1', text)],
  ['fame conversations export', (text) => conversationsOutput('export c1', text)],
  ['fame conversations, a wrong action', conversationsError],
  ['envelopes, metadata', (text) => envelopeOutput(text, 'metadata')],
  ['envelopes, full', (text) => envelopeOutput(text, 'full')],
  ['an error of a peer', (text) => errorText('NO_ROUTE', text)],
  ['an error of a peer that claims a faulty configuration', (text) => errorText('CONFIG_INVALID', text)],
  ['faults of a configuration', (text) => explainError(configInvalid([text]))],
];

test.each(printers)('%s: prints no control and no forged line', async (_name, print) => {
  const output = await print(FORGED);
  expect(output).not.toBe('');
  expect(output).not.toMatch(CONTROL);
  for (const line of output.split(LINE_BREAK)) expect(line).not.toMatch(/^FORGED/);
});

test.each([
  ['fame call, text', (text: string) => resultText(text, false)],
  ['fame local logs', logOutput],
  ['fame local logs on a terminal', (text: string) => logOutput(text, true)],
] as const)('%s: prints no control, and keeps its lines', async (_name, print) => {
  const output = await print(`${HOSTILE}\n${HOSTILE}`);
  expect(output).not.toMatch(CONTROL);
  expect(output.match(/^a␀␇␛\[2J/gm)).toHaveLength(2);
});
