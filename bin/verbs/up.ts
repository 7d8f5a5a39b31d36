// `fame up`: a sentinel and the chat agent in one process, for a first look and for small machines. They still talk over
// the sentinel's port, exactly as two processes do; the agent ends first, so that its last answers still pass.
import { runAgentProcess } from '@fame-fabric/agents/process';
import { EXIT } from '@fame-fabric/client/exit-codes';
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { readSentinelConfig } from '@fame-fabric/sentinel/internal';
import { checkDataDir } from '@fame-fabric/shared/data-dir';
import { Part } from '../local/managed-process.ts';
import { besideSentinel, checkSettings } from '../settings.ts';
import { envWithPort, type VerbInput } from '../verb.ts';

/** Runs until a signal ends both; resolves to the exit code. @throws {CONFIG_INVALID} before anything is started */
export async function run(input: VerbInput): Promise<number> {
  const env = envWithPort(input);
  checkSettings(env);
  const { dataDir, port: wanted } = readSentinelConfig(env);
  checkDataDir(dataDir); // the journal of the agent lies there
  const started = new Part('sentinel', dataDir).running();
  if (started?.port === wanted) {
    process.stderr.write(
      `Port ${wanted} is served by the fabric that \`make start\` began (pid ${started.pid}). \`make run\` talks to it, \`make stop\` ends it; or choose another port: npx fame up --port ${wanted + 1}\n`,
    );
    return EXIT.failure;
  }
  let agents: Promise<number> | undefined;
  const sentinelCode = await runSentinelProcess({
    env,
    beside: ({ port }) => {
      agents = runAgentProcess([], { env: besideSentinel(env, port) });
      return agents;
    },
  });
  return (await agents) || sentinelCode;
}
