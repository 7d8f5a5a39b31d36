// `fame local start|stop|status|logs`: the implementation of `make start`, `stop`, `status` and `logs`, with local processes or,
// on request, docker compose. `stop` ends only what `start` started.
import { readAgentConfig } from '@fame-fabric/agents/process';
import { systemClock } from '@fame-fabric/shared';
import { closestMatch, EXIT, escapeLine, isLoopbackHost, redactUrl } from '@fame-fabric/shared/internal';
import { checkDataDir } from '@fame-fabric/shared/node';
import { localSentinelOf, readClientConfig } from '../config.ts';
import { consoleLine } from '../console-line.ts';
import { doorsOf } from '../doors.ts';
import { durationText } from '../duration.ts';
import { textFlag } from '../flags.ts';
import { onInterrupt } from '../interrupt.ts';
import { compose, DockerMark, dockerFault } from '../local/docker.ts';
import { LocalError, LocalStack } from '../local/local-stack.ts';
import { showLogs } from '../local/logs.ts';
import { isPortTaken } from '../local/port-owner.ts';
import { misspeltWarnings } from '../misspelt.ts';
import { writeJson, writeMessage, writeNote, writeOut } from '../output.ts';
import { isReady, uplinkText } from '../sentinel-http.ts';
import { ALL_VARIABLES, checkSettings, checkSettingsFiles, localAgentEnv } from '../settings.ts';
import { UsageError, type VerbInput } from '../verb.ts';

const ACTIONS = { start, stop, status, logs };
const LOG_LINES = 50;

const writeLine = (line: string): void => writeOut(`${line}\n`);

export async function run(input: VerbInput): Promise<number> {
  const [action = ''] = input.positionals;
  if (!Object.hasOwn(ACTIONS, action)) {
    const match = closestMatch(action, Object.keys(ACTIONS));
    throw new UsageError(`local takes start, stop, status or logs${match ? `; did you mean ${match}?` : ''}`);
  }
  try {
    return await ACTIONS[action as keyof typeof ACTIONS](input);
  } catch (error) {
    if (!(error instanceof LocalError)) throw error;
    writeNote(`${error.message}\n`);
    return EXIT.failure;
  }
}

const openLocal = ({ env }: VerbInput) => {
  const config = readClientConfig(env);
  return {
    config,
    stack: new LocalStack({ config, env, writeLine }),
    docker: new DockerMark(config.dataDir),
  };
};

/** Returns the mode of `--mode`, or undefined without it. @throws {UsageError} for another mode */
function modeIn(input: VerbInput): 'local' | 'docker' | undefined {
  const mode = textFlag(input, 'mode') || undefined;
  if (mode === undefined || mode === 'local' || mode === 'docker') return mode;
  throw new UsageError(`MODE is local or docker, not "${mode}"`);
}

async function start(input: VerbInput): Promise<number> {
  const { config, stack, docker } = openLocal(input);
  const { port, url } = config.local;
  const wanted = modeIn(input);
  const running = docker.isSet ? 'docker' : stack.sentinel.running() ? 'local' : undefined;
  if (wanted !== undefined && running !== undefined && wanted !== running) {
    const place = running === 'docker' ? 'in Docker' : 'as local processes';
    throw new LocalError(`MODE=${wanted}, but the fabric already runs ${place}. Run \`make stop\` first.`);
  }
  checkDataDir(config.dataDir);
  checkSettings(input.env);
  for (const line of misspeltWarnings(input.env, ALL_VARIABLES)) writeMessage(line);
  let chatAddress: string | undefined = config.chatAddress;
  if ((running ?? wanted) === 'docker') {
    startInDocker(input.env, docker);
    writeLine(`Running in Docker at ${url}`);
  } else {
    await checkSettingsFiles(input.env);
    const addresses = await stack.start();
    if (!addresses.includes(config.chatAddress)) chatAddress = undefined;
  }
  if (doorsOf(input.env)?.names?.includes('console')) {
    writeLine(await consoleLine(localSentinelOf(config, stack.location())));
  }
  const withPort = port === 8000 ? '' : ` (with FAME_LISTENER_PORT=${port})`;
  const next = chatAddress === undefined ? 'npx fame-fabric ps' : 'make run';
  writeLine(`\nNext: ${next}${withPort}; also make run-verbose, status, logs, stop`);
  return EXIT.ok;
}

