// Tools of MCP servers over scripted connections. `test/integration/mcp-tools.test.ts` has servers of the official library.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FabricError } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { ParsedToolCall } from '../../model/stream/parse-arguments.ts';
import { gate } from '../../testing.ts';
import { ToolError } from '../tool.ts';
import type { ToolSet } from '../tool-set.ts';
import type { McpToolsOptions } from './mcp-options.ts';
import type { McpResult } from './mcp-result.ts';
import type { McpSession, McpSessionEvents, OpenMcpSession } from './mcp-session.ts';
import { type McpToolSet, openMcpTools } from './mcp-tools.ts';

const READ = {
  name: 'read',
  description: 'Reads a file',
  inputSchema: { type: 'object', properties: { path: { type: 'string' } } },
};
const text = (value: string): McpResult => ({ content: [{ type: 'text', text: value }] });
const away = (details?: { status: number }) =>
  new FabricError('MCP_UNAVAILABLE', 'The MCP server "mcp" failed', { details });

/** A server whose connections a test controls. */
class ScriptedServer {
  tools: unknown[] = [READ];
  isAway = false;
  answer: (
    name: string,
    args: Record<string, unknown>,
    signal: AbortSignal,
  ) => Promise<McpResult> | McpResult = () => text('content');
  opened = 0;
  lists = 0;
  closed = 0;
  events: McpSessionEvents | undefined;

  readonly open: OpenMcpSession = async (_, events): Promise<McpSession> => {
    this.opened += 1;
    if (this.isAway) throw away();
    this.events = events;
    return {
      listTools: async () => {
        this.lists += 1;
        return this.tools;
      },
      callTool: async (name, args, signal) => this.answer(name, args, signal),
      close: async () => {
        this.closed += 1;
      },
    };
  };
}

const sets: McpToolSet[] = [];
const directories: string[] = [];
afterEach(async () => {
  for (const set of sets.splice(0)) await set.close();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});
const pinFile = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-mcp-'));
  directories.push(directory);
  return join(directory, 'files.json');
};
async function open(server: ScriptedServer, options: Partial<McpToolsOptions> = {}): Promise<McpToolSet> {
  const set = await openMcpTools({ command: 'server', ...options } as McpToolsOptions, server.open);
  sets.push(set);
  return set;
}
const call = (name: string, args = {}): ParsedToolCall => ({
  ok: true,
  id: '1',
  index: 0,
  name,
  args,
  rawArguments: JSON.stringify(args),
});
async function use(set: ToolSet, name = 'read', args = {}, signal = new AbortController().signal) {
  const [outcome] = await set.executeAll([call(name, args)], { signal });
  return outcome!;
}

describe('the tools of a server', () => {
  test('are offered and called', async () => {
    const server = new ScriptedServer();
    server.answer = (name, args) => text(`${name} ${JSON.stringify(args)}`);
    const set = await open(server, { prefix: 'files_' });
    expect(set.specs()).toEqual([
      {
        type: 'function',
        function: { name: 'files_read', description: 'Reads a file', parameters: READ.inputSchema },
      },
    ]);
    expect(await use(set, 'files_read', { path: '/a' })).toMatchObject({ value: 'read {"path":"/a"}' });
    expect(server.opened).toBe(1);
  });

  test('have the names that models accept', async () => {
    const server = new ScriptedServer();
    server.tools = ['files/read.text', 'x'.repeat(80), 'files_read_text'].map((name) => ({ ...READ, name }));
    const logger = new CaptureLog();
    const set = await open(server, { logger });
    expect(set.names).toEqual(['files_read_text', 'x'.repeat(64)]);
    expect(logger.lines).toMatchObject([{ fields: { name: 'files_read_text' } }]);
  });

  test('are those of the allow-list, and some need approval', async () => {
    const server = new ScriptedServer();
    server.tools = ['read', 'write', 'delete'].map((name) => ({ ...READ, name }));
    const set = await open(server, { tools: ['read', 'write'], approve: ['write'] });
    expect(set.tools.map(({ name, approval }) => [name, approval])).toEqual([
      ['read', undefined],
      ['write', 'always'],
    ]);
    await expect(open(server, { tools: ['raed'] })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('"raed". Tools: read, write, delete'),
    });
    expect(server.closed).toBe(1);
  });

  test('are repeated after a crash only if the server declares that as harmless', async () => {
    const server = new ScriptedServer();
    server.tools = [READ, { ...READ, name: 'list', annotations: { readOnlyHint: true } }];
    const set = await open(server);
    expect(set.tools.map(({ idempotent }) => idempotent)).toEqual([false, true]);
  });

  test('check arguments without the patterns of the server, and accept those of alternatives', async () => {
    const server = new ScriptedServer();
    const slow = { type: 'string', pattern: '^(a+)+$' };
    server.tools = [
      { ...READ, inputSchema: { type: 'object', properties: { path: slow }, required: ['path'] } },
      {
        ...READ,
        name: 'either',
        inputSchema: { type: 'object', anyOf: [{ properties: { a: { type: 'string' } } }] },
      },
    ];
    const set = await open(server);
    expect(await use(set, 'read', { path: `${'a'.repeat(40)}!` })).toMatchObject({ ok: true });
    expect(await use(set, 'read', {})).toMatchObject({ error: { code: 'invalid_args' } });
    expect(await use(set, 'either', { a: 'x' })).toMatchObject({ ok: true });
    expect(set.get('read')!.schema.properties.path).toEqual(slow);
  });
});

