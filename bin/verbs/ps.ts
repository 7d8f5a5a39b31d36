// `fame ps`: who is attached to the sentinel, what they serve, what waits for them.

import { inert } from '@fame-fabric/client/inert-text';
import { readClientConfig } from '../config.ts';
import { getNodes, type NodeList } from '../sentinel-http.ts';
import { type VerbInput, writeJson, writeOut } from '../verb.ts';

export async function run({ flags, env }: VerbInput): Promise<number> {
  const list = await getNodes(readClientConfig(env).httpUrl);
  if (flags.json) writeJson(list);
  else writeOut(`${describeNodes(list)}\n`);
  return 0;
}

/** The list as a table. */
export function describeNodes({ sentinel, nodes }: NodeList): string {
  const attached = nodes.filter(({ state }) => state === 'attached').length;
  const head = `Sentinel ${sentinel.id} (${sentinel.version}), up ${duration(sentinel.uptimeMs)}, ${attached} attached`;
  if (nodes.length === 0) return `${head}. Agents attach with \`npx fame agent\`.`;
  const rows = nodes.map((node) => [
    node.path,
    node.kind,
    node.state,
    node.addresses.filter((address) => !address.startsWith('__')).join(', ') || '-',
    node.capabilities.filter((name) => !name.startsWith('fame.')).join(', ') || '-',
    `${node.queuedMessages} (${node.queuedBytes} B)`,
    String(node.openCalls),
  ]);
  return `${head}\n\n${table(['NODE', 'KIND', 'STATE', 'ADDRESSES', 'CAPABILITIES', 'QUEUED', 'CALLS'], rows)}`;
}

/** Columns as wide as their widest cell; what others named is made inert. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(inert));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}
