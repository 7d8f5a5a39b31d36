// The prompt as its user sees it: `fame chat` and `make run` in a shell on a real pseudo terminal, driven by keys.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlledGate, gate, httpError, reasoning, reply } from '@fame-fabric/agents/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fameArgs } from '../kit/processes.ts';
import { KEYS, ShellScreen } from '../kit/screen.ts';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { lastUserText, type Stack, startAgent, startModel, startStack, stopStack } from '../kit/stack.ts';

const { enter, altEnter, tab, up, ctrlC, ctrlD, ctrlR, ctrlZ } = KEYS;
const quoted = (word: string): string => `'${word}'`;
const fame = (...args: string[]): string => [process.execPath, ...fameArgs(...args)].map(quoted).join(' ');

let stack: Stack;
let held: ControlledGate;
let thinkRequests = 0;
beforeAll(async () => {
  stack = await startStack({
    model: {
      respond: (request) => {
        const text = lastUserText(request);
        if (text === 'think' && thinkRequests++ % 2 === 0)
          return httpError(429, { message: 'Slow down' }, { 'retry-after': '2' });
        if (text === 'think') return [reasoning('Let me see.'), held, 'Yes.'];
        if (text === 'tags') return ['<think>', 'A plan. ', held, 'Its end.</think>\n\nYes.'];
        if (text === 'hold') return ['It begins, ', held, 'and ends.'];
        if (text === 'cut') return reply('This answer is cut because it ran ou', { finish: 'length' });
        return `re: ${text}`;
      },
    },
  });
});
afterAll(stopStack);

/** Opens a shell with the settings of `fame`. */
async function openShell(): Promise<{ screen: ShellScreen; dataDir: string }> {
  const dataDir = temporaryDirectory();
  const env = { FAME_DIRECT_ADMISSION_URL: stack.sentinel.url, FAME_DATA_DIR: dataDir };
  return { screen: await ShellScreen.open(env), dataDir };
}

/** Opens a shell with the prompt in it. */
async function openPrompt(...args: string[]) {
  const shell = await openShell();
  shell.screen.type(`${fame('chat', ...args)}${enter}`);
  await shell.screen.waitFor(/^Q> $/m);
  return shell;
}

describe('Ctrl-Z', () => {
  test('suspends `make run` and returns to the shell; fg continues with the typed text', async () => {
    const { screen } = await openShell();
    screen.type(`make --no-print-directory --old-file=dist/.made run${enter}`);
    await screen.waitFor(/^Q> $/m);
    screen.type('half a mess');
    await screen.waitFor(/^Q> half a mess$/m);
    screen.type(ctrlZ);
    await screen.waitFor(/Stopped.*make[\s\S]*\n\$ $/);
    screen.type(`echo the shell $((6 * 7))${enter}`);
    await screen.waitFor(/^the shell 42$/m);
    screen.type(`fg${enter}`);
    await screen.waitFor(/\$ fg\n.*\nQ> half a mess$/);
    screen.type(`age${enter}`);
    await screen.waitFor(/^A> re: half a message\n+Q> $/m);
    screen.type(`${ctrlC}${ctrlC}`);
    await screen.waitFor(/--resume \S+\n\$ $/);
    expect(screen.text).not.toMatch(/Error \d/); // make reports no error after an ordinary end
  });

  test('R13: without a fabric, `make run` and `make doctor` end without an error of make', async () => {
    const { screen } = await openShell();
    const unused = `FAME_DIRECT_ADMISSION_URL=ws://127.0.0.1:9/fame/v1/attach/ws/downstream FAME_CONNECT_TIMEOUT_MS=300`;
    for (const target of ['run', 'doctor']) {
      screen.clear();
      screen.type(
        `${unused} make --no-print-directory --old-file=dist/.made ${target}; echo "ended with $?"${enter}`,
      );
      await screen.waitFor(/make start[\s\S]*^ended with 0\n\$ $/m);
      expect(screen.text).not.toMatch(/\*\*\*|Error \d/);
    }
  });

  test('in the middle of an answer: the answer continues after fg', async () => {
    held = gate();
    const { screen } = await openPrompt();
    screen.type(`hold${enter}`);
    await screen.waitFor(/A> It begins,/);
    screen.type(ctrlZ);
    await screen.waitFor(/Stopped[\s\S]*\n\$ $/);
    held.open();
    screen.type(`fg${enter}`);
    await screen.waitFor(/and ends\.\n+Q> $/);
  });
});

