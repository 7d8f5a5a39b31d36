// Agents that act out the scenarios of the conformance suite of MCP. The door names a tool after its agent and its operation, so that
// the agents have the names of the scenarios: `test_simple_text` is the operation `simple_text` of the agent `test`.
import { type Agent, defineAgent, operation, type TaskHandler } from '@fame-fabric/agents';
import { AgentError, systemClock, type TaskSendParams } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import { questions } from './mcp-questions.ts';

/** A red pixel as PNG, and a moment of silence as WAV, in base64. */
const IMAGE =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const AUDIO = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

const text = (value: string) => ({ type: 'text', text: value }) as const;
const image = { type: 'image', data: IMAGE, mimeType: 'image/png' } as const;
const resource = {
  type: 'resource',
  resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'An embedded resource.' },
} as const;

const test = defineAgent({
  address: 'test@fame.fabric',
  operations: {
    simple_text: operation({ run: () => 'This is a simple text response for testing.' }),
    image_content: operation({ run: () => ({ content: [image] }) }),
    audio_content: operation({
      run: () => ({ content: [{ type: 'audio', data: AUDIO, mimeType: 'audio/wav' }] }),
    }),
    embedded_resource: operation({ run: () => ({ content: [resource] }) }),
    multiple_content_types: operation({
      run: () => ({ content: [text('Multiple content types test:'), image, resource] }),
    }),
    error_handling: operation({
      run() {
        throw new AgentError('TEST_FAILED', 'This tool intentionally returns an error for testing');
      },
    }),
    tool_with_progress: operation({
      async *run() {
        for (const progress of [0, 50, 100]) yield { progress, total: 100 };
      },
    }),
    logging_tool: operation({ run: () => 'This tool logs nothing.' }),
    ...questions,
  },
});

const greet = defineAgent({
  address: 'greet@fame.fabric',
  operations: {
    greet: operation({ params: z.object({ name: z.string() }), run: ({ name }) => `Hello, ${name}!` }),
  },
});

/** An agent whose task has the name of a tool of the suite. */
const tasking = (name: string, start: TaskHandler['start']): Agent =>
  defineAgent({ address: `${name}@fame.fabric`, tasks: { start } });

const dataOf = ({ message }: TaskSendParams): Record<string, unknown> => {
  const [part] = message.parts;
  return part?.type === 'data' ? part.data : {};
};

/** Waits for a time that the suite demands. */
const seconds = (count: number, task: Parameters<TaskHandler['start']>[1]): Promise<void> =>
  pause(systemClock, count * 1_000, task.signal);

const tasks: Agent[] = [
  tasking('slow_compute', async (params, task) => {
    await seconds(Number(dataOf(params).seconds ?? 0), task);
    return 'computed';
  }),
  tasking('failing_job', async (_params, task) => {
    await seconds(1, task);
    throw new AgentError('TEST_FAILED', 'This job fails');
  }),
  tasking('protocol_error_job', () => {
    throw new Error('This job has a fault');
  }),
  tasking(
    'confirm_delete',
    async (_params, task) => `deleted: ${JSON.stringify(await task.ask('Delete it?'))}`,
  ),
];

export const conformanceAgents = (): Agent[] => [test, greet, ...tasks];
