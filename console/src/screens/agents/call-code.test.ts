import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { type CodeOf, codeOf, quoted } from './call-code.ts';

const CALL: CodeOf = {
  address: 'math@fame.fabric',
  operation: 'add',
  params: { x: 1, y: 2 },
  isStreaming: false,
  origin: 'http://127.0.0.1:8000',
  needsKey: false,
};
const HOSTILE = `it's "$HOME" \`id\` \\ \n 大 😀 %41`;

test('a call as code', () => {
  const { curl, fame, typescript, python } = codeOf(CALL);
  expect(curl).toBe(
    `curl -s \\\n  http://127.0.0.1:8000/agents/math@fame.fabric/add \\\n  -d '{"x":1,"y":2}'`,
  );
  expect(fame).toBe(`npx fame-fabric call math@fame.fabric add '{"x":1,"y":2}'`);
  expect(typescript).toContain(`console.log(await client.call('math@fame.fabric', 'add', {`);
  expect(python).toContain('print(await agent.add(x=1, y=2))');
});

test('a stream at another sentinel that needs a credential', () => {
  const call = { ...CALL, isStreaming: true, origin: 'https://fabric.example:9000', needsKey: true };
  const { curl, fame, typescript, python } = codeOf(call);
  expect(curl).toContain(`curl -sN -H 'Accept: text/event-stream'`);
  expect(curl).toContain('-H "Authorization: Bearer $FAME_ADMISSION_TOKEN"');
  const url = 'wss://fabric.example:9000/fame/v1/attach/ws/downstream';
  expect(fame).toMatch(/^FAME_DIRECT_ADMISSION_URL=wss:.* --stream$/);
  expect(typescript).toContain(`connect({ url: '${url}', token: process.env.FAME_ADMISSION_TOKEN })`);
  expect(typescript).toContain('for await (const item of client.stream(');
  expect(python).toContain('async for item in await agent.add(x=1, y=2, _stream=True):');
});

test('parameters with positions, and none', () => {
  const byPosition = codeOf({ ...CALL, params: [1, null, true] });
  expect(byPosition.curl).toContain(`-d '{"args":[1,null,true]}'`);
  expect(byPosition.fame).toMatch(/ '\[1,null,true\]'$/);
  expect(byPosition.python).toContain('agent.add(1, None, True)');
  expect(codeOf({ ...CALL, params: {} }).fame).toBe('npx fame-fabric call math@fame.fabric add');
});

test('texts reach the shell, TypeScript and Python unchanged', () => {
  const printed = execFileSync('sh', ['-c', `printf %s ${quoted(HOSTILE)}`], { encoding: 'utf8' });
  expect(printed).toBe(HOSTILE);
  const { typescript, python, curl } = codeOf({
    ...CALL,
    operation: HOSTILE,
    params: { 'not a name': HOSTILE },
  });
  const [, name, params] = /call\('math@fame.fabric', ('(?:[^'\\]|\\.)*'), (\{[\s\S]*\})\)\);/.exec(
    typescript,
  )!;
  const evaluated = new Function(`return [${name}, ${params}]`) as () => unknown;
  expect(evaluated()).toEqual([HOSTILE, { 'not a name': HOSTILE }]);
  expect(python).toContain(`getattr(agent, ${JSON.stringify(HOSTILE)})(**{"not a name": `);
  expect(curl).toContain('%0A');
});
