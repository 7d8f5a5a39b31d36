// The agent that crash tests kill: our chat agent with three tools. They note their start and end in a file, and wait in between
// while a file named `hold` exists in their directory. Arguments: that directory, and the duration of a lease in ms.
import { appendFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { ChatAgent, openaiModel, runAgents, ToolSet, tool } from '@fame-fabric/agents';
import { openStore } from '@fame-fabric/agents/internal';
import { z } from 'zod';

const directory = process.argv[2]!;
const leaseMs = Number(process.argv[3] ?? 15_000);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function work(name: string, about: string): Promise<string> {
  appendFileSync(join(directory, 'notes'), `${name} started ${about}\n`);
  while (existsSync(join(directory, 'hold'))) await pause(5);
  appendFileSync(join(directory, 'notes'), `${name} finished ${about}\n`);
  return `${name} of ${about}`;
}

const about = z.object({ about: z.string() });
const look = tool({
  name: 'look',
  description: 'Looks something up.',
  parameters: about,
  execute: (args) => work('look', args.about),
});
const pay = tool({
  name: 'pay',
  description: 'Pays for something. Must not run twice.',
  parameters: about,
  idempotent: false,
  execute: (args) => work('pay', args.about),
});
const send = tool({
  name: 'send',
  description: 'Sends something, after a person has approved it.',
  parameters: about,
  approval: 'always',
  execute: (args) => work('send', args.about),
});

process.exitCode = await runAgents([
  async ({ config, log }) => {
    const { name, apiKey, baseUrl, timeoutMs } = config.model;
    const model = openaiModel({ model: name, apiKey, baseURL: baseUrl, timeoutMs, log });
    const { store, close } = await openStore(config, log);
    const tools = new ToolSet([look, pay, send]);
    return { agent: new ChatAgent({ address: config.chatAddress, model, tools, store, leaseMs }), close };
  },
]);
process.exit();
