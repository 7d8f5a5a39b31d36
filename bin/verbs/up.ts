// `fame up`: a sentinel and the chat agent in one process, for a first look and for small machines. The agent attaches through
// the sentinel's port, as in a separate process. It ends first, so that its last answers are delivered.
import { runAgentProcess } from '@fame-fabric/agents/process';
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { readSentinelConfig } from '@fame-fabric/sentinel/internal';
import { EXIT, withoutWarned } from '@fame-fabric/shared/internal';
import { checkDataDir } from '@fame-fabric/shared/node';
import { localSentinel, localSentinelOf } from '../config.ts';
import { consoleLine } from '../console-line.ts';
import { doorsOf } from '../doors.ts';
import { envWithPort } from '../flags.ts';
import { ManagedProcess } from '../local/managed-process.ts';
import { misspeltWarnings } from '../misspelt.ts';
import { writeMessage, writeNote } from '../output.ts';
import { ALL_VARIABLES, checkSettings, checkSettingsFiles, localAgentEnv } from '../settings.ts';
import type { VerbInput } from '../verb.ts';

/** Runs both until a signal ends them. @throws {CONFIG_INVALID} before either is started */
export async function run(input: VerbInput): Promise<number> {
  const env = envWithPort(input);
  checkSettings(env);
  await checkSettingsFiles(env);
  for (const line of misspeltWarnings(env, ALL_VARIABLES)) writeMessage(line);
  const { dataDir, host, port, tls } = readSentinelConfig(env);
  checkDataDir(dataDir); // for the agent's journal
  const running = new ManagedProcess('sentinel', dataDir).running();
  if (running?.port === port) {
    writeNote(
      `Port ${port} is in use by the fabric that \`make start\` started (pid ${running.pid}). \`make run\` talks to it, \`make stop\` ends it. To run another one: npx fame-fabric up --port ${port + 1}\n`,
    );
    return EXIT.failure;
  }
  let agents: Promise<number> | undefined;
  const doors = doorsOf(env);
  const sentinelCode = await runSentinelProcess({
    env,
    doors,
    companion: (sentinel) => {
      // A log must not contain a code that signs in.
      if (doors?.names?.includes('console') && process.stderr.isTTY) {
        const local = localSentinel({ host, port: sentinel.port, hasTls: tls !== undefined });
        void consoleLine(localSentinelOf({ dataDir }, local)).then(writeMessage);
      }
      // The sentinel has reported the variables without an effect.
      agents = runAgentProcess([], { env: withoutWarned(localAgentEnv(env, sentinel.port)) });
      return agents;
    },
  });
  return (await agents) || sentinelCode;
}