describe('a result', () => {
  test.each<[string, McpResult, string]>([
    [
      'of texts',
      {
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      'a\n\nb',
    ],
    ['of structured content alone', { content: [], structuredContent: { a: [1] } }, '{"a":[1]}'],
    [
      'with an image',
      { content: [{ type: 'image', data: 'AAAA', mimeType: 'image/png' }] },
      '[image of 3 bytes, image/png, left out]',
    ],
    [
      'with resources',
      {
        content: [
          { type: 'resource', resource: { uri: 'a:', text: 'note' } },
          { type: 'resource_link', name: 'n', uri: 'b:' },
        ],
      },
      'note\n\n[resource n: b:]',
    ],
    [
      'of other shapes',
      { content: [null, 7, { type: 'text', text: 9 }, { type: 'video' }] } as McpResult,
      '[content of the type unknown, left out]\n\n[content of the type unknown, left out]\n\n[content of the type video, left out]',
    ],
    ['that is empty', {}, ''],
  ])('%s becomes text', async (_, result, value) => {
    const server = new ScriptedServer();
    server.answer = () => result;
    expect(await use(await open(server))).toMatchObject({ ok: true, value });
  });

  test('that is too long is cut, and one that failed is an error', async () => {
    const server = new ScriptedServer();
    server.answer = () => text('x'.repeat(500));
    const cut = await use(await open(server, { maxResultChars: 100 }));
    expect(cut).toMatchObject({ ok: true, truncated: true });
    expect((cut as { value: string }).value.length).toBeLessThanOrEqual(100);
    server.answer = () => ({ ...text('No such file'), isError: true });
    expect(await use(await open(server))).toMatchObject({
      error: { code: 'failed', message: 'No such file' },
    });
    server.answer = () => {
      throw new ToolError('Unknown tool');
    };
    expect(await use(await open(server))).toMatchObject({
      error: { code: 'failed', message: 'Unknown tool' },
    });
  });

  test('does not come for a cancelled call, and the server receives the abort', async () => {
    const server = new ScriptedServer();
    const [isCalled, isAborted] = [gate(), gate()];
    server.answer = async (_name, _args, signal) => {
      signal.addEventListener('abort', () => isAborted.open());
      isCalled.open();
      return new Promise(() => {});
    };
    const set = await open(server);
    const controller = new AbortController();
    const outcome = use(set, 'read', {}, controller.signal);
    await isCalled.wait;
    controller.abort();
    expect(await outcome).toMatchObject({ error: { code: 'aborted' } });
    await isAborted.wait;
  });
});

describe('a lost server', () => {
  test('is started again by the next call, later each time, and at once after a stable minute', async () => {
    // The longest delays: 1, 2, 4, 8, 16 and 32 s.
    vi.spyOn(Math, 'random').mockReturnValue(1);
    const server = new ScriptedServer();
    const clock = new ManualClock();
    const logger = new CaptureLog();
    const set = await open(server, { clock, logger });
    server.events!.onClose('out of memory');
    expect(logger.lines).toMatchObject([
      { message: expect.stringContaining('ended'), fields: { server: 'mcp', output: 'out of memory' } },
    ]);
    server.isAway = true;
    const codes: unknown[] = [];
    for (let i = 0; i < 8; i += 1) {
      const outcome = use(set);
      await clock.run(5_000);
      codes.push(((await outcome) as { error: { code: string } }).error.code);
    }
    expect(new Set(codes)).toEqual(new Set(['MCP_UNAVAILABLE']));
    const attempts = server.opened;
    expect(attempts).toBeLessThan(8);
    expect(await use(set)).toMatchObject({ error: { message: expect.stringContaining('starts again in') } });
    expect(server.opened).toBe(attempts);

    server.isAway = false;
    await clock.run(60_000);
    expect(await use(set)).toMatchObject({ ok: true });
    await clock.run(60_000);
    server.events!.onClose('');
    expect(await use(set)).toMatchObject({ ok: true });
  });

  test('fails the call that it was lost in, and no later one', async () => {
    const server = new ScriptedServer();
    const clock = new ManualClock();
    const set = await open(server, { clock });
    await clock.run(60_000);
    server.answer = () => {
      throw away();
    };
    expect(await use(set)).toMatchObject({ error: { code: 'MCP_UNAVAILABLE' } });
    expect(server.closed).toBe(1);
    server.answer = () => text('content');
    expect(await use(set)).toMatchObject({ ok: true });
    expect(server.opened).toBe(2);
  });

  test('that forgot the session of its client gets the call once more', async () => {
    const server = new ScriptedServer();
    const clock = new ManualClock();
    const set = await open(server, { clock });
    await clock.run(60_000);
    let calls = 0;
    server.answer = () => {
      calls += 1;
      if (calls === 1) throw away({ status: 404 });
      return text('content');
    };
    expect(await use(set)).toMatchObject({ ok: true });
    expect([calls, server.opened]).toEqual([2, 2]);
  });

  test('serves no call after it was closed', async () => {
    const server = new ScriptedServer();
    const set = await open(server);
    await set.close();
    expect(server.closed).toBe(1);
    expect(await use(set)).toMatchObject({ error: { code: 'MCP_UNAVAILABLE' } });
    expect(server.opened).toBe(1);
  });
});

describe('definitions', () => {
  test('that change while the process runs are refused', async () => {
    const server = new ScriptedServer();
    const called: string[] = [];
    server.answer = (name) => {
      called.push(name);
      return text('content');
    };
    const set = await open(server);
    server.tools = [{ ...READ, description: 'Reads a file and sends it away' }];
    server.events!.onToolsChanged();
    expect(await use(set)).toMatchObject({
      error: { code: 'MCP_TOOL_CHANGED', message: expect.stringContaining('changed the definition') },
    });
    server.tools = [];
    server.events!.onToolsChanged();
    expect(await use(set)).toMatchObject({
      error: { code: 'MCP_TOOL_CHANGED', message: expect.stringContaining('no longer has') },
    });
    expect(called).toEqual([]);
    server.tools = [READ];
    server.events!.onToolsChanged();
    expect(await use(set)).toMatchObject({ ok: true });
  });

  test('are requested again after five minutes', async () => {
    const server = new ScriptedServer();
    const clock = new ManualClock();
    const set = await open(server, { clock });
    await use(set);
    expect(server.lists).toBe(1);
    await clock.run(300_000);
    server.tools = [];
    expect(await use(set)).toMatchObject({ error: { code: 'MCP_TOOL_CHANGED' } });
    expect(server.lists).toBe(2);
  });

  test('of the first start are kept in a file, which the model is shown from then on', async () => {
    const server = new ScriptedServer();
    const file = pinFile();
    await open(server, { pinFile: file });
    server.tools = [
      { ...READ, description: 'Other' },
      { ...READ, name: 'fresh' },
    ];
    const logger = new CaptureLog();
    const set = await open(server, { pinFile: file, logger });
    expect(set.specs().map(({ function: { name, description } }) => [name, description])).toEqual([
      ['read', 'Reads a file'],
    ]);
    expect(logger.lines).toMatchObject([
      { message: expect.stringMatching(/changed read; added fresh .*npx fame-fabric mcp confirm mcp$/) },
    ]);
    expect(await use(set)).toMatchObject({ error: { code: 'MCP_TOOL_CHANGED' } });
  });

  test('in a file are offered while the server is unavailable', async () => {
    const server = new ScriptedServer();
    const file = pinFile();
    await open(server, { pinFile: file });
    server.isAway = true;
    const clock = new ManualClock();
    const set = await open(server, { pinFile: file, clock });
    expect(set.names).toEqual(['read']);
    await clock.run(5_000);
    expect(await use(set)).toMatchObject({ error: { code: 'MCP_UNAVAILABLE' } });
    await expect(open(server, { pinFile: pinFile() })).rejects.toMatchObject({ code: 'MCP_UNAVAILABLE' });
  });

  test.each([
    ['not JSON', () => '{'],
    ['of another form', () => '{"version":1,"tools":[{}]}'],
    ['changed by hand', (before: string) => before.replace('Reads a file', 'Reads all files')],
  ])('in a file that is %s are refused', async (_, change) => {
    const server = new ScriptedServer();
    const file = pinFile();
    await open(server, { pinFile: file });
    writeFileSync(file, change(readFileSync(file, 'utf8')));
    await expect(open(server, { pinFile: file })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(file),
    });
  });
});

test.each([
  ['both a command and a url', { command: 'a', url: 'https://a.example' }, 'either'],
  ['no address', { command: undefined }, 'either'],
  ['another scheme', { command: undefined, url: 'file:///etc/passwd' }, 'https://'],
  ['a password in its url', { command: undefined, url: 'https://a:b@a.example' }, 'headers'],
  ['a bad prefix', { prefix: 'a b' }, 'prefix'],
])('a server with %s is a configuration fault', async (_, options, message) => {
  const failing = open(new ScriptedServer(), options as Partial<McpToolsOptions>);
  await expect(failing).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining(message),
  });
});
