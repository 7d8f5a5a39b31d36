import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { scriptedModel } from '../testing/scripted-model.ts';
import { type Diagnostic, formatDiagnostic, type TeamConfigError } from '../yaml/diagnostic.ts';
import { loadTeam, parseAgentFile, readTeam } from './load-team.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** Writes files into a folder of their own; gives the path of team.yaml. */
function write(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'fame-team-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return join(folder, 'team.yaml');
}
const models = { default: scriptedModel([]) };
const TEAM = 'start: a\nagents: ./agents\n';
const lines = (path: string, diagnostics: readonly Diagnostic[]): string[] =>
  diagnostics.map((one) =>
    formatDiagnostic(
      one.place ? { ...one, place: { ...one.place, file: relative(dirname(path), one.place.file) } } : one,
    ),
  );
const check = async (files: Record<string, string>): Promise<string[]> => {
  const path = write(files);
  return lines(path, (await readTeam(path)).diagnostics);
};
const fixture = (name: string): string =>
  readFileSync(new URL(`./fixtures/ruby-spelling/${name}.yaml`, import.meta.url), 'utf8');

describe('loadTeam', () => {
  it('TM-18 refuses a token without a value, with its position', async () => {
    const files = {
      'team.yaml': `${TEAM}interpolations: { shop: Corner }\n`,
      'agents/a.yaml':
        'system_directives: |\n  You are %{shop}.\n  Ask %{who} today, %{today}. %%{who}\nfunctions:\n  - name: f\n    description: Does %{what}\noptional_tokens: [maybe]\n',
    };
    const path = write(files);
    const error = (await loadTeam(path, { models, abilities: [{ f: () => 'x' }] }).catch(
      (e: unknown) => e,
    )) as TeamConfigError;
    expect(error.code).toBe('TEAM_CONFIG');
    expect(lines(path, error.diagnostics)).toEqual([
      'agents/a.yaml:3:7 error TEAM_TOKEN_UNKNOWN: nothing fills %{who}; set it in interpolations, or list it in optional_tokens',
      'agents/a.yaml:6:23 error TEAM_TOKEN_UNKNOWN: nothing fills %{what}; set it in interpolations, or list it in optional_tokens',
    ]);
    const interpolations = { who: 'them', what: 'it' };
    await loadTeam(path, { models, abilities: [{ f: () => 'x' }], interpolations });
  });

  it('TM-19 reports unknown keys, duplicate keys and wrong values in one pass, with their positions', async () => {
    expect(
      await check({
        'team.yaml': 'start: a\nagents: ./agents\nlimitz: {}\nlimits: { max_hop: 3, max_visits: none }\n',
      }),
    ).toEqual([
      'team.yaml:3:1 error TEAM_KEY: unknown key "limitz"; did you mean "limits"?',
      'team.yaml:4:11 error TEAM_KEY: unknown key "max_hop"; did you mean "max_hops"?',
      'team.yaml:4:23 error TEAM_VALUE: limits.max_visits: Invalid input: expected number, received string',
    ]);
    expect(
      await check({
        'team.yaml': TEAM,
        'agents/a.yaml':
          'model: 4\nsytem_directives: x\nfunctions:\n  - name: f\n    name: g\n    parametres: {}\n',
        'agents/b.yaml':
          'function_call: always\nstate_map:\n  function_name: f\n  argument_name: v\n  values_map:\n    x: { agent: a, ignore: b }\n    y: { agnet: a }\n',
      }),
    ).toEqual([
      'agents/a.yaml:1:1 error TEAM_VALUE: model: Invalid input: expected string, received number',
      'agents/a.yaml:2:1 error TEAM_KEY: unknown key "sytem_directives"; did you mean "system_directives"?',
      'agents/a.yaml:5:5 error TEAM_SYNTAX: the key "name" occurs twice; it is also in line 4',
      'agents/a.yaml:6:5 error TEAM_KEY: unknown key "parametres"; did you mean "parameters"?',
      'agents/b.yaml:1:1 error TEAM_VALUE: function_call: must be auto, none, required or { name: a function }',
      'agents/b.yaml:6:5 error TEAM_VALUE: state_map.values_map.x: must name one of agent, function and ignore',
      'agents/b.yaml:7:5 error TEAM_VALUE: state_map.values_map.y: must name one of agent, function and ignore',
      'agents/b.yaml:7:10 error TEAM_KEY: unknown key "agnet"; did you mean "agent"?',
    ]);
  });

  it('TM-19 reports files that cannot be read', async () => {
    expect(await check({ 'other.yaml': '' })).toEqual([
      'team.yaml:1:1 error TEAM_FILE: there is no such file',
    ]);
    expect((await check({ 'team.yaml': TEAM }))[0]).toMatch(
      /^team\.yaml:2:1 error TEAM_FILE: the folder .*agents/,
    );
    expect(await check({ 'team.yaml': 'start: "a\n' })).toEqual([
      expect.stringMatching(/^team\.yaml:\d+:\d+ error TEAM_SYNTAX: /),
    ]);
    expect((await check({ 'team.yaml': '' }))[0]).toMatch(
      /team\.yaml:1:1 error TEAM_VALUE: the file: .*expected object/,
    );
    expect(await check({ 'team.yaml': TEAM, 'agents/a.yaml': '{}', 'agents/a.yml': '{}' })).toEqual([
      'agents/a.yml:1:1 error TEAM_FILE: another file names the agent "a" too',
    ]);
  });

  it('TM-19 refuses parameters that no schema allows, and two functions with one name', async () => {
    const diagnostics = await check({
      'team.yaml': TEAM,
      'agents/a.yaml':
        'functions:\n  - name: f\n    parameters: { type: object, properties: { x: { type: complex } } }\n  - name: g\n    parameters: [{ name: y }]\n',
    });
    expect(diagnostics).toEqual([
      expect.stringMatching(
        /^agents\/a\.yaml:5:5 error TEAM_VALUE: functions\.1\.parameters: must be a JSON Schema/,
      ),
    ]);
    const more = await readTeam(
      {
        start: 'a',
        agents: {
          a: {
            functions: [
              { name: 'f', parameters: { type: 'object', properties: { x: { type: 'complex' } } } },
              { name: 'f' },
            ],
          },
        },
      },
      { abilities: [{ f: () => '' }] },
    );
    expect(more.diagnostics.map((one) => [one.code, one.path.join('.')])).toEqual([
      ['TEAM_VALUE', 'functions.0.parameters'],
      ['TEAM_VALUE', 'functions.1'],
    ]);
  });

  it('TM-20 reads the Ruby spelling', () => {
    const product = parseAgentFile('product', 'product.yaml', fixture('get-product-info'));
    expect(product.diagnostics).toEqual([]);
    expect(product.agent).toEqual({
      name: 'product',
      functions: [
        {
          name: 'get_product_info',
          description: 'get description of the product',
          parameters: {
            type: 'object',
            properties: {
              product_id: { type: 'string', description: 'id of the product' },
              session_id: { type: 'string', description: 'the session id' },
            },
            required: ['id'],
          },
        },
      ],
      function_call: 'auto',
    });
    const all = parseAgentFile('switchboard', 'switchboard.yaml', fixture('all-together'));
    expect(all.agent?.state_map).toEqual({
      function_name: 'set_request_type',
      argument_name: 'request_type',
      values_map: {
        'get product info': { agent: 'product_info' },
        'file complaint': { agent: 'customer_service' },
        'thanks and appreciation': { function: 'thanks' },
        'terms of service': { function: 'eula' },
        spam: { ignore: 'spam' },
        other: { ignore: 'other' },
      },
    });
    for (const name of ['forward-to-agents', 'forward-to-functions', 'ignore']) {
      const { agent, diagnostics } = parseAgentFile(name, `${name}.yaml`, fixture(name));
      expect(diagnostics).toEqual([]);
      const own = Object.entries(agent!.state_map!.values_map);
      expect(own.length).toBeGreaterThan(1);
      for (const [value, route] of own) expect(all.agent!.state_map!.values_map[value]).toEqual(route);
    }
  });

  it('TM-20 warns about an undeclared required name', async () => {
    const path = write({ 'team.yaml': TEAM, 'agents/a.yaml': fixture('get-product-info') });
    const team = await loadTeam(path, { models, abilities: [{ get_product_info: () => 'x' }] });
    expect(lines(path, team.diagnostics)).toEqual([
      'agents/a.yaml:13:7 warning TEAM_REQUIRED_UNDECLARED: "get_product_info" requires "id", which is not among its properties; it is left out',
    ]);
  });

  it('TM-20 runs the state map of the Ruby spelling, once its function is declared', async () => {
    const functions = `:functions:
  - :name: :set_request_type
    :parameters:
      :type: object
      :properties:
        :request_type: { :type: string }
:function_call:
  :name: set_request_type
`;
    const path = write({
      'team.yaml': TEAM.replace('start: a', 'start: switchboard'),
      'agents/switchboard.yaml': functions + fixture('all-together'),
      'agents/product_info.yaml': ':system_directives: You know products.\n',
      'agents/customer_service.yaml': ':system_directives: "You: listen."\n',
    });
    const abilities = [{ thanks: () => 'You are welcome.', eula: () => 'Terms.' }];
    const { callTools } = await import('../testing/script.ts');
    const calls = (request_type: string) =>
      callTools({ name: 'set_request_type', arguments: { request_type } });
    const model = scriptedModel([
      calls('file complaint'),
      'Tell me more.',
      calls('terms of service'),
      calls('spam'),
    ]);
    const team = await loadTeam(path, { models: { default: model }, abilities });
    expect(await team.run('x').result).toMatchObject({ path: ['switchboard', 'customer_service'] });
    expect(model.requests[1]!.messages[0]!.content).toBe('You: listen.');
    expect(await team.run('x').result).toMatchObject({ text: 'Terms.' });
    expect(await team.run('x').result).toMatchObject({ kind: 'ignored', reason: 'spam' });
  });

  it('TM-20 reads the Ruby spelling in the team file, with agents inside', async () => {
    const path = write({
      'team.yaml': `:start: :switchboard
:address: desk@fame.fabric
:limits:
  :max_hops: 3
:defaults: { :temperature: 0.2 }
:interpolations: { :shop: Corner }
:agents:
  :switchboard:
    :system_directives: "Welcome: %{shop}"
    :functions:
      - :name: :route
        :parameters: { :type: object, :properties: { :kind: { :type: string } } }
    :function_call: { :name: :route }
    :state_map:
      :function_name: :route
      :argument_name: :kind
      :values_map: { :spam: { :ignore: :spam } }
`,
    });
    const { callTools } = await import('../testing/script.ts');
    const model = scriptedModel([callTools({ name: 'route', arguments: { kind: 'spam' } })]);
    const team = await loadTeam(path, { models: { default: model } });
    expect(team.address).toBe('desk@fame.fabric');
    expect(await team.run('x').result).toMatchObject({ kind: 'ignored', reason: 'spam' });
    expect(model.requests[0]).toMatchObject({
      messages: [{ role: 'system', content: 'Welcome: Corner' }, { role: 'user' }],
      temperature: 0.2,
    });
    expect(await check({ 'team.yaml': ':start: a\n:agentz: ./agents\n' })).toEqual([
      expect.stringContaining('TEAM_VALUE: agents: must be a folder'),
      'team.yaml:2:1 error TEAM_KEY: unknown key "agentz"; did you mean "agents"?',
    ]);
  });

  it('reads tools and tool_choice as functions and function_call', async () => {
    const older = parseAgentFile(
      'a',
      'a.yaml',
      'functions: [{ name: f, description: F, parameters: [{ name: x, type: string }] }, { name: g, timeout_ms: 5 }]\nfunction_call: { name: f }\n',
    );
    const newer = parseAgentFile(
      'a',
      'a.yaml',
      `:tools:
  - :type: function
    :function: { :name: f, :description: F, :parameters: [{ name: x, type: string }] }
  - { type: function, function: { name: g, timeout_ms: 5 } }
:tool_choice: { :type: function, :function: { :name: :f } }
`,
    );
    expect(newer.diagnostics).toEqual([]);
    expect(newer.agent).toEqual(older.agent);
    for (const word of ['auto', 'none', 'required']) {
      const { agent } = parseAgentFile('a', 'a.yaml', `tool_choice: ${word}\n`);
      expect(agent).toEqual({ name: 'a', function_call: word });
    }
  });

  it('places the faults of tools where they are written, and refuses both forms in one file', async () => {
    const tool = '  - type: function\n    function:\n      name: f\n';
    const files = (text: string) => ({ 'team.yaml': TEAM, 'agents/a.yaml': text });
    expect(await check(files(`tools:\n${tool}      parametres: {}\n`))).toEqual([
      'agents/a.yaml:5:7 error TEAM_KEY: unknown key "parametres"; did you mean "parameters"?',
    ]);
    expect(
      await check(files(`tools:\n${tool}functions: []\nfunction_call: auto\ntool_choice: auto\n`)),
    ).toEqual([
      'agents/a.yaml:1:1 error TEAM_VALUE: tools: functions is set too; keep one of them',
      'agents/a.yaml:7:1 error TEAM_VALUE: tool_choice: function_call is set too; keep one of them',
    ]);
    const text = `tools:\n${tool}      description: "%{who}"\ntool_choice:\n  type: function\n  function: { name: g }\n`;
    const path = write(files(text));
    const { diagnostics } = await readTeam(path, { tokens: [], abilities: [{ h: () => '' }] });
    expect(lines(path, diagnostics)).toEqual([
      'agents/a.yaml:4:7 error TEAM_UNKNOWN_FUNCTION: no ability module has a function "f"',
      expect.stringMatching(/^agents\/a\.yaml:5:21 error TEAM_TOKEN_UNKNOWN: nothing fills %\{who\};/),
      'agents/a.yaml:8:15 error TEAM_FORCED_UNKNOWN: the forced function "g" is not among the functions',
    ]);
    expect(await check(files('tool_choice: { name: f }\n'))).toEqual([
      'agents/a.yaml:1:1 error TEAM_VALUE: tool_choice: must be auto, none, required or { type: function, function: { name: a function } }',
    ]);
  });

  it('sends the settings of the call, of the agent and of the team, the first that has a value', async () => {
    const schema = { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object' } } };
    const path = write({
      'team.yaml': `${TEAM}defaults: { top_p: 0.5, seed: 1, stop: END, presence_penalty: -1, max_tokens: 9 }\n`,
      'agents/a.yaml': `seed: 7\nstop: [X, Y]\nfrequency_penalty: 2\nresponse_format: ${JSON.stringify(schema)}\n`,
    });
    const model = scriptedModel(['{}', '{}']);
    const team = await loadTeam(path, { models: { default: model } });
    await team.run('x').result;
    await team.run('x', { seed: 0, top_p: 1, response_format: { type: 'text' } }).result;
    const [first, second] = model.requests.map(({ messages: _, ...settings }) => settings);
    expect(first).toEqual({
      top_p: 0.5,
      seed: 7,
      stop: ['X', 'Y'],
      presence_penalty: -1,
      frequency_penalty: 2,
      max_tokens: 9,
      response_format: schema,
    });
    expect(second).toEqual({ ...first, seed: 0, top_p: 1, response_format: { type: 'text' } });
  });

  it('refuses settings that no server accepts', async () => {
    const found = await check({
      'team.yaml': TEAM,
      'agents/a.yaml':
        'top_p: 2\nseed: 1.5\nstop: [a, b, c, d, e]\npresence_penalty: 3\nfrequency_penalty: -3\nresponse_format: { type: xml }\n',
    });
    expect(found.map((line) => line.replace(/^(\S+ error TEAM_VALUE: \w+): .*/, '$1'))).toEqual([
      'agents/a.yaml:1:1 error TEAM_VALUE: top_p',
      'agents/a.yaml:2:1 error TEAM_VALUE: seed',
      'agents/a.yaml:3:1 error TEAM_VALUE: stop',
      'agents/a.yaml:4:1 error TEAM_VALUE: presence_penalty',
      'agents/a.yaml:5:1 error TEAM_VALUE: frequency_penalty',
      expect.stringMatching(/^agents\/a\.yaml:6:\d+ error TEAM_VALUE: response_format/),
    ]);
  });

  it('refuses an agent whose name is an address', async () => {
    expect(
      await check({
        'team.yaml': 'start: desk@fame.fabric\nagents: ./agents\n',
        'agents/desk@fame.fabric.yaml': '{}',
      }),
    ).toContainEqual(
      'agents/desk@fame.fabric.yaml:1:1 error TEAM_VALUE: an agent of the team must not be named "desk@fame.fabric": routes to that name leave the team',
    );
  });

  it('TM-20 finds keys that differ in their colon only, and leaves colons in quotes alone', () => {
    const { diagnostics } = parseAgentFile('a', 'a.yaml', ':model: x\nmodel: y\n');
    expect(diagnostics.map(formatDiagnostic)).toEqual([
      'a.yaml:2:1 error TEAM_SYNTAX: the key "model" occurs twice; it is also in line 1',
    ]);
    expect(parseAgentFile('a', 'a.yaml', 'system_directives: ":quoted"\n').agent?.system_directives).toBe(
      ':quoted',
    );
    expect(parseAgentFile('a', 'a.yaml', ':system_directives: :"two words"\n').agent?.system_directives).toBe(
      'two words',
    );
  });

  it('imports abilities from the folder of the team file, and no others', async () => {
    const path = write({
      'team.yaml': `${TEAM}abilities: [./abilities.mjs]\n`,
      'agents/a.yaml': 'functions: [{ name: hello }]\n',
      'abilities.mjs': 'export const hello = () => "Hello!"; export const version = 3;\n',
    });
    const { callTools } = await import('../testing/script.ts');
    const model = scriptedModel([callTools({ name: 'hello', arguments: {} })]);
    const team = await loadTeam(path, { models: { default: model } });
    expect(await team.run('x').result).toMatchObject({ text: 'Hello!' });
    expect(
      await check({ 'team.yaml': `${TEAM}abilities: [../up.mjs, ./none.mjs]\n`, 'agents/a.yaml': '{}' }),
    ).toEqual([
      'team.yaml:3:13 error TEAM_FILE: the module ../up.mjs cannot be loaded: it must lie in the folder of the team file',
      expect.stringMatching(/^team\.yaml:3:24 error TEAM_FILE: the module \.\/none\.mjs cannot be loaded: /),
    ]);
  });

  it('refuses a limit in USD without prices', async () => {
    const path = write({ 'team.yaml': `${TEAM}limits: { max_usd: 0.1 }\n`, 'agents/a.yaml': '{}' });
    expect(lines(path, (await readTeam(path)).diagnostics)).toEqual([
      'team.yaml:3:11 error TEAM_VALUE: limits.max_usd needs prices to count with',
    ]);
  });

  it('survives malicious files', async () => {
    const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\nstart: *d\n`;
    expect((await check({ 'team.yaml': bomb }))[0]).toMatch(/TEAM_(SYNTAX|VALUE|KEY)/);
    const { agent } = parseAgentFile(
      'a',
      'a.yaml',
      'state_map:\n  function_name: f\n  argument_name: v\n  values_map:\n    __proto__: { ignore: x }\n',
    );
    expect(({} as { ignore?: string }).ignore).toBeUndefined();
    expect(agent).toBeDefined();
  });
});