/** @throws {LocalError} when Docker cannot be used, or these settings cannot work in it */
function startInDocker(env: VerbInput['env'], docker: DockerMark): void {
  const fault = dockerFault();
  if (fault !== undefined) {
    throw new LocalError(`MODE=docker, but ${fault}. \`make start\` without MODE needs no Docker.`);
  }
  const { baseUrl } = readAgentConfig(localAgentEnv(env, '')).model;
  if (baseUrl !== undefined && isLoopbackHost(new URL(baseUrl).hostname)) {
    const fromContainer = new URL(baseUrl);
    fromContainer.hostname = 'host.docker.internal';
    throw new LocalError(
      `OPENAI_BASE_URL is ${redactUrl(baseUrl)}, which means the container itself to an agent in Docker. Set it to ${redactUrl(fromContainer.href)}, and let that server listen beyond 127.0.0.1; or start without MODE=docker.`,
    );
  }
  docker.set();
  if (compose('up', '--detach', '--build', '--wait') !== 0) {
    throw new LocalError('docker compose failed; see its output. `make start` without MODE needs no Docker.');
  }
}

async function stop(input: VerbInput): Promise<number> {
  const { stack, docker } = openLocal(input);
  const { host, port } = stack.location();
  let code: number = EXIT.ok;
  const stopped = await stack.stop();
  if (docker.isSet) {
    if (compose('down') === 0) {
      docker.clear();
      stopped.push('docker compose');
    } else code = EXIT.failure;
  }
  if (stopped.length > 0) writeLine(`Stopped ${stopped.join(', ')}.`);
  else if (code === EXIT.ok) writeLine('Nothing to stop.');
  if (code === EXIT.ok && (await isPortTaken(host, port))) {
    writeLine(`Port ${port} is still in use by a process that \`make start\` did not start.`);
  }
  return code;
}

async function status(input: VerbInput): Promise<number> {
  const { config, stack, docker } = openLocal(input);
  if (docker.isSet) {
    if (!input.flags.json) return compose('ps') === 0 ? EXIT.ok : EXIT.failure;
    const isUp = await isReady(config.local.httpUrl);
    writeJson({ mode: 'docker', url: config.local.url, isReady: isUp });
    return isUp ? EXIT.ok : EXIT.failure;
  }
  const now = await stack.status();
  const { sentinel, agent } = now;
  const isStarted = stack.sentinel.recorded() !== undefined || stack.agent.recorded() !== undefined;
  const isHealthy = sentinel?.isReady === true && agent?.isAttached === true;
  if (input.flags.json) writeJson({ mode: 'local', ...now });
  else if (!isStarted) writeLine('Nothing runs. `make start` starts a sentinel and a chat agent.');
  else {
    writeLine(statusLine('sentinel', sentinel, sentinel?.isReady ? `ready at ${now.url}` : 'not ready'));
    for (const uplink of now.uplinks) {
      writeLine(`${escapeLine(uplink.kind).padEnd(11)} ${escapeLine(uplinkText(uplink))}`);
    }
    const isAttached = agent?.isAttached === true;
    writeLine(
      statusLine(
        'chat agent',
        agent,
        isAttached ? `attached as ${agent?.addresses.join(', ')}` : 'not attached',
      ),
    );
  }
  return !isStarted || isHealthy ? EXIT.ok : EXIT.failure;
}

function statusLine(name: string, part: { pid: number; startedAt: number } | undefined, state: string) {
  const label = name.padEnd(11);
  if (!part) return `${label} not running; \`make start\` starts it, \`make logs\` shows why it ended`;
  return `${label} ${state}, pid ${part.pid}, up ${durationText(systemClock.now() - part.startedAt)}`;
}

async function logs(input: VerbInput): Promise<number> {
  const { stack, docker } = openLocal(input);
  const isFollowing = input.flags.follow === true || Boolean(process.stdout.isTTY);
  if (docker.isSet) {
    const code = compose('logs', '--tail', '100', ...(isFollowing ? ['--follow'] : []));
    return code === 0 ? EXIT.ok : EXIT.failure;
  }
  const interrupt = onInterrupt();
  try {
    const follow = isFollowing ? interrupt.signal : undefined;
    const isText = Boolean(process.stdout.isTTY);
    if (isText) writeNote('New lines follow the last ones. Ctrl-C ends the command.\n');
    await showLogs([stack.sentinel, stack.agent], writeOut, { lines: LOG_LINES, isText, follow });
  } finally {
    interrupt.release();
  }
  return EXIT.ok;
}