test('a paste of 600 lines is one message, one turn and one entry of the history, also in the next process', async () => {
  const { screen, dataDir } = await openPrompt();
  const text = Array.from({ length: 600 }, (_, line) =>
    line % 5 === 3 ? '' : `line ${line} of the paste`,
  ).join('\n');
  const before = stack.model.requests.length;
  screen.paste(text);
  await screen.waitFor(/line 599 of the paste$/);
  screen.type(enter);
  await screen.waitFor(/\(590 more lines\)\n[\s\S]*A> re: line 0[\s\S]*line 599 of the paste\n+Q> $/);
  const asked = stack.model.requests.slice(before).map(({ body }) => lastUserText(body));
  expect(asked).toEqual([text]);
  expect(readFileSync(join(dataDir, 'history'), 'utf8').trim().split('\n')).toHaveLength(1);
  screen.type(`exit${enter}`);
  await screen.waitFor(/--resume \S+\n\$ $/);
  screen.clear();
  screen.type(`${fame('chat')}${enter}`);
  await screen.waitFor(/^Q> $/m);
  screen.type(up + up + enter); // over `exit`
  await screen.waitFor(/A> re: line 0[\s\S]*line 599 of the paste\n+Q> $/);
  expect(lastUserText(stack.model.requests.at(-1)!.body)).toBe(text);
});

test.each([
  ['Alt-Enter', altEnter],
  ['Ctrl-J', '\n'],
  ['a backslash', '\\\r'],
])('several lines with %s', async (_name, newLine) => {
  const { screen } = await openPrompt();
  screen.type('first');
  await screen.waitFor(/^Q> first$/m);
  screen.type(newLine);
  await screen.waitFor(/^Q> first\n\.\. $/m);
  screen.type(`second${enter}`);
  await screen.waitFor(/^Q> first\n\.\. second\nA> re: first\n *second\n+Q> $/m);
  screen.type(up);
  await screen.waitFor(/Q> first\n\.\. second$/);
});

test('Tab completes a command, or lists the commands if several match', async () => {
  const { screen } = await openPrompt();
  screen.type(`/he${tab}`);
  await screen.waitFor(/^Q> \/help $/m);
  screen.type(enter);
  await screen.waitFor(/^ +\/history \[N\] /m);
  screen.type(`/${tab}`);
  await screen.waitFor(/^\/help {2}\/system {2}[\s\S]*\nQ> \/$/m);
});

test('Ctrl-R finds earlier messages', async () => {
  const { screen } = await openPrompt();
  for (const text of ['the red lamp', 'the green door', 'the red door']) {
    screen.type(`${text}${enter}`);
    await screen.waitFor(new RegExp(`A> re: ${text}\\n+Q> $`));
  }
  screen.type(`${ctrlR}red`);
  await screen.waitFor(/\(search\) red: the red door$/);
  screen.type(ctrlR);
  await screen.waitFor(/\(search\) red: the red lamp$/);
  screen.type(enter);
  await screen.waitFor(/Q> the red lamp\nA> re: the red lamp\n+Q> $/);
});

test('after the terminal became narrower and wider, it shows the typed text once', async () => {
  const { screen } = await openPrompt();
  const text = Array.from({ length: 14 }, (_, n) => `word${n}`).join(' ');
  screen.type(text);
  await screen.waitFor(/word13$/);
  screen.resize(40, 24);
  await screen.waitFor(/Q> word0[^\n]*\n[^\n]+\n[^\n]*word13$/);
  screen.resize(120, 30);
  await screen.waitFor(new RegExp(`Q> ${text}$`));
  expect(screen.text.match(/word13/g)).toHaveLength(1);
  screen.type(`!${enter}`);
  await screen.waitFor(new RegExp(`A> re: ${text}!\\n+Q> $`));
});

test('an answer that was cut off is marked', async () => {
  const { screen } = await openPrompt();
  screen.type(`cut${enter}`);
  await screen.waitFor(
    / it ran ou\n\(cut off at the limit of tokens; FAME_MAX_ANSWER_TOKENS sets it\)\n+Q> $/,
  );
});

describe('an answer that takes long', () => {
  test('shows when a refused request is repeated, and that the model thinks', async () => {
    held = gate();
    const { screen } = await openPrompt();
    screen.type(`think${enter}`);
    await screen.waitFor(/\nrate limited, again in [123] s \(2\/4\)$/);
    await screen.waitFor(/Q> think\nthinking [1-9]\d* s \(Ctrl-C stops\)$/);
    held.open();
    await screen.waitFor(/Q> think\nA> Yes\.\n+Q> $/);
    expect(screen.text).not.toContain('Let me see');
    held = gate();
    screen.type(`/reasoning on${enter}think${enter}`);
    await screen.waitFor(/\nrate limited, again in [123] s \(2\/4\)$/);
    await screen.waitFor(/Q> think\nLet me see\.( .* s \(Ctrl-C stops\))?$/);
    held.open();
    await screen.waitFor(/Q> think\nLet me see\.\nA> Yes\.\n+Q> $/);
  });

  test('shows no tags of a model that thinks in its text; FAME_SHOW_REASONING shows its thoughts', async () => {
    held = gate();
    const { screen } = await openPrompt();
    screen.type(`tags${enter}`);
    await screen.waitFor(/Q> tags\nthinking \d+ s \(Ctrl-C stops\)$/);
    held.open();
    await screen.waitFor(/Q> tags\nA> Yes\.\n+Q> $/);
    screen.type(ctrlD);
    await screen.waitFor(/--resume \S+\n\$ $/);
    screen.type(`FAME_SHOW_REASONING=true ${fame('chat')}${enter}`);
    await screen.waitFor(/^Q> $/m);
    screen.type(`tags${enter}`);
    await screen.waitFor(/Q> tags\nA plan\. Its end\.\nA> Yes\.\n+Q> $/);
    screen.type(ctrlD);
    await screen.waitFor(/--resume \S+\n\$ $/);
    screen.clear();
    screen.type(`FAME_SHOW_REASONING=true ${fame('chat', '-m', 'tags')} | sed s/^/out:/${enter}`);
    await screen.waitFor(/^out:Yes\.\n\$ $/m);
  });
});

