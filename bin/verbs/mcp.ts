// `fame mcp ls | show NAME | confirm NAME`: the MCP servers of FAME_MCP_SERVERS, their tools, and the confirmation of definitions that have
// changed. Each action starts the servers that it needs, and ends them.
import {
  confirmMcpServer,
  digestOfMcpTool,
  inspectMcpServer,
  type McpInspection,
  type NamedMcpServer,
  readMcpServersFile,
} from '@fame-fabric/agents/internal';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { silentLog, systemClock } from '@fame-fabric/shared';
import {
  closestMatch,
  cutText,
  EXIT,
  escapeControls,
  escapeLine,
  explainError,
  formatTable,
} from '@fame-fabric/shared/internal';
import { countText } from '../count-text.ts';
import { writeJson, writeMessage, writeOut } from '../output.ts';
import { localAgentEnv } from '../settings.ts';
import { UsageError, type VerbInput } from '../verb.ts';

const ACTIONS = ['ls', 'show', 'confirm'];

/** Resolves to 0; 1 if a server failed or has changed. @throws {CONFIG_INVALID | MCP_UNAVAILABLE | UsageError} */
export async function run({ positionals, flags, env }: VerbInput): Promise<number> {
  const [action = 'ls', name] = positionals;
  if (!ACTIONS.includes(action)) {
    const near = closestMatch(action, ACTIONS);
    throw new UsageError(
      `mcp has no action "${escapeLine(cutText(action, 64))}".${near ? ` Did you mean ${near}?` : ` Its actions are ${ACTIONS.join(', ')}`}`,
    );
  }
  if (action !== 'ls' && name === undefined) throw new UsageError(`mcp ${action} takes the name of a server`);
  const config = readAgentConfig(localAgentEnv(env, ''));
  if (config.mcpServersFile === undefined) {
    writeMessage('FAME_MCP_SERVERS is not set. Set it to the path of a JSON file with MCP servers.');
    return EXIT.failure;
  }
  const servers = await readMcpServersFile(config, env);
  if (action === 'ls') return list(servers, flags.json === true);
  const server = servers.find((one) => one.name === name);
  if (!server) {
    const known = servers.map((one) => one.name).join(', ') || 'none';
    writeMessage(`There is no MCP server "${name}". Servers of FAME_MCP_SERVERS: ${known}.`);
    return EXIT.failure;
  }
  const inspection = await inspect(server);
  if (action === 'show') return show(server, inspection, flags.json === true);
  confirmMcpServer(server, inspection);
  const count = countText(inspection.listed.length, 'tool');
  const done = `${count} of "${server.name}" confirmed. Restart the agent to offer ${inspection.listed.length === 1 ? 'it' : 'them'}.`;
  if (flags.json) writeJson(reportOf(server, inspection));
  else writeOut(`${changeLines(inspection)}${escapeLine(done)}\n`);
  return EXIT.ok;
}

const inspect = (server: NamedMcpServer): Promise<McpInspection> =>
  inspectMcpServer(server, { clock: systemClock, logger: silentLog });

async function list(servers: readonly NamedMcpServer[], isJson: boolean): Promise<number> {
  const rows = await Promise.all(
    servers.map(async (server) => {
      try {
        const inspection = await inspect(server);
        return { server, inspection, error: undefined };
      } catch (error) {
        return { server, inspection: undefined, error: explainError(error) };
      }
    }),
  );
  if (isJson) {
    writeJson(
      rows.map(({ server, inspection, error }) =>
        inspection ? reportOf(server, inspection) : { name: server.name, error },
      ),
    );
  } else if (rows.length === 0) writeMessage('The file of FAME_MCP_SERVERS has no enabled servers.');
  else {
    const cells = rows.map(({ server, inspection, error }) => [
      server.name,
      inspection ? String(inspection.listed.length) : '-',
      inspection ? mcpStateText(inspection) : (error ?? ''),
    ]);
    writeOut(`${formatTable(['SERVER', 'TOOLS', 'STATE'], cells)}\n`);
  }
  const isFine = rows.every(({ inspection }) => inspection && !hasChanged(inspection));
  return isFine ? EXIT.ok : EXIT.failure;
}

/** True if an agent would refuse or hide tools until they are confirmed. */
export const hasChanged = ({ confirmed, changes }: McpInspection): boolean =>
  confirmed !== undefined && changes.changed.length + changes.added.length + changes.removed.length > 0;

/** Short text for the state of a server's definitions. */
export function mcpStateText(inspection: McpInspection): string {
  if (inspection.confirmed === undefined) return 'new; the first start of the agent confirms its tools';
  if (!hasChanged(inspection)) return 'confirmed';
  const { changed, added, removed } = inspection.changes;
  const parts = [
    ...changed.map((name) => `changed ${name}`),
    ...added.map((name) => `added ${name}`),
    ...removed.map((name) => `removed ${name}`),
  ];
  return `not confirmed: ${parts.join(', ')}`;
}

const MARKS = { added: '+', removed: '-', changed: '~' } as const;

function changeLines({ changes, confirmed }: McpInspection): string {
  if (confirmed === undefined) return '';
  return (['added', 'removed', 'changed'] as const)
    .flatMap((kind) => changes[kind].map((name) => `${MARKS[kind]} ${escapeLine(name)}\n`))
    .join('');
}

/** Prints the current definitions of the server, and for each changed one also the confirmed one. */
function show(server: NamedMcpServer, inspection: McpInspection, isJson: boolean): number {
  if (isJson) {
    writeJson(reportOf(server, inspection));
    return EXIT.ok;
  }
  const { confirmed = [], listed, changes, refused } = inspection;
  const before = new Map(confirmed.map((one) => [one.name, one]));
  const block = (mark: string, one: (typeof listed)[number]): string =>
    [
      `${mark} ${escapeLine(one.name)}  ${digestOfMcpTool(one).slice(0, 12)}`,
      ...escapeControls(one.description).split('\n'),
      ...escapeControls(JSON.stringify(one.inputSchema, null, 2)).split('\n'),
    ].join('\n    ');
  const blocks = listed.flatMap((one) => {
    if (changes.added.includes(one.name) && inspection.confirmed !== undefined) return [block('+', one)];
    if (!changes.changed.includes(one.name)) return [block(' ', one)];
    return [block('-', before.get(one.name)!), block('+', one)];
  });
  const gone = changes.removed.map((name) => block('-', before.get(name)!));
  const left = refused.map(({ name, reason }) => `! ${escapeLine(name)}  left out: ${escapeLine(reason)}`);
  writeOut(`${[...blocks, ...gone, ...left].join('\n')}\n`);
  return EXIT.ok;
}

const reportOf = (server: NamedMcpServer, { confirmed, listed, changes, refused }: McpInspection) => ({
  name: server.name,
  confirmed: confirmed !== undefined,
  tools: listed.map((one) => ({ ...one, sha256: digestOfMcpTool(one) })),
  ...changes,
  refused,
});
