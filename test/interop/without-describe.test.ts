// The commands at agents of naylence, which do not describe themselves: they work, or name the missing part.
import { connect } from '@fame-fabric/client/node';
import { beforeAll, expect, test } from 'vitest';
import { runFame } from '../kit/commands.ts';
import { startPeerAgent } from '../kit/naylence.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const MATH = 'math@fame.fabric';
const CHAT = 'peer-chat@fame.fabric';
let sentinel: OurSentinel;

beforeAll(async () => {
  sentinel = await startOurSentinel();
  const { url } = sentinel;
  const chat = startPeerAgent('chat', { url, address: CHAT });
  await Promise.all([chat, ...['math', 'work'].map((kind) => startPeerAgent(kind, { url }))]);
}, 120_000);

test.each<[string[], string, { code: number; output: string }]>([
  [
    ['describe', MATH],
    '',
    {
      code: 1,
      output: `${MATH} does not list its operations: it runs version 0.1 of this software, or other software. Call an operation by its name: npx fame-fabric call ${MATH} NAME PARAMS. (METHOD_NOT_FOUND)\n`,
    },
  ],
  [['call', MATH, 'add', '[1,2]'], '', { code: 0, output: '3\n' }],
  [['call', MATH, 'fib_stream', '[3]', '--stream'], '', { code: 0, output: '0\n1\n1\n' }],
  [['chat', CHAT], 'Hello\n', { code: 0, output: 'turn 1: you said Hello\n' }],
  [['chat', CHAT, '--system', 'Be brief.'], 'Hello\n', { code: 0, output: 'turn 1: you said Hello\n' }],
  [
    ['chat', CHAT, '--lines'],
    'one\ntwo\n',
    {
      code: 0,
      output:
        'The agent does not name its model.\nA> turn 1: you said one\nA> turn 2: you said one, then two\n',
    },
  ],
  [
    ['chat', CHAT, '--model', 'other'],
    'Hello\n',
    {
      code: 1,
      output: `! The agent ${CHAT} does not support \`options\`, \`toolResults\` and \`retryKey\` of a turn. Agents of Fame Fabric 0.2 and later do. (METHOD_NOT_FOUND)\n`,
    },
  ],
  [
    ['chat', MATH],
    'Hello\n',
    {
      code: 1,
      output: `${MATH} did not start a conversation: MathAgent must implement at least one of: startTask() or runTask(). Check that it is a chat agent. Its log may have the cause. (INTERNAL)\n`,
    },
  ],
  [
    ['chat', 'work@fame.fabric'],
    'Hello\n',
    { code: 1, output: '! work@fame.fabric holds no conversations. Method not found\n' },
  ],
  [
    ['conversations', 'ls', '--from', CHAT],
    '',
    {
      code: 1,
      output: `The agent ${CHAT} does not support list_conversations. Agents of Fame Fabric 0.2 and later do. (METHOD_NOT_FOUND)\n`,
    },
  ],
])('fame %j', async (args, input, expected) => {
  const { code, output } = await runFame(sentinel, args, input);
  expect({ code, output }).toEqual(expected);
});

test('a turn with `include` yields the events that the agent has', async () => {
  await using client = await connect({ url: sentinel.url });
  const conversation = client.conversation(CHAT);
  const events = [];
  for await (const event of conversation.stream('Hello', { include: ['reasoning', 'waiting'] }))
    events.push(event);
  expect(events.at(-1)).toMatchObject({ type: 'done', text: 'turn 1: you said Hello' });
});