test('a single message and pipes print only the answer', async () => {
  const { screen } = await openShell();
  screen.type(`${fame('chat', '-m', 'What is 2+2?')} | sed s/^/out:/${enter}`);
  await screen.waitFor(/^out:re: What is 2\+2\?\n\$ $/m);
  screen.clear();
  screen.type(`printf 'one\\ntwo\\nexit\\n' | ${fame('chat')}${enter}`);
  await screen.waitFor(/^re: one\ntwo\nexit\n\$ $/m);
  screen.clear();
  screen.type(`printf 'one\\ntwo\\n' | ${fame('chat', '--lines')}${enter}`);
  await screen.waitFor(/^A> re: one\n[\s\S]*^A> re: two\n/m);
  screen.clear();
  screen.type(`printf 'text' | ${fame('chat', '-m', 'Sum up:', '--json')}${enter}`);
  const [line] = await screen.waitFor(/^\{"conversation_id"[\s\S]*?\}(?=\n\$ $)/m);
  expect(JSON.parse(line.replaceAll('\n', ''))).toMatchObject({
    type: 'done',
    text: 're: Sum up:\n\ntext',
    finish: 'stop',
  });
});

test('leaving keeps the conversation; /end ends it, and --resume refuses it', async () => {
  const { screen } = await openPrompt();
  screen.type(`hello${enter}`);
  await screen.waitFor(/A> re: hello\n+Q> $/);
  screen.type(ctrlD);
  const [, id] = await screen.waitFor(/--resume (\S+)\n\$ $/);
  screen.clear();
  screen.type(`${fame('chat', '--resume', id!)}${enter}`);
  await screen.waitFor(/Q> hello\nA> re: hello\n[\s\S]*\nQ> $/);
  screen.type(`again${enter}`);
  await screen.waitFor(/A> re: again\n+Q> $/);
  screen.type(`/end${enter}`);
  await screen.waitFor(/The conversation has ended\.\n[\s\S]*\$ $/);
  screen.clear();
  screen.type(`${fame('chat', '--resume', id!)}${enter}`);
  await screen.waitFor(/was ended or removed[\s\S]*\(\n?CONVERSATION_UNKNOWN\)\n\$ $/);
  screen.clear();
  screen.type(`${fame('chat', '--resume')}${enter}`);
  await screen.waitFor(/no conversation to resume[\s\S]*\n\$ $/);
});

test('kill -9 of sentinel and agent during an answer: the answer is completed, and the prompt continues', async () => {
  const half = gate();
  let requests = 0;
  const model = await startModel({
    respond: (request) => {
      if (lastUserText(request) !== 'count') return `re: ${lastUserText(request)}`;
      return requests++ === 0 ? ['one, two, ', half, 'lost'] : ['one, two, ', 'three, four.'];
    },
  });
  let sentinel = await startOurSentinel();
  const agentDir = temporaryDirectory();
  const agent = await startAgent(sentinel.url, { model, dataDir: agentDir });
  const screen = await ShellScreen.open({
    FAME_DIRECT_ADMISSION_URL: sentinel.url,
    FAME_DATA_DIR: temporaryDirectory(),
  });
  screen.type(`${fame('chat')}${enter}`);
  await screen.waitFor(/^Q> $/m);
  screen.type(`count${enter}`);
  await half.reached;
  await screen.waitFor(/A> one, two,/);
  await Promise.all([agent.kill(), sentinel.proc.kill()]);
  await screen.waitFor(/Reconnecting\.\.\./);
  sentinel = await startOurSentinel({ port: sentinel.port, dataDir: sentinel.dataDir });
  await startAgent(sentinel.url, { model, dataDir: agentDir });
  await screen.waitFor(/three, four\.\n+Q> $/);
  screen.type(`still there?${enter}`);
  await screen.waitFor(/A> re: still there\?\n+Q> $/);
  screen.type(ctrlD);
  await screen.waitFor(/--resume \S+\n\$ $/);
});
