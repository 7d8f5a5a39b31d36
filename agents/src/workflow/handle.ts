// Makes a node awaitable. If no code awaits it, its error propagates up the tree and never becomes an unhandled rejection.
import type { TaskNode, WorkHandle } from './task-node.ts';
import type { TreeNode } from './tree-node.ts';

export class Handle<R> implements WorkHandle<R> {
  readonly node: TaskNode<R>;
  readonly #node: TreeNode;

  constructor(node: TreeNode) {
    this.#node = node;
    this.node = node as TaskNode<R>;
  }

  // biome-ignore lint/suspicious/noThenProperty: a handle exists to be awaited.
  then<A = R, B = never>(
    onValue?: ((value: R) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#node.isAwaited = true;
    const value = this.#node.settled.then((outcome) => {
      if (outcome.status === 'completed') return outcome.result as R;
      throw outcome.status === 'failed' ? outcome.error : outcome.reason;
    });
    const result = value.then(onValue, onError);
    if (!onError) result.catch(() => {});
    return result;
  }
}
