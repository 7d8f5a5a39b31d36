// Snapshot of a task tree as text, for logs and terminals.
import type { TaskNode } from './task-node.ts';

const elapsed = (ms: number): string =>
  ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;

const line = (node: TaskNode): string =>
  node.kind === 'commander'
    ? `commander (${node.state}, ${elapsed(node.elapsedMs)})`
    : `${node.id} ${node.kind} ${node.name} (${node.state}, ${elapsed(node.elapsedMs)})`;

/** Prints the node and all below it, one line each: id, kind, name, state and elapsed time. */
export function renderTree(node: TaskNode): string {
  const lines: string[] = [];
  const draw = (at: TaskNode, first: string, rest: string): void => {
    lines.push(first + line(at));
    at.children.forEach((child, n) => {
      const isLast = n === at.children.length - 1;
      draw(child, `${rest}${isLast ? '└─ ' : '├─ '}`, `${rest}${isLast ? '   ' : '│  '}`);
    });
  };
  draw(node, '', '');
  return lines.join('\n');
}
