// Runs bodies and stage callbacks in the context of their node, which is how `exit()` from inside the tree is recognized.
import { AsyncLocalStorage } from 'node:async_hooks';
import { isThenable } from '@fame-fabric/shared/internal';
import type { Stage, StageCallback, StageEvent } from './task-node.ts';
import type { TreeNode } from './tree-node.ts';

/** The node whose body or callback the running code belongs to. */
const current = new AsyncLocalStorage<TreeNode>();

/** Runs `fn` as code of `node`. */
export const runInside = <A extends unknown[], R>(node: TreeNode, fn: (...args: A) => R, ...args: A): R =>
  current.run(node, fn, ...args);

/** True if the calling code belongs to `node` or to a node below it. */
export function isInside(node: TreeNode): boolean {
  for (let at: TreeNode | null | undefined = current.getStore(); at; at = at.parent)
    if (at === node) return true;
  return false;
}

/** Runs the callbacks of a stage one after the other, synchronously if none of them returns a promise. */
export function runStage(node: TreeNode, stage: Stage, then: (thrown?: { error: unknown }) => void): void {
  const list = node.callbacks(stage);
  if (!list) {
    then();
    return;
  }
  const step = (at: number): void => {
    const fn = list[at];
    if (!fn) {
      then();
      return;
    }
    runCallback(
      node,
      stage,
      fn,
      () => step(at + 1),
      (error) => then({ error }),
    );
  };
  step(0);
}

/** Runs one callback; `next` or `failed` follows, synchronously unless it returns a promise. */
export function runCallback(
  node: TreeNode,
  stage: Stage,
  fn: StageCallback,
  next: () => void,
  failed: (error: unknown) => void,
): void {
  const event: StageEvent = { stage, node, commander: node.run.commander };
  if (node.state === 'completed') event.result = node.result;
  if (node.isFailing || node.state === 'failed') event.error = node.error;
  if (node.cancel) event.reason = node.cancel.reason;
  let done: unknown;
  try {
    done = runInside(node, fn, event);
  } catch (error) {
    failed(error);
    return;
  }
  if (isThenable(done)) Promise.resolve(done).then(next, failed);
  else next();
}
