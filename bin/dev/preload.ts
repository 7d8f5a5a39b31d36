// Runs in the process of an agent of `fame dev`, before the agent's own file (`node --import`). Reports the files that the process
// imports and the agents that it serves. Serves the exported agents of a file that does not call `runAgents`.
import { subscribe } from 'node:diagnostics_channel';
import { realpathSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Agent } from '@fame-fabric/agents';
import type { DevMessage } from './dev-message.ts';

const file = realpathSync(process.argv[1]!);
const fileUrl = pathToFileURL(file).href;
const isRestart = new URL(import.meta.url).searchParams.has('restart');
let hasRunAgents = false;

const send = (message: DevMessage): void => {
  if (process.connected) process.send?.(message);
};

/** Reports a file of the project, whether it exists or not. */
function reportFile(url: string): void {
  if (url.startsWith('file:') && !url.includes('/node_modules/')) {
    send({ type: 'file', path: fileURLToPath(new URL(url)) });
  }
}

registerHooks({
  resolve(specifier, context, next) {
    try {
      return next(specifier, context);
    } catch (error) {
      // A missing file is watched, so that the agent restarts when it appears.
      if (/^\.{0,2}\//.test(specifier) && context.parentURL) {
        reportFile(new URL(specifier, context.parentURL).href);
      }
      throw error;
    }
  },
  load(url, context, next) {
    reportFile(url);
    return next(url, context);
  },
});

subscribe('fame-fabric.agents', (message) => {
  const report = message as { state: string; agents: readonly Agent[]; isRestart?: boolean };
  const { state, agents } = report;
  hasRunAgents = true;
  if (state === 'started') report.isRestart = isRestart;
  if (state !== 'served') return;
  send({
    type: 'served',
    agents: agents.map(({ address, card }) => ({
      address,
      hasTurns: card.skills.some(({ id }) => id === 'run_turn'),
    })),
  });
});

// `fame dev` has ended without stopping this process, for example by SIGKILL. `runAgents` handles the signal, and other programs end.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
// A listener keeps the channel open, and with it the process.
process.channel?.unref();

const isAgent = (value: unknown): value is Agent =>
  typeof (value as Agent | undefined)?.address === 'string' && typeof (value as Agent).serve === 'function';

process.once('beforeExit', () => {
  if (hasRunAgents || process.exitCode) return;
  void serveExports();
});

async function serveExports(): Promise<void> {
  const exported: Record<string, unknown> = await import(fileUrl);
  const agents = new Set(Object.values(exported).flat().filter(isAgent));
  if (agents.size === 0) {
    process.stderr.write(`${file} exports no agent and does not call runAgents\n`);
    process.exitCode = 1;
    return;
  }
  // Resolve the package from the file, because a project has its own copy.
  const { runAgents } = (await import(
    pathToFileURL(createRequire(fileUrl).resolve('@fame-fabric/agents')).href
  )) as typeof import('@fame-fabric/agents');
  process.exitCode = await runAgents([...agents]);
}
