// `fame local start|stop|status|logs`: what `make start` and its sisters run. Docker compose or local processes; what `stop`
// ends is what `start` wrote down that it began.

import { nearest } from '@fame-fabric/client/nearest';
import { checkDataDir } from '@fame-fabric/shared/data-dir';
import { readClientConfig } from '../config.ts';
import { compose, DockerMark, dockerFault } from '../local/docker.ts';
import { isReady, isServed, Local, LocalError } from '../local/local-stack.ts';
import { showLogs } from '../local/logs.ts';
import { pause } from '../local/managed-process.ts';
import { isPortTaken } from '../local/port-owner.ts';
import { checkSettings } from '../settings.ts';
import { onInterrupt, textFlag, UsageError, type VerbInput, writeJson, writeOut } from '../verb.ts';
import { duration } from './ps.ts';

const say = (line: string): void => writeOut(`${line}\n`);
const ACTIONS = { start, stop, status, logs };
const ATTACH_MS = 30_000;

export async function run(verb: VerbInput): Promise<number> {
  const [action = ''] = verb.positionals;
  if (!Object.hasOwn(ACTIONS, action)) {
    const hint = nearest(action, Object.keys(ACTIONS));
    throw new UsageError(`local takes start, stop, status or logs${hint ? `; did you mean ${hint}?` : ''}`);
  }
  try {
    return await ACTIONS[action as keyof typeof ACTIONS](verb);
  } catch (error) {
    if (!(error instanceof LocalError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}

const parts = ({ env }: VerbInput) => {
  const config = readClientConfig(env);
  return {
    config,
    local: new Local({ config, env, say }),
    docker: new DockerMark(config.dataDir),
  };
};

function modeOf(verb: VerbInput): 'local' | 'docker' {
  const mode = textFlag(verb, 'mode') || 'auto';
  if (mode === 'local') return 'local';
  if (mode !== 'docker' && mode !== 'auto') throw new UsageError(`MODE is local or docker, not "${mode}"`);
  const fault = dockerFault();
  if (fault === undefined) return 'docker';
  if (mode === 'docker') throw new LocalError(`MODE=docker, but ${fault}. MODE=local needs no Docker.`);
  return 'local';
}

async function start(verb: VerbInput): Promise<number> {
  const { config, local, docker } = parts(verb);
  checkDataDir(config.dataDir);
  if (docker.isSet || (!local.sentinel.running() && modeOf(verb) === 'docker')) {
    docker.set();
    const code = compose('up', '--detach', '--build', '--wait');
    if (code !== 0)
      throw new LocalError('docker compose failed, see above. `make start MODE=local` needs no Docker.');
    const deadline = Date.now() + ATTACH_MS;
    while (!(await isServed(config.local.httpUrl, config.chatAddress))) {
      if (Date.now() > deadline)
        throw new LocalError('The chat agent did not attach. `make logs` shows why.');
      await pause(200);
    }
    say(`Running in Docker at ${config.local.url}`);
  } else {
    checkSettings(verb.env);
    await local.start();
  }
  const more = config.local.port === 8000 ? '' : ` (with FAME_LISTENER_PORT=${config.local.port})`;
  say(`\nNext: make run${more}; also make run-verbose, status, logs, stop`);
  return 0;
}

async function stop(verb: VerbInput): Promise<number> {
  const { local, docker } = parts(verb);
  const { host, port } = local.where();
  let code = 0;
  const ended = await local.stop();
  if (docker.isSet) {
    if (compose('down') === 0) {
      docker.clear();
      ended.push('docker compose');
    } else code = 1;
  }
  if (ended.length > 0) say(`Stopped ${ended.join(', ')}.`);
  else if (code === 0) say('Nothing to stop.');
  if (code === 0 && (await isPortTaken(host, port))) {
    say(`Port ${port} is still served, by something that \`make start\` did not begin.`);
  }
  return code;
}

async function status(verb: VerbInput): Promise<number> {
  const { config, local, docker } = parts(verb);
  if (docker.isSet) {
    if (verb.flags.json) {
      const isUp = await isReady(config.local.httpUrl);
      writeJson({ mode: 'docker', url: config.local.url, isReady: isUp });
      return isUp ? 0 : 1;
    }
    return compose('ps') === 0 ? 0 : 1;
  }
  const now = await local.status();
  const isStarted = local.sentinel.recorded() !== undefined || local.agent.recorded() !== undefined;
  const isWell = now.sentinel?.isReady === true && now.agent?.isAttached === true;
  if (verb.flags.json) writeJson({ mode: 'local', ...now });
  else if (!isStarted) say('Nothing runs. `make start` starts a sentinel and a chat agent.');
  else {
    const line = (name: string, part: { pid: number; startedAt: number } | undefined, state: string): void =>
      say(
        part
          ? `${name.padEnd(11)} ${state}, pid ${part.pid}, up ${duration(Date.now() - part.startedAt)}`
          : `${name.padEnd(11)} not running; \`make start\` starts it, \`make logs\` says what happened`,
      );
    line('sentinel', now.sentinel, now.sentinel?.isReady ? `ready at ${now.url}` : 'not ready');
    line(
      'chat agent',
      now.agent,
      now.agent?.isAttached ? `attached as ${config.chatAddress}` : 'not attached',
    );
  }
  return !isStarted || isWell ? 0 : 1;
}

async function logs(verb: VerbInput): Promise<number> {
  const { local, docker } = parts(verb);
  const isFollowing = verb.flags.follow === true || Boolean(process.stdout.isTTY);
  if (docker.isSet)
    return compose('logs', '--tail', '100', ...(isFollowing ? ['--follow'] : [])) === 0 ? 0 : 1;
  const interrupt = onInterrupt();
  try {
    await showLogs([local.sentinel, local.agent], writeOut, {
      lines: 50,
      ...(isFollowing ? { follow: interrupt.signal } : {}),
    });
  } finally {
    interrupt.release();
  }
  return 0;
}
