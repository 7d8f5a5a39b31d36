// Short names of nodes, for screens that show paths of messages.
import { client } from './connection.ts';
import { fabricView } from './nodes.ts';

/** Returns "this page", the first address of the node at `path`, or the last segment of the path. Needs `useSource(nodesSource)`. */
export function nameOfPath(path: string): string {
  if (path === client.value?.path) return 'this page';
  return fabricView.value?.nodes.get(path)?.addresses[0] ?? path.slice(path.lastIndexOf('/') + 1);
}
