// A call as text to copy: for the shell with curl and with `fame call`, and as programs in TypeScript and Python.
import { isObject } from './schema.ts';

export interface CodeOf {
  readonly address: string;
  readonly operation: string;
  /** As `readForm` returns them: an object by name, or an array by position. */
  readonly params: unknown;
  readonly isStreaming: boolean;
  /** Origin of the sentinel, such as `http://127.0.0.1:8000`. */
  readonly origin: string;
  /** True if the sentinel needs a credential. */
  readonly needsKey: boolean;
}

export interface CallCode {
  readonly curl: string;
  readonly fame: string;
  readonly typescript: string;
  readonly python: string;
}

/** Origins that every client uses by itself. */
const DEFAULT_ORIGINS: ReadonlySet<string> = new Set(['http://127.0.0.1:8000', 'http://localhost:8000']);
const KEY = 'FAME_ADMISSION_TOKEN';
const URL_VARIABLE = 'FAME_DIRECT_ADMISSION_URL';

/** The parameters as the link sends them. */
export const wireParams = (params: unknown): unknown => (Array.isArray(params) ? { args: params } : params);

export const codeOf = (call: CodeOf): CallCode => ({
  curl: curl(call),
  fame: fame(call),
  typescript: typescript(call),
  python: python(call),
});

const admissionUrlOf = (origin: string): string =>
  `${origin.replace(/^http/, 'ws')}/fame/v1/attach/ws/downstream`;

/** Text in single quotes for a POSIX shell; plain words need none. */
export const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

function curl({ address, operation, params, isStreaming, origin, needsKey }: CodeOf): string {
  const path = `/agents/${encodeURIComponent(address).replaceAll('%40', '@')}/${encodedOperation(operation)}`;
  const options = [
    isStreaming ? "curl -sN -H 'Accept: text/event-stream'" : 'curl -s',
    ...(needsKey ? [`-H "Authorization: Bearer $${KEY}"`] : []),
    quoted(origin + path),
    `-d ${quoted(JSON.stringify(wireParams(params)))}`,
  ];
  return options.join(' \\\n  ');
}

const encodedOperation = (operation: string): string =>
  encodeURI(operation).replace(/[?#']/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

function fame({ address, operation, params, isStreaming, origin }: CodeOf): string {
  const variable = DEFAULT_ORIGINS.has(origin) ? '' : `${URL_VARIABLE}=${quoted(admissionUrlOf(origin))} `;
  const words = [quoted(address), quoted(operation)];
  if (!isWithoutParams(params)) words.push(quoted(JSON.stringify(params)));
  if (isStreaming) words.push('--stream');
  return `${variable}npx fame-fabric call ${words.join(' ')}`;
}

const isWithoutParams = (params: unknown): boolean =>
  Array.isArray(params) ? params.length === 0 : isObject(params) && Object.keys(params).length === 0;

function typescript({ address, operation, params, isStreaming, origin, needsKey }: CodeOf): string {
  const settings = [
    ...(DEFAULT_ORIGINS.has(origin) ? [] : [`url: ${literal(admissionUrlOf(origin))}`]),
    ...(needsKey ? [`token: process.env.${KEY}`] : []),
  ];
  const options = settings.length > 0 ? `{ ${settings.join(', ')} }` : '';
  const call = `${literal(address)}, ${literal(operation)}, ${literal(wireParams(params))}`;
  return [
    "import { connect } from '@fame-fabric/client';",
    '',
    `const client = await connect(${options});`,
    ...(isStreaming
      ? [`for await (const item of client.stream(${call})) console.log(item);`]
      : [`console.log(await client.call(${call}));`]),
    'await client.close();',
  ].join('\n');
}

/** A value of JSON in TypeScript. Line separators and `</script` stay inert. */
const literal = (value: unknown): string =>
  typeof value === 'string'
    ? `'${JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
    : JSON.stringify(value, undefined, 2);

function python({ address, operation, params, isStreaming, origin, needsKey }: CodeOf): string {
  const args = Array.isArray(params) ? params.map(pythonValue) : namedArguments(params);
  if (isStreaming) args.push('_stream=True');
  const method = isPythonName(operation) ? `agent.${operation}` : `getattr(agent, ${pythonValue(operation)})`;
  const call = `await ${method}(${args.join(', ')})`;
  return [
    '# pip install naylence-agent-sdk',
    `# export ${URL_VARIABLE}=${quoted(admissionUrlOf(origin))}`,
    ...(needsKey ? ['# export FAME_ADMISSION_TOKEN_URL=...  # the sentinel needs a token'] : []),
    'import asyncio',
    '',
    'from naylence.agent import Agent, configs',
    'from naylence.fame.core import FameFabric',
    '',
    '',
    'async def main():',
    '    async with FameFabric.create(root_config=configs.CLIENT_CONFIG):',
    `        agent = Agent.remote_by_address(${pythonValue(address)})`,
    ...(isStreaming
      ? [`        async for item in ${call}:`, '            print(item)']
      : [`        print(${call})`]),
    '',
    '',
    'asyncio.run(main())',
  ].join('\n');
}

const PYTHON_KEYWORDS = new Set(
  'False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield'.split(
    ' ',
  ),
);
const isPythonName = (name: string): boolean => /^[A-Za-z]\w*$/.test(name) && !PYTHON_KEYWORDS.has(name);

function namedArguments(params: unknown): string[] {
  if (!isObject(params)) return [];
  const entries = Object.entries(params);
  if (entries.length > 0 && !entries.every(([name]) => isPythonName(name)))
    return [`**${pythonValue(params)}`];
  return entries.map(([name, value]) => `${name}=${pythonValue(value)}`);
}

/** A value of JSON in Python. */
function pythonValue(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(', ')}]`;
  if (isObject(value)) {
    const items = Object.entries(value).map(([name, one]) => `${pythonValue(name)}: ${pythonValue(one)}`);
    return `{${items.join(', ')}}`;
  }
  // A surrogate pair of JSON would be two characters in Python, so characters beyond ASCII stay as they are.
  return JSON.stringify(value);
}
