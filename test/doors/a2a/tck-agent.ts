// The agent under test of the A2A TCK: acts out the scenarios of https://github.com/a2aproject/a2a-tck (folder `scenarios`, branch
// 1.0-dev), which a prefix of the message id selects. The door passes the message id in the metadata of the message.
import { type Agent, defineAgent, type TaskHandler } from '@fame-fabric/agents';
import { type Message, type Part, systemClock } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';

type Task = Parameters<TaskHandler['start']>[1];

/** Twice the streaming timeout of the TCK, in ms. */
const RESUBSCRIBE_MS = 4_000;

const text = (value: string): Part => ({ type: 'text', text: value });
const file = (content: { bytes: string } | { uri: string }): Part => ({
  type: 'file',
  file: { name: 'output.txt', mimeType: 'text/plain', ...content },
});
const BYTES = { bytes: Buffer.from('output of the TCK').toString('base64') };

/** The parts of the artifact of each scenario that has one. */
const ARTIFACTS: Readonly<Record<string, Part>> = {
  'tck-artifact-text': text('Generated text content'),
  'tck-artifact-file-url': file({ uri: 'https://example.com/output.txt' }),
  'tck-artifact-file': file(BYTES),
  'tck-artifact-data': { type: 'data', data: { key: 'value', count: 42 } },
  'tck-stream-001': text('Stream hello from TCK'),
  'tck-stream-003': text('Stream task lifecycle'),
  'tck-stream-ordering-001': text('Ordered output'),
  'tck-stream-artifact-text': text('Streamed text content'),
  'tck-stream-artifact-file': file(BYTES),
};

const messageIdOf = ({ metadata }: Message): string => String(metadata?.messageId ?? '');

/** Runs the scenario of a message. An answer to `input_required` selects another one. */
async function act(message: Message, task: Task): Promise<unknown> {
  const id = messageIdOf(message);
  if (id.startsWith('tck-input-required')) return act(await task.ask('The TCK asks for input'), task);
  if (id.startsWith('tck-reject-task')) throw new Error('rejected');
  if (id.startsWith('tck-message-response'))
    return { role: 'agent', parts: [text('Direct message response')], metadata: { a2aResponse: 'message' } };
  if (id.startsWith('test-resubscribe-message-id')) {
    await pause(systemClock, RESUBSCRIBE_MS, task.signal);
    return undefined;
  }
  if (id.startsWith('tck-stream-artifact-chunked')) {
    task.progress({ index: 0, parts: [text('chunk-1 ')] });
    task.progress({ index: 0, append: true, lastChunk: true, parts: [text('chunk-2')] });
    return undefined;
  }
  const scenario = Object.keys(ARTIFACTS).find((prefix) => id.startsWith(prefix));
  if (scenario !== undefined) {
    task.progress({ parts: [ARTIFACTS[scenario]!] });
    return undefined;
  }
  return 'Hello from TCK';
}

export const tckAgent: Agent = defineAgent({
  address: 'tck@fame.fabric',
  description: 'Acts out the scenarios of the A2A TCK.',
  tasks: { start: (params, task) => act(params.message, task) },
});
