// `fame doctor`: asks, one after the other, what has to be true for `make run` to work, and says what to fix.
import { AGENT_VARIABLES } from '@fame-fabric/agents/process';
import { explain } from '@fame-fabric/client/exit-codes';
import { inert } from '@fame-fabric/client/inert-text';
import { nearest } from '@fame-fabric/client/nearest';
import { connect } from '@fame-fabric/client/node';
import { createStyle } from '@fame-fabric/client/style';
import { VARIABLES as SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { isFabricError } from '@fame-fabric/shared';
import { checkDataDir } from '@fame-fabric/shared/data-dir';
import {
  CLIENT_VARIABLES,
  type ClientConfig,
  modelSource,
  readClientConfig,
  shownUrl,
  wantsColours,
} from '../config.ts';
import { isReady } from '../local/local-stack.ts';
import { isPortTaken, portOwner } from '../local/port-owner.ts';
import { probeModel } from '../model-probe.ts';
import { getNodes } from '../sentinel-http.ts';
import { checkSettings } from '../settings.ts';
import { type Environment, type VerbInput, writeJson, writeOut } from '../verb.ts';

interface Finding {
  check: string;
  ok: boolean;
  found: string;
  fix?: string;
}

const NODE_NEEDED = 24;
const ATTACH_MS = 3_000;
/** Letters by which a misspelt variable may differ. */
const MOST_WRONG_LETTERS = 2;

export async function run({ flags, env }: VerbInput): Promise<number> {
  const findings: Finding[] = [];
  const style = createStyle(Boolean(process.stdout.isTTY) && wantsColours(env));
  const report = (check: string, ok: boolean, found: string, fix?: string): void => {
    findings.push({ check, ok, found, ...(ok || fix === undefined ? {} : { fix }) });
    if (flags.json) return;
    const mark = ok ? style.green('ok ') : style.red('fix');
    writeOut(
      `${mark}  ${check.padEnd(14)} ${found}\n${ok || fix === undefined ? '' : `     ${' '.repeat(14)} ${fix}\n`}`,
    );
  };

  const isOld = Number(process.versions.node.split('.')[0]) < NODE_NEEDED;
  const fix = `Node ${NODE_NEEDED} or newer is needed; \`make\` installs one into node_modules.`;
  report('Node', !isOld, process.versions.node, fix);
  let config: ClientConfig;
  try {
    config = readClientConfig(env);
    checkSettings(env);
    report('configuration', true, `sentinel at ${shownUrl(config.url)}, chat agent at ${config.chatAddress}`);
  } catch (error) {
    report('configuration', false, explain(error), 'Correct the variables that are named.');
    if (flags.json) writeJson(findings);
    return 2;
  }
  checkNames(env, report);
  report('model', true, modelSource(env));
  const server = await probeModel(env);
  if (server) report('model server', server.ok, inert(server.found), server.fix && inert(server.fix));
  reportDataDir(config, report);
  const isReached = await checkSentinel(config, report);
  if (isReached) await checkAgent(config, report);
  if (flags.json) writeJson(findings);
  if (findings.every(({ ok }) => ok)) return 0;
  return isReached ? 1 : 69;
}

type Report = (check: string, ok: boolean, found: string, fix?: string) => void;

// A misspelt variable does nothing, and says nothing. Names that are unlike all of ours may be those of other Fame nodes.
function checkNames(env: Environment, report: Report): void {
  const known = [...AGENT_VARIABLES, ...CLIENT_VARIABLES, ...SENTINEL_VARIABLES].map(({ name }) => name);
  const lower = known.map((name) => name.toLowerCase());
  for (const name of Object.keys(env)) {
    if (!/^(FAME|OPENAI|MODEL)_/.test(name) || known.includes(name)) continue;
    const near = nearest(name, lower, MOST_WRONG_LETTERS);
    if (near === undefined) continue;
    const fix = `Did you mean ${known[lower.indexOf(near)]}?`;
    report('variable', false, `${name} is set, and nothing reads it`, fix);
  }
}

function reportDataDir({ dataDir }: ClientConfig, report: Report): void {
  try {
    checkDataDir(dataDir);
    report('data directory', true, dataDir);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    report('data directory', false, error.message);
  }
}

async function checkSentinel({ httpUrl, url }: ClientConfig, report: Report): Promise<boolean> {
  const { hostname, port: portText, protocol } = new URL(url);
  const port = Number(portText || (protocol === 'wss:' ? 443 : 80));
  const host = hostname.replace(/^\[|\]$/g, '');
  const isLocal = ['127.0.0.1', 'localhost', '::1'].includes(host);
  const owner = isLocal ? portOwner(port) : undefined;
  const name = owner ? `${owner.command} (pid ${owner.pid})` : 'a program';
  if (!(await isPortTaken(host, port))) {
    const start = isLocal
      ? '`make start` starts one.'
      : 'Check the host and port in FAME_DIRECT_ADMISSION_URL.';
    report('sentinel', false, `nobody listens on ${host}:${port}`, start);
    return false;
  }
  try {
    const { sentinel, nodes } = await getNodes(httpUrl);
    const attached = nodes.filter(({ state }) => state === 'attached').length;
    const who = `${sentinel.id} (${sentinel.version}), ${attached} attached`;
    report('sentinel', true, `${who}; port ${port}: ${name}`);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    const other =
      'Stop that program, or set FAME_LISTENER_PORT to another port for the sentinel and the client.';
    report('sentinel', false, `port ${port} is served by ${name}, which is no Fame Fabric sentinel`, other);
    return false;
  }
  const isWell = await isReady(httpUrl);
  report(
    'readiness',
    isWell,
    isWell ? 'takes attaches' : 'is draining',
    'Wait for it to end, then start it again.',
  );
  return true;
}

async function checkAgent(config: ClientConfig, report: Report): Promise<void> {
  const { url, token, chatAddress } = config;
  const before = performance.now();
  try {
    const credentials = token === undefined ? {} : { token };
    await using client = await connect({ url, connectTimeoutMs: ATTACH_MS, ...credentials });
    report('attach', true, `${client.path ?? ''} in ${Math.round(performance.now() - before)} ms`);
    const asked = performance.now();
    let model = '';
    try {
      const said = await client.call(chatAddress, 'describe', {}, { timeoutMs: ATTACH_MS });
      model = modelIn(said);
    } catch (error) {
      const isThere =
        isFabricError(error, 'METHOD_NOT_FOUND') || isFabricError(error, 'OPERATION_UNSUPPORTED');
      if (!isThere) {
        report(
          'chat agent',
          false,
          explain(error),
          '`make start`, or `npx fame agent`, starts one; `npx fame ps` shows who is there.',
        );
        return;
      }
    }
    const took = Math.round(performance.now() - asked);
    report('chat agent', true, `${chatAddress} answered in ${took} ms${model}`);
  } catch (error) {
    report('attach', false, explain(error), 'Look into the log of the sentinel: `make logs`.');
  }
}

// Which model the running agent asks, for agents that say so: their environment is not the one of this command.
function modelIn(said: unknown): string {
  const model = (said as { model?: unknown } | null)?.model;
  return typeof model === 'string' ? `, model: ${inert(model)}` : '';
}
