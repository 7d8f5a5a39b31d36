// `fame doctor`: checks the requirements of `make run` one after the other, and prints a fix for each failed check.
import { inspectMcpServer, readMcpServersFile } from '@fame-fabric/agents/internal';
import { type AgentConfig, readAgentConfig } from '@fame-fabric/agents/process';
import { connect } from '@fame-fabric/client/node';
import { isFabricError, silentLog, systemClock } from '@fame-fabric/shared';
import {
  createStyle,
  cutText,
  type Environment,
  EXIT,
  escapeControls,
  escapeLine,
  explainError,
  redactUrl,
  type Style,
  tlsFault,
} from '@fame-fabric/shared/internal';
import { AdmissionToken, probeDataDir } from '@fame-fabric/shared/node';
import { type ClientConfig, readClientConfig, sentinelOf, wantsColours } from '../config.ts';
import { countText } from '../count-text.ts';
import { isPortTaken, portOwner, speaksTls } from '../local/port-owner.ts';
import { misspeltVariables } from '../misspelt.ts';
import { probeModel } from '../model-probe.ts';
import { isNodeRecent, MIN_NODE_VERSION, nodeAdvice } from '../node-version.ts';
import { openFoundStore } from '../open-found-store.ts';
import { writeJson, writeOut } from '../output.ts';
import { getNodes, isAuthError, isReady, uplinkText } from '../sentinel-http.ts';
import { ALL_VARIABLES, checkSettings, localAgentEnv } from '../settings.ts';
import type { VerbInput } from '../verb.ts';
import { hasChanged, mcpStateText } from './mcp.ts';

/** The result of one check. */
export interface Finding {
  check: string;
  ok: boolean;
  found: string;
  fix?: string | undefined;
}

type Report = (check: string, ok: boolean, found: string, fix?: string) => void;

const ATTACH_TIMEOUT_MS = 3_000;

export async function run({ flags, env }: VerbInput): Promise<number> {
  const findings: Finding[] = [];
  const style = createStyle(Boolean(process.stdout.isTTY) && wantsColours(env));
  const report: Report = (check, ok, found, fix) => {
    const finding: Finding = { check, ok, found, fix: ok ? undefined : fix };
    findings.push(finding);
    if (!flags.json) writeOut(findingText(finding, style));
  };
  const code = await checkAll(env, report);
  if (flags.json) writeJson(findings);
  return findings.every(({ ok }) => ok) ? EXIT.ok : code;
}

/** Formats a finding in one or two lines, safe to print. A faulty configuration has a line for each fault. */
export function findingText({ check, ok, found, fix }: Finding, style: Style): string {
  const mark = ok ? style.green('ok ') : style.red('fix');
  const hint = fix === undefined ? '' : `     ${' '.repeat(14)} ${escapeLine(fix)}\n`;
  return `${mark}  ${check.padEnd(14)} ${escapeControls(found)}\n${hint}`;
}

/** Runs all checks. Returns the exit code for the case that one of them failed. */
async function checkAll(env: Environment, report: Report): Promise<number> {
  checkNodeVersion(report);
  const settings = readSettings(env, report);
  if (!settings) return EXIT.usage;
  const { config, agent } = settings;
  checkVariableNames(env, report);
  report('model', true, modelText(agent.model));
  const server = await probeModel(agent.model);
  if (server) report('model server', server.ok, server.found, server.fix);
  await checkMcpServers(agent, env, report);
  reportDataDir(config, report);
  await checkStore(env, report);
  if (!(await checkSentinel(config, report))) return EXIT.unreachable;
  await checkAgent(config, report);
  return EXIT.failure;
}

function checkNodeVersion(report: Report): void {
  const fix = `fame needs Node ${MIN_NODE_VERSION} or newer. ${nodeAdvice()}`;
  report('Node', isNodeRecent(), process.versions.node, fix);
}

function readSettings(
  env: Environment,
  report: Report,
): { config: ClientConfig; agent: AgentConfig } | undefined {
  try {
    const config = readClientConfig(env);
    checkSettings(env);
    const text = `sentinel at ${redactUrl(config.url)}, chat agent at ${config.chatAddress}`;
    report('configuration', true, text);
    return { config, agent: readAgentConfig(localAgentEnv(env, '')) };
  } catch (error) {
    report('configuration', false, explainError(error), 'Correct these variables.');
    return undefined;
  }
}

function checkVariableNames(env: Environment, report: Report): void {
  for (const { name, meant } of misspeltVariables(env, ALL_VARIABLES)) {
    report('variable', false, `${name} is set, and nothing reads it`, `Did you mean ${meant}?`);
  }
}

/** Describes the model of an agent that is started with these settings. */
function modelText({ name, apiKey, baseUrl }: AgentConfig['model']): string {
  if (baseUrl !== undefined) return `${name} at OPENAI_BASE_URL, for agents started from here`;
  if (apiKey !== undefined) return `${name}, OPENAI_API_KEY is set, for agents started from here`;
  return 'offline, the built-in one; set OPENAI_API_KEY or OPENAI_BASE_URL to use a real one for agents started from here';
}

async function checkMcpServers(agent: AgentConfig, env: Environment, report: Report): Promise<void> {
  let servers: Awaited<ReturnType<typeof readMcpServersFile>>;
  try {
    servers = await readMcpServersFile(agent, env);
  } catch (error) {
    report('MCP servers', false, explainError(error), 'Correct the file that FAME_MCP_SERVERS names.');
    return;
  }
  const checks = servers.map(async (server) => {
    const name = `MCP ${cutText(server.name, 10)}`;
    try {
      const inspection = await inspectMcpServer(server, { clock: systemClock, logger: silentLog });
      const text = `${countText(inspection.listed.length, 'tool')}, ${mcpStateText(inspection)}`;
      const fix = `If that is intended: npx fame-fabric mcp confirm ${server.name}`;
      return () => report(name, !hasChanged(inspection), escapeLine(text), fix);
    } catch (error) {
      const fix = 'Correct the server in the file that FAME_MCP_SERVERS names, or start it.';
      return () => report(name, false, explainError(error), fix);
    }
  });
  for (const check of await Promise.all(checks)) check();
}

