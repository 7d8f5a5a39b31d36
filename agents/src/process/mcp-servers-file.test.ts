import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readMcpServersFile } from './mcp-servers-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'fame-mcp-'));
afterAll(() => rmSync(directory, { recursive: true }));

const named = (variable: string): string => `\${${variable}}`;

function read(content: unknown, env = {}) {
  const mcpServersFile = join(directory, 'servers.json');
  writeFileSync(mcpServersFile, typeof content === 'string' ? content : JSON.stringify(content));
  return readMcpServersFile({ mcpServersFile, dataDir: '/data' }, env);
}

test('servers are read in the form of editors, without those that are switched off', async () => {
  const servers = await read({
    inputs: [],
    mcpServers: {
      'My files': { command: 'npx', args: ['-y', 'files'], env: { A: '1' }, type: 'stdio', autoApprove: [] },
      docs: {
        type: 'http',
        url: 'https://docs.example/mcp',
        headers: { Authorization: 'Bearer a' },
        fame: { tools: ['search'], prefix: '', approve: true, timeoutMs: 5_000 },
      },
      old: { command: 'old', disabled: true },
    },
  });
  expect(servers).toEqual([
    {
      name: 'My files',
      command: 'npx',
      args: ['-y', 'files'],
      env: { A: '1' },
      prefix: 'My_files_',
      pinFile: '/data/mcp/My%20files.json',
    },
    {
      name: 'docs',
      url: 'https://docs.example/mcp',
      headers: { Authorization: 'Bearer a' },
      tools: ['search'],
      prefix: '',
      approve: true,
      timeoutMs: 5_000,
      pinFile: '/data/mcp/docs.json',
    },
  ]);
  expect(await readMcpServersFile({ mcpServersFile: undefined, dataDir: '/data' }, {})).toEqual([]);
});

test('values name variables, so that the file needs no secrets', async () => {
  const mcpServers = {
    a: { command: 'a', args: ['$HOME', `--key=${named('KEY')}`], env: { TOKEN: named('env:KEY') } },
    b: { url: `https://${named('HOST')}/mcp`, headers: { Authorization: `Bearer ${named('KEY')}` } },
  };
  expect(await read({ mcpServers }, { KEY: 'k1', HOST: 'b.example' })).toMatchObject([
    { args: ['$HOME', '--key=k1'], env: { TOKEN: 'k1' } },
    { url: 'https://b.example/mcp', headers: { Authorization: 'Bearer k1' } },
  ]);
  await expect(read({ mcpServers }, { HOST: 'b.example' })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    details: {
      faults: Array.from({ length: 2 }, () => 'a: the variable KEY is not set').concat(
        'b: the variable KEY is not set',
      ),
    },
  });
});

test.each<[string, unknown, string]>([
  ['that is not JSON', '{"mcpServers": {"a": sk-secret}}', 'is not JSON'],
  ['without servers', {}, 'mcpServers'],
  ['with a server without an address', { mcpServers: { a: {} } }, 'a: The MCP server "a" needs either'],
  ['with an address of the wrong type', { mcpServers: { a: { command: 7 } } }, 'mcpServers.a.command'],
  ['with an unknown setting of ours', { mcpServers: { a: { command: 'a', fame: { tool: [] } } } }, 'tool'],
  ['with a bad name', { mcpServers: { 'a\u0007': { command: 'a' } } }, 'a name has 1 to 64 characters'],
  [
    'with many servers',
    { mcpServers: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`s${i}`, { command: 'a' }])) },
    'more than 32',
  ],
])('a file %s is a configuration fault', async (_, content, message) => {
  const error: Error = await read(content).then(
    () => expect.unreachable(),
    (reason: Error) => reason,
  );
  expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
  expect(error.message).toContain(message);
  expect(error.message).not.toContain('sk-secret');
});

test('a missing file is a configuration fault', async () => {
  const mcpServersFile = join(directory, 'none.json');
  await expect(readMcpServersFile({ mcpServersFile, dataDir: '.' }, {})).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('cannot be read'),
  });
});
