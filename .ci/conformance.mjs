// Writes the table of clients in docs/conformance.md from the reports of a test run: each client with its version and the number of its
// cases that passed. `.ci/run` calls it after the tests; it fails if the table in the repository is another one, and writes the new one to
// .fame/conformance.md. `--write` changes the page.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const PAGE = 'docs/conformance.md';
const BEGIN = '<!-- clients: written by .ci/conformance.mjs -->';
const END = '<!-- end of clients -->';

const packages = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
const clientPackages = JSON.parse(readFileSync('test/doors/package-lock.json', 'utf8')).packages;
const pythonRequirements = readFileSync('test/doors/openai/python/requirements.txt', 'utf8');

/** Version of an npm package, of those that the tests install first. */
const npm = (name) => (clientPackages[`node_modules/${name}`] ?? packages[`node_modules/${name}`]).version;
const python = (name) => new RegExp(`^${name}==(\\S+)$`, 'm').exec(pythonRequirements)[1];

/** Each row: the door, the client, its version, and the tests that count: a file, and a text that their names have. */
const ROWS = [
  ['Chat Completions', '`openai` for JavaScript', npm('openai'), 'test/doors/openai/openai-js.test.ts', ''],
  [
    'Chat Completions',
    '`openai` for Python',
    python('openai'),
    'test/doors/openai/python.test.ts',
    'openai:',
  ],
  [
    'Chat Completions',
    'LiteLLM for Python',
    python('litellm'),
    'test/doors/openai/python.test.ts',
    'LiteLLM:',
  ],
  [
    'Chat Completions',
    'AI SDK, `@ai-sdk/openai-compatible`',
    npm('@ai-sdk/openai-compatible'),
    'test/doors/openai/ai-sdk.test.ts',
    '',
  ],
  ['Responses', '`openai` for JavaScript', npm('openai'), 'test/doors/openai/responses-js.test.ts', ''],
  ['Responses', '`openai` for Python', python('openai'), 'test/doors/openai/responses-python.test.ts', ''],
  [
    'Responses',
    'AI SDK, `@ai-sdk/open-responses`',
    npm('@ai-sdk/open-responses'),
    'test/doors/openai/responses-ai-sdk.test.ts',
    '',
  ],
  ['A2A', '`@a2a-js/sdk`', npm('@a2a-js/sdk'), 'test/doors/a2a.test.ts', ''],
  [
    'MCP',
    '`@modelcontextprotocol/client`',
    npm('@modelcontextprotocol/client'),
    'test/doors/mcp.test.ts',
    '',
  ],
  ['ACP', '`@agentclientprotocol/sdk`', npm('@agentclientprotocol/sdk'), 'test/integration/acp.test.ts', ''],
];

function passedOf(results, file, text) {
  const cases = results
    .filter(({ name }) => name.endsWith(`/${file}`))
    .flatMap((result) => result.assertionResults);
  return cases.filter(({ fullName, status }) => fullName.includes(text) && status === 'passed').length;
}

function tableOf(results) {
  const rows = ROWS.map(
    ([door, client, version, file, text]) =>
      `| ${door} | ${client} | ${version} | ${passedOf(results, file, text)} |`,
  );
  return ['| Door | Client | Version | Cases that passed |', '|---|---|---|---|', ...rows].join('\n');
}

const isWriting = process.argv.includes('--write');
const reports = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const results = reports.flatMap((file) => JSON.parse(readFileSync(file, 'utf8')).testResults);
const page = readFileSync(PAGE, 'utf8');
const [before, rest = ''] = page.split(BEGIN);
const [committed, after = ''] = rest.split(END);
const table = tableOf(results);
console.log(table);
if (committed.trim() !== table) {
  if (isWriting) writeFileSync(PAGE, `${before}${BEGIN}\n\n${table}\n\n${END}${after}`);
  else {
    mkdirSync('.fame', { recursive: true });
    writeFileSync('.fame/conformance.md', `${table}\n`);
    console.log(
      `This table differs from the one in ${PAGE}. To change the page: node .ci/conformance.mjs --write ${reports.join(' ')}`,
    );
    process.exitCode = 1;
  }
}
