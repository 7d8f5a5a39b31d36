// Draws the edges of a workflow as a Mermaid flowchart: jobs as boxes, handlers with round ends, conditions on the arrows.
import { armsOf } from './edges.ts';
import type { WorkRef } from './task-node.ts';

/** Quotes a text and escapes Mermaid's special characters as character codes. */
const quoted = (text: string): string => {
  const safe = text
    .replace(/[\u0000-\u001f]+/g, ' ')
    // `direction LR` is read as a statement, also between quotes.
    .replace(/[#%"<>&;`\\]|d(?=irection\s+(?:TB|TD|BT|LR|RL))/gi, (sign) => `#${sign.charCodeAt(0)};`);
  return `"${safe === '' ? ' ' : safe}"`;
};

/** Draws all edges that are reachable from `entry`. */
export function workflowToMermaid(entry: WorkRef): string {
  const ids = new Map<WorkRef, string>();
  const nodes: string[] = [];
  const arrows: string[] = [];
  const idOf = (ref: WorkRef): string => {
    const known = ids.get(ref);
    if (known) return known;
    const id = `n${ids.size + 1}`;
    ids.set(ref, id);
    nodes.push(ref.kind === 'job' ? `  ${id}[${quoted(ref.name)}]` : `  ${id}([${quoted(ref.name)}])`);
    return id;
  };
  idOf(entry);
  // A map iterates in insertion order, entries added meanwhile included.
  for (const [ref, id] of ids) {
    for (const { to, when, isJoin } of armsOf(ref)) {
      const label = when === 'always' ? '' : `|${quoted(when === 'otherwise' ? when : when.result)}|`;
      const arrow = isJoin ? '==>' : '-->';
      arrows.push(`  ${id} ${arrow}${label} ${idOf(to)}`);
    }
  }
  return ['flowchart TD', ...nodes, ...arrows, ''].join('\n');
}
