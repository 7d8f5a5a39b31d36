// `fame dev FILE...`: serves the agents of files while their author works on them. Starts a sentinel in this process unless one
// answers. Each file runs in a separate process, which restarts when its files change.
import { existsSync, realpathSync } from 'node:fs';
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { readSentinelConfig } from '@fame-fabric/sentinel/internal';
import { FabricError } from '@fame-fabric/shared';
import { type Environment, EXIT, redactUrl } from '@fame-fabric/shared/internal';
import { checkDataDir } from '@fame-fabric/shared/node';
import { readClientConfig } from '../config.ts';
import { DevAgent } from '../dev/dev-agent.ts';
import type { ServedAgent } from '../dev/dev-message.ts';
import { doorsOf } from '../doors.ts';
import { envWithPort } from '../flags.ts';
import { misspeltWarnings } from '../misspelt.ts';
import { writeMessage } from '../output.ts';
import { isReady } from '../sentinel-http.ts';
import { ALL_VARIABLES, checkSettings, localAgentEnv } from '../settings.ts';
import { UsageError, type VerbInput } from '../verb.ts';

export async function run(input: VerbInput): Promise<number> {
  const files = readFiles(input.positionals);
  const env = envWithPort(input);
  for (const line of misspeltWarnings(env, ALL_VARIABLES)) writeMessage(line);
  const { url, httpUrl, local } = readClientConfig(env);
  if (await isReady(httpUrl)) {
    writeMessage(`Using the sentinel at ${redactUrl(url)}`);
    return runFiles(files, env, undefined);
  }
  if (url !== local.url) {
    throw new FabricError('LINK_TIMEOUT', `No sentinel answers at ${redactUrl(url)}`);
  }
  checkSettings(env);
  checkDataDir(readSentinelConfig(env).dataDir);
  const configured = readSentinelConfig(input.env).port;
  let agents: Promise<number> | undefined;
  const sentinelCode = await runSentinelProcess({
    env,
    doors: doorsOf(env),
    companion: ({ port }) => {
      agents = runFiles(files, localAgentEnv(env, port), port === configured ? undefined : port);
      return agents;
    },
  });
  return (await agents) || sentinelCode;
}

const SOURCE = /\.[cm]?[jt]s$/;

/** Returns the absolute paths. @throws {UsageError} */
function readFiles(words: readonly string[]): string[] {
  if (words.length === 0) throw new UsageError('dev takes the files of agents, such as agent.ts');
  return words.map((word) => {
    if (!SOURCE.test(word)) throw new UsageError(`dev runs .ts and .js files, not "${word}"`);
    if (!existsSync(word)) throw new UsageError(`There is no file "${word}"`);
    return realpathSync(word);
  });
}

/** Runs the files until a signal ends them; a second signal kills them. Other commands need `port`, if given, to find the sentinel. */
async function runFiles(
  files: readonly string[],
  env: Environment,
  port: number | undefined,
): Promise<number> {
  const onServed = (served: readonly ServedAgent[]): void => {
    for (const agent of served) writeMessage(nextSteps(agent, port));
  };
  const agents = files.map((file) => new DevAgent({ file, env, note: writeMessage, onServed }));
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) {
      for (const agent of agents) agent.kill();
      process.exit(signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated);
    }
    stop.abort();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  try {
    await Promise.all(agents.map((agent) => agent.run(stop.signal)));
    return EXIT.ok;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

function nextSteps({ address, hasTurns }: ServedAgent, port: number | undefined): string {
  const command = `${port === undefined ? '' : `FAME_LISTENER_PORT=${port} `}npx fame-fabric`;
  const steps = [...(hasTurns ? [`${command} chat ${address}`] : []), `${command} describe ${address}`];
  return ['Try in another terminal:', ...steps.map((step) => `  ${step}`)].join('\n');
}
