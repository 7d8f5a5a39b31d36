// The agent that docs/guides/durable-chat-agent.md shows, killed in the middle of an answer.
import { join } from 'node:path';
import { offlineModel } from '@fame-fabric/agents';
import { connect } from '@fame-fabric/client/node';
import { expect, test } from 'vitest';
import { type Proc, ROOT, startNode } from '../kit/processes.ts';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const QUESTION = 'Tell me a story about the sea';

async function answerOfModel(): Promise<string> {
  let text = '';
  const chunks = offlineModel({ chunkDelayMs: 0 }).stream({
    messages: [{ role: 'user', content: QUESTION }],
  });
  for await (const { choices } of chunks) text += choices[0]?.delta?.content ?? '';
  return text;
}

test('a caller of the killed agent gets the whole answer from the next process', async () => {
  const sentinel = await startOurSentinel();
  const dataDir = temporaryDirectory();
  const startAgent = async (): Promise<Proc> => {
    const file = join(ROOT, 'agents/examples/durable-agent.ts');
    const agent = startNode(['--conditions=fame-source', '--disable-warning=ExperimentalWarning', file], {
      env: { FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_DATA_DIR: dataDir },
    });
    await agent.waitFor(/guide@fame\.fabric is served through/);
    return agent;
  };
  const agent = await startAgent();
  await using client = await connect({ url: sentinel.url });
  const conversation = client.conversation('guide@fame.fabric');
  let received = '';
  let done = '';
  let replacement: Promise<Proc> | undefined;
  for await (const event of conversation.stream(QUESTION)) {
    if (event.type === 'text') received += event.text;
    if (event.type === 'restart') received = received.slice(0, event.keep);
    if (event.type === 'done') done = event.text;
    if (received !== '') replacement ??= agent.kill().then(startAgent);
  }
  expect((await replacement)?.alive).toBe(true);
  const whole = await answerOfModel();
  expect(done).toBe(whole);
  expect(received).toBe(whole);
  expect(await conversation.history()).toEqual([
    { role: 'user', text: QUESTION },
    { role: 'assistant', text: whole },
  ]);
});
