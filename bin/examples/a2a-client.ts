import { SendMessageRequest } from '@a2a-js/sdk';
import { ClientFactory } from '@a2a-js/sdk/client';

const port = process.env.FAME_LISTENER_PORT ?? '8000';
const client = await new ClientFactory().createFromUrl(`http://127.0.0.1:${port}`);

async function ask(text: string, contextId = ''): Promise<string> {
  const message = { messageId: crypto.randomUUID(), contextId, role: 'ROLE_USER', parts: [{ text }] };
  let context = contextId;
  for await (const { payload } of client.sendMessageStream(SendMessageRequest.fromJSON({ message }))) {
    if (payload?.$case === 'task') context = payload.value.contextId;
    if (payload?.$case !== 'artifactUpdate') continue;
    const content = payload.value.artifact?.parts[0]?.content;
    if (content?.$case === 'text') process.stdout.write(content.value);
  }
  process.stdout.write('\n');
  return context;
}

const context = await ask('My name is Ada.');
await ask('What is my name?', context);
