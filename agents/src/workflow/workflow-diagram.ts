// The edges of a workflow as a Mermaid flowchart: jobs as boxes, handlers with round ends, conditions on the arrows.
import type { NodeRef } from './define.ts';
import { armsOf } from './edges.ts';

/** Texts stand in quotes; what Mermaid would read in them is written as its character codes. */
const quoted = (text: string): string => {
  const safe = text
    .replace(/[\u0000-\u001f]+/g, ' ')
    .replace(/[#%"<>&;`\\]/g, (sign) => `#${sign.charCodeAt(0)};`);
  return `"${safe === '' ? ' ' : safe}"`;
};

/** The graph of edges from `entry` on. */
export function workflowToMermaid(entry: NodeRef): string {
  const ids = new Map<NodeRef, string>();
  const nodes: string[] = [];
  const arrows: string[] = [];
  const idOf = (ref: NodeRef): string => {
    const known = ids.get(ref);
    if (known) return known;
    const id = `n${ids.size + 1}`;
    ids.set(ref, id);
    nodes.push(ref.kind === 'job' ? `  ${id}[${quoted(ref.name)}]` : `  ${id}([${quoted(ref.name)}])`);
    return id;
  };
  idOf(entry);
  // A map is walked in the order of insertion, also what is added meanwhile.
  for (const [ref, id] of ids) {
    for (const { to, label, isJoin } of armsOf(ref)) {
      const text = label === undefined ? 'otherwise' : label;
      const arrow = isJoin ? '==>' : '-->';
      arrows.push(`  ${id} ${arrow}${text === null ? '' : `|${quoted(text)}|`} ${idOf(to)}`);
    }
  }
  return ['flowchart TD', ...nodes, ...arrows, ''].join('\n');
}
