// Cases that users of agent frameworks have reported, about tools, team files, routes and typed answers. Each test is named by the id of
// its case; the tests after it are siblings of the same fault.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { ChatAgent } from '../conversation/chat-agent.ts';
import type { ChatModel, ModelMessage, ModelRequest } from '../model/model.ts';
import { openaiModel } from '../model/openai/openai-model.ts';
import { readReply } from '../model/stream/read-reply.ts';
import { callChunk, finishChunk, sourceOf } from '../testing/chunks.ts';
import { fakeOpenAI, httpError } from '../testing/openai-server.ts';
import { callTools, type Scripted } from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { servedChat } from '../testing/served-chat.ts';
import { defineFunction, functionFromJsonSchema } from '../tools/schema/completion-function.ts';
import type { JsonSchemaObject } from '../tools/schema/json-schema.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { formatDiagnostic } from '../yaml/diagnostic.ts';
import { YamlFile } from '../yaml/yaml-file.ts';
import { choose } from './choose.ts';
import { list } from './list.ts';
import { loadTeam, readTeam } from './load-team.ts';
import { TeamAgent } from './team-agent.ts';

const folders: string[] = [];
afterEach(() => {
  vi.unstubAllEnvs();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** Writes the files of a team into a folder of their own. */
function write(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'fame-cases-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return join(folder, 'team.yaml');
}

/** Checks files; returns the lines of the faults, with file names from the folder on. */
async function check(files: Record<string, string>): Promise<string[]> {
  const path = write(files);
  const { diagnostics } = await readTeam(path);
  return diagnostics.map((one) => formatDiagnostic(one).replace(`${dirname(path)}/`, ''));
}

const TEAM = 'start: desk\nagents: agents\n';
const LEAF = 'system_directives: You answer.\n';
const HELLO = 'Hello from the leaf';

interface Desk {
  type?: string;
  values?: string;
  routes?: string;
  otherwise?: string;
}

/** An agent file that has to route. */
const desk = ({
  type = 'string',
  values = 'enum: [orders, products]',
  routes = '  orders: { agent: orders }\n  products: { agent: products }\n',
  otherwise = '',
}: Desk = {}): string => `functions:
- name: route
  parameters:
    type: object
    properties:
      to: { ${[`type: ${type}`, values].filter(Boolean).join(', ')} }
    required: [to]
function_call: { name: route }
state_map:
  function_name: route
  argument_name: to
  values_map:
${routes.replace(/^/gm, '  ').trimEnd()}
${otherwise}`;

const filesOf = (options?: Desk): Record<string, string> => ({
  'team.yaml': TEAM,
  'agents/desk.yaml': desk(options),
  'agents/orders.yaml': LEAF,
  'agents/products.yaml': LEAF,
});
const chooses = (to: unknown): Scripted => callTools({ name: 'route', arguments: { to } });

/** Runs one message through a team whose first agent chooses the values, one after the other. */
async function route(
  values: unknown[],
  options?: Desk,
  messages: string | ModelMessage[] = 'Hi',
): Promise<{ model: ScriptedModel; agent: string | undefined; text: string; reason: string | undefined }> {
  const model = scriptedModel([...values.map(chooses), HELLO]);
  const team = await loadTeam(write(filesOf(options)), { models: { default: model } });
  const result = await team.run(messages).result;
  const reason = result.kind === 'ignored' ? result.reason : undefined;
  return { model, agent: result.path[1], text: result.kind === 'text' ? result.text : '', reason };
}
/** The last tool message of a request. */
const toolResult = (model: ScriptedModel, request: number): string =>
  model.requests[request]!.messages.at(-1)!.content ?? '';

describe('tools', () => {
  const sent: unknown[] = [];
  const send = (name: string, toUser: boolean) =>
    tool({
      name,
      description: 'Sends a message.',
      parameters: toUser
        ? z.object({ text: z.string() })
        : z.object({ to_user: z.string(), text: z.string() }),
      toUser,
      execute: (args) => {
        sent.push(args);
        return 'sent';
      },
    });
  /** Runs a turn of a chat agent; returns its text. */
  const chat = async (tools: ToolSet, ...steps: Scripted[]): Promise<string> => {
    sent.length = 0;
    const served = await servedChat(new ChatAgent({ model: scriptedModel(steps), tools }));
    const { id } = await served.start();
    const text = await served.say(id, 'Hi');
    await served.close();
    return text;
  };
  const message = { to_user: 'Ada', text: 'Hi' };

  test('a31 a tool whose parameter is called to_user', async () => {
    const tools = new ToolSet([send('send_message', false)]);
    expect(await chat(tools, callTools({ name: 'send_message', arguments: message }), 'Done.')).toBe('Done.');
    expect(sent).toEqual([message]);
  });

  test('a31 siblings: both kinds of tools in one reply, and a key of their own', async () => {
    const both = [send('send_message', false), send('tell', true)];
    const calls = callTools([
      { name: 'send_message', arguments: message },
      { name: 'tell', arguments: message },
    ]);
    expect(await chat(new ToolSet(both), calls, 'Done.')).toBe('Ada\nDone.');
    expect(sent).toEqual([message, { text: 'Hi' }]);
    const say = { say: 'Moment.', text: 'Hi' };
    const renamed = new ToolSet([send('tell', true)], { toUserKey: 'say' });
    expect(await chat(renamed, callTools({ name: 'tell', arguments: say }), 'Done.')).toBe('Moment.\nDone.');
    expect(sent).toEqual([{ text: 'Hi' }]);
  });

  test('a31 siblings: arguments before the name lose no text', async () => {
    for (const [name, shown, left] of [
      ['tell', 'Ada', { text: 'Hi' }],
      ['send_message', '', message],
    ] as const) {
      let text = '';
      const made: unknown[] = [];
      const pieces = [{ arguments: JSON.stringify(message) }, { name }];
      await readReply(
        sourceOf([
          ...pieces.map((piece) => callChunk({ index: 0, id: 'c1', function: piece })),
          finishChunk('tool_calls'),
        ]),
        {
          toUserKey: 'to_user',
          toUserTools: new Set(['tell']),
          onText: (more) => {
            text += more;
            return undefined;
          },
          onCall: (call) => made.push(call.ok && call.args),
        },
      );
      expect({ text, made }).toEqual({ text: shown, made: [left] });
    }
  });

  test('a31 siblings: a tool cannot have the parameter and declare `toUser`', () => {
    const parameters = z.object({ to_user: z.string() });
    const def = { name: 'f', description: 'd', parameters, execute: () => 'ok' };
    expect(() => tool({ ...def, toUser: true })).toThrow(/"f" has a parameter "to_user"/);
    const other = tool({ ...def, parameters: z.object({ say: z.string() }), toUser: true });
    expect(() => new ToolSet([other], { toUserKey: 'say' })).toThrow(/"f" has a parameter "say"/);
    expect(new ToolSet([other]).toUserTools).toEqual(new Set(['f']));
  });

  test('c28 siblings: a request of a chat agent without tools has no calls in its messages', async () => {
    const request: ModelRequest = {
      messages: [
        { role: 'user', content: 'Weather?' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            {
              id: 'aaaaaaaa1',
              type: 'function',
              function: { name: 'weather', arguments: '{"city":"Lima"}' },
            },
            { id: 'aaaaaaaa2', type: 'function', function: { name: 'clock', arguments: '{}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'aaaaaaaa1', content: 'sun' },
        { role: 'tool', tool_call_id: 'aaaaaaaa2', content: '12:00' },
        { role: 'assistant', content: 'Sunny at noon.' },
        { role: 'user', content: 'Thanks' },
      ],
    };
    const seen = [
      {
        role: 'user',
        content: 'Weather?\n\n[weather({"city":"Lima"}) returned sun]\n\n[clock({}) returned 12:00]',
      },
      { role: 'assistant', content: 'Sunny at noon.' },
      { role: 'user', content: 'Thanks' },
    ];
    const server = await fakeOpenAI({
      respond: ({ tools }) =>
        tools ? httpError(400, { message: 'this model does not support tools' }) : 'You are welcome.',
    });
    const model = openaiModel({ model: 'm', baseURL: server.url, apiKey: 'sk-test' });
    const tools = new ToolSet([send('tell', true)]).specs();
    for (const one of [request, { ...request, tools }]) await readReply(model.stream(one));
    expect(server.requests.map(({ body }) => body.messages)).toEqual([seen, request.messages, seen]);
    await server.close();
  });
});

describe('YAML', () => {
  test('c01 enum [yes, no] and keys yes:, no: without quotes', async () => {
    const options = {
      values: 'enum: [yes, no]',
      routes: '  yes: { agent: orders }\n  no: { agent: products }\n',
    };
    expect(await route(['no'], options)).toMatchObject({ agent: 'products', text: HELLO });
  });

  test('c02 boolean enum and keys true:, false:', async () => {
    const options = {
      type: 'boolean',
      values: 'enum: [true, false]',
      routes: '  true: { agent: orders }\n  false: { agent: products }\n',
    };
    expect(await route([true], options)).toMatchObject({ agent: 'orders', text: HELLO });
    expect(await route(['False'], options)).toMatchObject({ agent: 'products', text: HELLO });
  });

  test('c03 numeric enum and numeric keys', async () => {
    const options = {
      type: 'integer',
      values: 'enum: [1, 2]',
      routes: '  1: { agent: orders }\n  2: { agent: products }\n',
    };
    expect(await route([2], options)).toMatchObject({ agent: 'products', text: HELLO });
    expect(await route(['2'], options)).toMatchObject({ agent: 'products', text: HELLO });
  });

  test('c04 an enum of texts that YAML reads as numbers, and misread keys', async () => {
    const values = {
      values: 'enum: [1.9, 1.10]',
      routes: '  "1.9": { agent: orders }\n  "1.10": { agent: products }\n',
    };
    const place = `agents/desk.yaml:6:${'      to: { type: string, '.length + 1}`;
    expect(await check(filesOf(values))).toContain(
      `${place} error TEAM_VALUE: the enum of "to" has the number 1.1, but its type is string; put the value in quotes`,
    );
    const keys = {
      values: 'enum: ["1.9", "1.10"]',
      routes: '  1.9: { agent: orders }\n  1.10: { agent: products }\n',
    };
    expect(await check(filesOf(keys))).toEqual([
      'agents/desk.yaml:14:5 error TEAM_SYNTAX: the key 1.10 is the number 1.1 in YAML; write "1.10"',
    ]);
    expect(await check(filesOf({ ...values, ...keys, routes: values.routes }))).toEqual([]);
  });

  test('c04 siblings: an enum of another type, in an object or a list', async () => {
    const parameters = (inner: string): Record<string, string> => ({
      'team.yaml': TEAM,
      'agents/desk.yaml': `functions:\n- name: f\n  parameters:\n    type: object\n    properties:\n      x: ${inner}\n`,
    });
    for (const inner of [
      '{ type: boolean, enum: [true, no] }',
      '{ type: integer, enum: ["1"] }',
      '{ type: str, enum: [true] }',
      '{ type: object, properties: { y: { type: string, enum: [07] } } }',
      '{ type: array, items: { type: string, enum: [2024-01, 12] } }',
    ]) {
      expect(await check(parameters(inner))).toEqual([expect.stringMatching(/TEAM_VALUE: the enum of "x/)]);
    }
    expect(await check(parameters('{ type: string, enum: ["1", no, 2024-01] }'))).toEqual([]);
  });

  test('c06 anchors with merge keys', async () => {
    const files = {
      'team.yaml': TEAM,
      'agents/desk.yaml':
        'functions:\n- &base\n  name: one\n  timeout_ms: 1000\n- <<: *base\n  name: two\n- <<: [*base]\n  name: three\n  timeout_ms: 5\n',
    };
    expect(await check(files)).toEqual([]);
    const { agents } = await readTeam(write(files));
    expect(agents[0]!.functions).toEqual([
      { name: 'one', timeout_ms: 1000 },
      { name: 'two', timeout_ms: 1000 },
      { name: 'three', timeout_ms: 5 },
    ]);
    expect(
      await check({ ...files, 'agents/desk.yaml': 'functions:\n- <<: 5\n  name: two\n' }),
    ).toContainEqual(expect.stringMatching(/TEAM_SYNTAX: Merge sources must be maps/));
  });

  test('c08 a key twice: named with its line', async () => {
    expect(await check({ 'team.yaml': `${TEAM}start: other\n`, 'agents/desk.yaml': LEAF })).toContain(
      'team.yaml:3:1 error TEAM_SYNTAX: the key "start" occurs twice; it is also in line 1',
    );
  });

  test('c10 a no-break space behind a colon', async () => {
    const files = { 'team.yaml': 'start:\u00a0desk\nagents: agents\n', 'agents/desk.yaml': LEAF };
    expect(await check(files)).toContain(
      'team.yaml:1:7 error TEAM_SYNTAX: a no-break space (U+00A0) is in the place of a space',
    );
  });

  test('c10 siblings: other blanks, in other places; text may contain them', () => {
    const faults = (text: string): string[] => new YamlFile('a.yaml', text).faults.map(formatDiagnostic);
    expect(faults('a: 1\n\u200bb:\n- x\n')).toEqual([
      'a.yaml:2:1 error TEAM_SYNTAX: the key "\u200bb" has an invisible character (U+200B)',
    ]);
    expect(faults('a\u00a0b: 1\n')).toEqual([
      'a.yaml:1:1 error TEAM_SYNTAX: the key "a\u00a0b" has a no-break space (U+00A0)',
    ]);
    expect(faults('a: b\n\u3000\u3000c: d\n-\u00a0e\n').join('\n')).toContain('(U+3000)');
    expect(faults('a: Combien\u00a0? Voici\u00a0:\u00a0tout\n')).toEqual([]);
    expect(
      new YamlFile('a.yaml', '- a: [\n'.repeat(20) + 'x:\u00a0y\n'.repeat(50)).faults.length,
    ).toBeLessThan(60);
  });

  test('c11 curly quotes around a name are shown', async () => {
    const files = { 'team.yaml': 'start: “desk”\nagents: agents\n', 'agents/desk.yaml': LEAF };
    expect((await check(files)).join()).toContain('“desk”');
  });

  test('c12 hidden files in the folder of the agents are ignored, and endings in upper case are accepted', async () => {
    const mac = '\u0000\u0005\u0016\u0007\u0000\u0002\u0000\u0000Mac OS X        \u0000\u0002';
    const files = { 'team.yaml': TEAM, 'agents/._desk.yaml': mac, 'agents/.#desk.yaml': mac };
    expect(await check({ ...files, 'agents/desk.yaml': LEAF })).toEqual([]);
    for (const name of ['desk.YAML', 'desk.Yml']) {
      expect((await readTeam(write({ ...files, [`agents/${name}`]: LEAF }))).agents).toEqual([
        { name: 'desk', system_directives: 'You answer.' },
      ]);
    }
  });

  test('c14 anchors and aliases without merge', async () => {
    const routes = '  orders: &o { agent: orders }\n  products: *o\n';
    expect(await route(['products'], { routes })).toMatchObject({ agent: 'orders', text: HELLO });
  });

  test('c17 %{today} is the local day of the process', async () => {
    const today = async (zone: string, now: string): Promise<string | null> => {
      vi.stubEnv('TZ', zone);
      const model = scriptedModel(['ok']);
      const agents = { a: { system_directives: 'Today is %{today}.' } };
      const team = await loadTeam({ start: 'a', agents }, { models: { default: model } });
      await team.run('Hi', { now: Date.parse(now) }).result;
      return model.requests[0]!.messages[0]!.content;
    };
    expect(await today('Pacific/Auckland', '2025-03-09T20:30:00Z')).toBe('Today is 2025-03-10.');
    expect(await today('America/Lima', '2025-03-10T01:00:00Z')).toBe('Today is 2025-03-09.');
    expect(await today('UTC', '2025-03-09T23:59:59Z')).toBe('Today is 2025-03-09.');
  });

  test('a missing key, and a key that YAML reads as null', () => {
    const faults = (text: string): string[] => new YamlFile('a.yaml', text).faults.map(formatDiagnostic);
    expect(faults('a:\n  null: 1\n')).toEqual([
      'a.yaml:2:3 error TEAM_SYNTAX: the key null means no value in YAML; write "null"',
    ]);
    expect(faults('~: 1\n')).toEqual([
      'a.yaml:1:1 error TEAM_SYNTAX: the key ~ means no value in YAML; write "~"',
    ]);
    expect(faults(': 1\n')).toEqual(['a.yaml:1:1 error TEAM_SYNTAX: a key is missing before ":"']);
    expect(faults('0x10: 1\n')).toEqual([
      'a.yaml:1:1 error TEAM_SYNTAX: the key 0x10 is the number 16 in YAML; write "0x10"',
    ]);
    expect(faults('1: a\n"null": b\n2.5: c\ntrue: d\n')).toEqual([]);
  });
});

describe('routes', () => {
  test('c20 the value differs by case', async () => {
    const { model, agent, text } = await route(['Orders']);
    expect({ agent, text, requests: model.count }).toEqual({ agent: 'orders', text: HELLO, requests: 2 });
  });

  test('c20 siblings: blanks, an argument without enum, and two values of one spelling', async () => {
    for (const values of ['enum: [orders, products]', '']) {
      for (const value of [' orders\n', 'ORDERS ', '\tOrders']) {
        expect((await route([value], { values })).agent).toBe('orders');
      }
    }
    const both = {
      values: 'enum: [US, us]',
      routes: '  US: { agent: orders }\n  us: { agent: products }\n',
    };
    expect((await route(['us'], both)).agent).toBe('products');
    const { model, agent } = await route(['Us', 'US'], both);
    expect(agent).toBe('orders');
    expect(toolResult(model, 1)).toContain('to: must be one of US, us');
  });

  test('c20 siblings: a value of the enum that has no route takes `otherwise`, not the route of its neighbour', async () => {
    const options = {
      values: 'enum: [us, US]',
      routes: '  us: { agent: orders }\n',
      otherwise: '  otherwise: { agent: products }\n',
    };
    expect((await route(['US'], options)).agent).toBe('products');
  });

  test('c22 the model invents a value: it receives the valid values once', async () => {
    const { model, agent, text } = await route(['billing', 'orders']);
    expect({ agent, text }).toEqual({ agent: 'orders', text: HELLO });
    expect(toolResult(model, 1)).toContain('to: must be one of orders, products');
    await expect(route(['billing', 'refunds'])).rejects.toMatchObject({
      code: 'ROUTE_UNKNOWN',
      details: { value: 'refunds', known: ['orders', 'products'] },
    });
  });

  test('c22 siblings: the same for an argument without enum, and for a list', async () => {
    for (const value of ['billing', ['orders'], { to: 'orders' }, null, '']) {
      const { model, agent } = await route([value, 'products'], { values: '' });
      expect(agent).toBe('products');
      expect(toolResult(model, 1)).toContain('to: must be one of orders, products');
    }
  });

  test('c24 a near miss or an invented value does not take `otherwise` at once', async () => {
    const otherwise = '  otherwise: { ignore: unclear }\n';
    expect((await route(['Orders'], { otherwise })).agent).toBe('orders');
    const invented = await route(['billing', 'Products'], { otherwise });
    expect(invented.agent).toBe('products');
    expect(toolResult(invented.model, 1)).toContain('to: must be one of orders, products');
    const model = scriptedModel([chooses('billing'), chooses('billing')]);
    const team = await loadTeam(write(filesOf({ otherwise })), { models: { default: model } });
    expect(await team.run('Hi').result).toMatchObject({ kind: 'ignored', reason: 'unclear' });
  });

  test('c24 siblings: a value that the schema allows takes `otherwise` without a second question', async () => {
    for (const values of ['enum: [orders, products, weather]', '']) {
      const model = scriptedModel([chooses('weather')]);
      const otherwise = '  otherwise: { ignore: unclear }\n';
      const team = await loadTeam(write(filesOf({ values, otherwise })), { models: { default: model } });
      expect(await team.run('Hi').result).toMatchObject({ kind: 'ignored', reason: 'unclear' });
      expect(model.count).toBe(1);
    }
  });

  test('c26 the next agent sees the earlier messages', async () => {
    const { model } = await route(['orders'], {}, [
      { role: 'user', content: 'My name is Ada' },
      { role: 'assistant', content: 'Hello Ada' },
      { role: 'user', content: 'Where is it?' },
    ]);
    const seen = model.requests[1]!.messages.map(({ content }) => content);
    expect(seen).toEqual(['You answer.', 'My name is Ada', 'Hello Ada', 'Where is it?']);
  });

  test('c28 a request without tools has no calls in its messages', async () => {
    const { model } = await route(['billing', 'orders']);
    expect(model.requests[2]!.tools).toBeUndefined();
    expect(model.requests[2]!.messages).toEqual([
      { role: 'system', content: 'You answer.' },
      { role: 'user', content: 'Hi' },
    ]);
  });

  test('c28 siblings: an agent without functions sees the results of functions, and roles alternate', async () => {
    const model = scriptedModel([
      callTools({ name: 'stock', arguments: { id: 7 } }, { text: 'Let me look.' }),
      chooses('orders'),
      HELLO,
      chooses('products'),
      HELLO,
    ]);
    const files = {
      ...filesOf(),
      'agents/desk.yaml': desk()
        .replace('functions:\n', 'functions:\n- name: stock\n  parameters: [{ name: id, type: int }]\n')
        .replace('function_call: { name: route }\n', ''),
    };
    const abilities = [{ stock: () => ({ left: 3 }) }];
    const team = await loadTeam(write(files), { models: { default: model }, abilities });
    const first = await team.run('How many?').result;
    const noted = { role: 'user', content: '[stock({"id":7}) returned {"left":3}]' };
    const seen = [
      { role: 'user', content: 'How many?' },
      { role: 'assistant', content: 'Let me look.' },
      noted,
    ];
    expect(model.requests[2]!.messages.slice(1)).toEqual(seen);
    // The agent with functions sees the calls themselves, and so does the history of the team.
    expect(model.requests[1]!.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool']);
    await team.run([...first.history, { role: 'user', content: 'And now?' }]).result;
    expect(model.requests[4]!.messages.slice(1)).toEqual([
      ...seen,
      { role: 'assistant', content: HELLO },
      { role: 'user', content: 'And now?' },
    ]);
  });

  test('c28 siblings: every server accepts the id of a call that the team makes itself', async () => {
    const otherwise = '  otherwise: { agent: orders }\n';
    const functions = 'functions:\n- name: ping\n  parameters: { type: object }\n';
    const files = { ...filesOf({ otherwise }), 'agents/orders.yaml': LEAF + functions };
    const model = scriptedModel(['No call.', 'Again none.', HELLO]);
    const team = await loadTeam(write(files), {
      models: { default: model },
      abilities: [{ ping: () => ({}) }],
    });
    await team.run('Hi').result;
    const ids = model.requests[2]!.messages.flatMap((one) => (one.role === 'tool' ? [one.tool_call_id] : []));
    expect(ids).toEqual([expect.stringMatching(/^[A-Za-z0-9]{9}$/)]);
  });

  test('c30 a temperature that the server refuses without naming the parameter is left out', async () => {
    const server = await fakeOpenAI({
      respond: ({ temperature }) =>
        temperature === undefined
          ? HELLO
          : httpError(400, { message: 'invalid temperature: only 1 is allowed for this model' }),
    });
    const model = openaiModel({ model: 'm', baseURL: server.url, apiKey: 'sk-test' });
    const agents = { a: { temperature: 0.2, system_directives: 'Hi' } };
    const team = await loadTeam({ start: 'a', agents }, { models: { default: model } });
    expect(await team.run('Hi').result).toMatchObject({ kind: 'text', text: HELLO });
    expect(await team.run('Hi').result).toMatchObject({ kind: 'text', text: HELLO });
    expect(server.requests.map(({ body }) => body.temperature)).toEqual([0.2, undefined, undefined]);
    await server.close();
  });
});

describe('typed answers', () => {
  const answers = (...steps: Scripted[]): ChatModel => scriptedModel(steps);
  const strings = (text: string): Promise<string[]> =>
    list({ model: answers(text), input: 'x', item: z.string() });

  test('c40 a list in a ```json fence with sentences around it', async () => {
    expect(await strings('Here you are:\n```json\n["a", "b"]\n```\nAnything else?')).toEqual(['a', 'b']);
  });

  test('c42 choose: the option in another case', async () => {
    const options = { sports: 's', politics: 'p' };
    for (const option of ['Sports', ' sports ', 'SPORTS']) {
      const model = answers(callTools({ name: 'choose_option', arguments: { option } }));
      expect(await choose({ model, input: 'x', options })).toBe('sports');
    }
  });

  test('c42 siblings: a list in an object', async () => {
    expect(await strings('{"items": ["a", "b"]}')).toEqual(['a', 'b']);
    expect(await strings('```json\n{"count": 2, "result": ["a", "b"]}\n```')).toEqual(['a', 'b']);
    await expect(
      list({ model: answers('{"a": ["a"], "b": ["b"]}', '{"a": "a"}'), input: 'x', item: z.string() }),
    ).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
  });

  test('c42 siblings: enums of any function, in objects and lists', () => {
    const f = defineFunction({
      name: 'f',
      parameters: z.object({
        unit: z.enum(['celsius', 'fahrenheit']).optional(),
        days: z.array(z.enum(['Mo', 'Tu'])),
        at: z.object({ zone: z.enum(['UTC', 'utc', 'local']) }),
      }),
    });
    expect(f.parse('{"unit":"Celsius","days":["mo","TU "],"at":{"zone":"Local"}}')).toEqual({
      ok: true,
      value: { unit: 'celsius', days: ['Mo', 'Tu'], at: { zone: 'local' } },
    });
    const wrong = f.parse('{"unit":"kelvin","days":["mo"],"at":{"zone":"Utc"}}');
    expect(wrong.ok || wrong.error.issues.map(({ path }) => path)).toEqual(['unit', 'at.zone']);
  });

  test('c44 a fence on one line, in upper case', () => {
    const f = defineFunction({ name: 'f', parameters: z.object({ a: z.string() }) });
    expect(f.parse('```JSON {"a":"x"}```')).toEqual({ ok: true, value: { a: 'x' } });
  });

  test('c45 a JSON Schema with $defs and $ref', () => {
    const f = functionFromJsonSchema({
      name: 'f',
      parameters: {
        type: 'object',
        properties: { n: { $ref: '#/$defs/node' } },
        required: ['n'],
        $defs: { node: { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'] } },
      },
    });
    expect(f.parse('{"n":{"id":1}}').ok).toBe(true);
    expect(f.parse('{"n":{"id":"x"}}').ok).toBe(false);
    expect(f.spec.function.parameters.$defs).toBeDefined();
  });

  test('c47 a schema that refers to itself', () => {
    const node = {
      type: 'object',
      properties: { id: { type: 'string' }, children: { type: 'array', items: { $ref: '#/$defs/node' } } },
    };
    const f = functionFromJsonSchema({
      name: 'f',
      parameters: { type: 'object', properties: { tree: { $ref: '#/$defs/node' } }, $defs: { node } },
    });
    expect(f.parse('{"tree":{"id":"a","children":[{"id":"b"}]}}').ok).toBe(true);
    expect(f.parse('{"tree":{"children":[{"id":3}]}}').ok).toBe(false);
  });

  test('c49 parameters of type object without properties', async () => {
    for (const parameters of [
      '{ type: object }',
      '{ type: object, properties: }',
      '{ type: object, properties: {} }',
    ]) {
      const agent = `functions:\n- name: ping\n  parameters: ${parameters}\n`;
      expect(await check({ 'team.yaml': TEAM, 'agents/desk.yaml': agent })).toEqual([]);
    }
    const f = functionFromJsonSchema({ name: 'ping', parameters: { type: 'object' } as JsonSchemaObject });
    expect(f.parse('')).toEqual({ ok: true, value: {} });
    expect(f.spec.function.parameters).toEqual({ type: 'object', properties: {} });
  });

  test('c49 siblings: `float` and its like at any depth', () => {
    const f = functionFromJsonSchema({
      name: 'f',
      parameters: {
        type: 'object',
        properties: {
          a: { anyOf: [{ type: 'float' }, { type: 'null' }] },
          b: { type: 'list', items: { type: 'dict', properties: { c: { type: 'int' } } } },
          d: { type: ['float', 'null'] },
          type: { type: 'str' },
        },
      },
    });
    expect(f.spec.function.parameters.properties).toEqual({
      a: { anyOf: [{ type: 'number' }, { type: 'null' }] },
      b: { type: 'array', items: { type: 'object', properties: { c: { type: 'integer' } } } },
      d: { type: ['number', 'null'] },
      type: { type: 'string' },
    });
    expect(f.parse('{"a":1.5,"b":[{"c":1}],"d":null,"type":"x"}').ok).toBe(true);
  });
});

test('R21: the end of a turn that a team ignored has the reason, also when it is read again', async () => {
  const ignores = desk({ routes: '  orders: { ignore: attack }\n  products: { agent: products }\n' });
  const path = write({ ...filesOf(), 'agents/desk.yaml': ignores });
  const team = await loadTeam(path, { models: { default: scriptedModel([chooses('orders')]) } });
  const chat = await servedChat(new TeamAgent({ team }));
  const { id } = await chat.start();
  const turn = { conversation_id: id, turn_id: 't1' };
  const outcome = await chat.call('run_turn', { ...turn, user_message: 'Hi', answer: 'outcome' });
  expect(outcome).toMatchObject({ state: 'completed', text: '', ignored: 'attack' });
  expect(await chat.call('get_turn', turn)).toMatchObject({ text: '', ignored: 'attack' });
  const { events } = await chat.call<{ events: object[] }>('read_events', { conversation_id: id });
  expect(events.at(-1)).toMatchObject({ type: 'done', text: '', ignored: 'attack' });
  await chat.close();
});
