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
      'agents/a.yaml:3:7 error TEAM_TOKEN_UNKNOWN: nothing fills %{who}',
      'agents/a.yaml:6:23 error TEAM_TOKEN_UNKNOWN: nothing fills %{what}',
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
