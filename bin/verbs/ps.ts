// `fame ps`: the nodes attached to the sentinel and to the others of its cluster, their addresses and their queues.
import { escapeLine, formatTable } from '@fame-fabric/shared/internal';
import { readClientConfig, sentinelOf } from '../config.ts';
import { durationText } from '../duration.ts';
import { writeJson, writeOut } from '../output.ts';
import { clusterText, getNodes, type NodeList, uplinkText } from '../sentinel-http.ts';
import type { VerbInput } from '../verb.ts';

export async function run({ flags, env }: VerbInput): Promise<number> {
  const list = await getNodes(sentinelOf(readClientConfig(env)), { isOfCluster: true });
  if (flags.json) writeJson(list);
  else writeOut(`${describeNodes(list)}\n`);
  return 0;
}

const MAX_LISTED = 4;

/** Joins names, at most four of them: a node may have a thousand addresses. `--json` has all. */
function listText(names: readonly string[]): string {
  const rest = names.length - MAX_LISTED;
  const shown = names.slice(0, MAX_LISTED).join(', ');
  return rest > 0 ? `${shown} and ${rest} more` : shown || '-';
}

/** Shortens `fame.capability.agent` to `agent`. Capabilities of the protocol itself are not shown. */
const shownCapability = (name: string): string =>
  name.startsWith('fame.capability.')
    ? name.slice('fame.capability.'.length)
    : name.startsWith('fame.')
      ? ''
      : name;

/** The list as a table, safe to print. Addresses and capabilities of the protocol itself are left out. */
export function describeNodes({ sentinel, nodes, uplinks = [], cluster, missing = [] }: NodeList): string {
  const attached = nodes.filter(({ state }) => state === 'attached').length;
  const head = escapeLine(
    `Sentinel ${sentinel.id} (${sentinel.version}), up ${durationText(sentinel.uptimeMs)}, ${attached} attached`,
  );
  const lines = uplinks.map((uplink) => `${uplink.kind} ${uplinkText(uplink)}`);
  if (cluster !== undefined) lines.push(`cluster ${clusterText(cluster)}`);
  if (missing.length > 0) lines.push(`no answer from ${missing.join(', ')}: their nodes are not listed`);
  const links = lines.map((line) => `\n${escapeLine(line)}`).join('');
  if (nodes.length === 0) return `${head}. Agents attach with \`npx fame-fabric agent\`.${links}`;
  const rows = nodes.map((node) => [
    node.path,
    node.kind,
    node.state,
    node.principal ?? '-',
    listText(node.addresses.filter((address) => !address.startsWith('__'))),
    listText(node.capabilities.map(shownCapability).filter((name) => name !== '')),
    `${node.queuedMessages} (${node.queuedBytes} B)${node.withheldGrants ? `, ${node.withheldGrants} slowed` : ''}`,
    String(node.openCalls),
  ]);
  const { queues } = sentinel;
  // Sentinels of older versions do not report their bounds.
  const bounds =
    queues === undefined
      ? ''
      : `\n${escapeLine(
          `Queues: ${queues.queuedBytes} B queued, ${queues.socketBytes} B in sockets, of at most ${queues.totalLimitBytes} B (${queues.limitBytes} B a node)`,
        )}`;
  const columns = ['NODE', 'KIND', 'STATE', 'PRINCIPAL', 'ADDRESSES', 'CAPABILITIES', 'QUEUED', 'CALLS'];
  const hasDoors = nodes.some(({ id }) => id.startsWith('door-'));
  const note = hasDoors
    ? '\n\ndoor-...: callers over HTTP. They detach after a minute without a request.'
    : '';
  return `${head}${bounds}${links}\n\n${formatTable(columns, rows)}${note}`;
}