function reportDataDir({ dataDir }: ClientConfig, report: Report): void {
  try {
    const exists = probeDataDir(dataDir);
    report('data directory', true, exists ? dataDir : `${dataDir}, which the first start creates`);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    report('data directory', false, error.message);
  }
}

async function checkStore(env: Environment, report: Report): Promise<void> {
  try {
    const store = await openFoundStore(env);
    if (store === undefined) return; // no agent has written one yet
    await store.close();
    report('conversations', true, store.place);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    report('conversations', false, error.message);
  }
}

/** Returns true if a sentinel answers. */
async function checkSentinel(config: ClientConfig, report: Report): Promise<boolean> {
  const { httpUrl, url } = config;
  const http = sentinelOf(config);
  const { hostname, port: portText, protocol } = new URL(url);
  const port = Number(portText || (protocol === 'wss:' ? 443 : 80));
  const host = hostname.replace(/^\[|\]$/g, '');
  const isLocal = ['127.0.0.1', 'localhost', '::1'].includes(host);
  if (!(await isPortTaken(host, port))) {
    const fix = isLocal
      ? '`make start` starts one.'
      : 'Check the host and port in FAME_DIRECT_ADMISSION_URL.';
    report('sentinel', false, `no process listens on ${host}:${port}`, fix);
    return false;
  }
  const owner = isLocal ? portOwner(port) : undefined;
  const name = owner ? `${owner.command} (pid ${owner.pid})` : 'a program';
  const place = owner ? `port ${port}: ${name}` : `${host}:${port}`;
  try {
    const { sentinel, nodes, uplinks = [] } = await getNodes(http);
    const attached = nodes.filter(({ state }) => state === 'attached').length;
    const text = `${sentinel.id} (${sentinel.version}), ${attached} attached; ${place}`;
    report('sentinel', true, escapeLine(text));
    report('key', true, http.token.source ?? 'not needed by this sentinel');
    for (const uplink of uplinks) {
      const fix = `Start that sentinel, or correct ${uplink.kind === 'parent' ? 'FAME_PARENT_URL' : 'FAME_PEER_URLS'} and start this one again.`;
      report(uplink.kind, uplink.state === 'attached', escapeLine(uplinkText(uplink)), fix);
    }
  } catch (error) {
    if (!isFabricError(error)) throw error;
    if (isAuthError(error)) {
      report('sentinel', true, place);
      report('key', false, error.message);
    } else if (error.code === 'AUTH_FORBIDDEN') {
      report('sentinel', true, place);
      report('key', true, `${http.token.source}; ps, trace and metrics need a key with the role admin`);
    } else if (error.code === 'AUTH_UNAVAILABLE') {
      report('key', false, error.message);
      return false;
    } else if (protocol === 'ws:' && (await speaksTls(host, port))) {
      const fix = 'Begin FAME_DIRECT_ADMISSION_URL with wss://.';
      report('sentinel', false, `${place} speaks TLS, and the URL begins with ws://`, fix);
      return false;
    } else if (error.details?.status !== undefined || tlsFault(error) !== undefined) {
      report('sentinel', false, error.message);
      return false;
    } else if (!isLocal) {
      report('sentinel', false, error.message, 'Check FAME_DIRECT_ADMISSION_URL.');
      return false;
    } else {
      const fix =
        'Stop that program, or set FAME_LISTENER_PORT to another port for the sentinel and the client.';
      report('sentinel', false, `port ${port} is used by ${name}, which is not a Fame Fabric sentinel`, fix);
      return false;
    }
  }
  const isUp = await isReady(httpUrl);
  report('readiness', isUp, isUp ? 'admits nodes' : 'is draining', 'Start it again when it has ended.');
  return true;
}

async function checkAgent(
  { url, token: settings, chatAddress, securityProfile }: ClientConfig,
  report: Report,
): Promise<void> {
  const token = new AdmissionToken(url, settings);
  const before = performance.now();
  try {
    await using client = await connect({
      url,
      connectTimeoutMs: ATTACH_TIMEOUT_MS,
      token,
      securityProfile,
    });
    report('attach', true, escapeLine(`${client.path ?? ''} in ${millisSince(before)} ms`));
    const calledAt = performance.now();
    let model = '';
    try {
      model = runningModelText(
        await client.call(chatAddress, 'describe', {}, { timeoutMs: ATTACH_TIMEOUT_MS }),
      );
    } catch (error) {
      const isServed =
        isFabricError(error, 'METHOD_NOT_FOUND') || isFabricError(error, 'OPERATION_UNSUPPORTED');
      if (!isServed) {
        const fix =
          '`make start`, or `npx fame-fabric agent`, starts one; `npx fame-fabric ps` lists the attached nodes.';
        report('chat agent', false, explainError(error), fix);
        return;
      }
    }
    report('chat agent', true, `${chatAddress} answered in ${millisSince(calledAt)} ms${model}`);
  } catch (error) {
    report('attach', false, explainError(token.explain(error)), 'See the log of the sentinel: `make logs`.');
  }
}

const millisSince = (start: number): number => Math.round(performance.now() - start);

// The model of the running agent, which may have been started with other settings than this command.
function runningModelText(description: unknown): string {
  const model = (description as { model?: unknown } | null)?.model;
  return typeof model === 'string' ? escapeLine(`, model: ${model}`) : '';
}
