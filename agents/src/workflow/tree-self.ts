// Interface of the tree for a body: its own node, and the methods that add work below it.
import { Handle } from './handle.ts';
import type {
  Branches,
  HandlerCall,
  JobRef,
  Joined,
  Self,
  TaskNode,
  TreeCommander,
  WorkHandle,
  WorkRef,
} from './task-node.ts';
import { type Fork, TreeNode } from './tree-node.ts';

export class TreeSelf implements Self {
  readonly node: TreeNode;

  constructor(node: TreeNode) {
    this.node = node;
  }

  get signal(): AbortSignal {
    return this.node.signal;
  }

  get commander(): TreeCommander {
    return this.node.run.commander;
  }

  get data(): unknown {
    return this.node.data;
  }

  set data(data: unknown) {
    this.node.data = data;
  }

  putJob<R>(job: JobRef<R>, options: { parent?: TaskNode | undefined } = {}): WorkHandle<R> {
    return this.#add(job, options.parent);
  }

  call<R>(handler: HandlerCall<R>, options: { parent?: TaskNode | undefined } = {}): WorkHandle<R> {
    return this.#add(handler, options.parent);
  }

  async fork<B extends Branches>(branches: B): Promise<Joined<B>> {
    const { node } = this;
    const { run } = node;
    const started: [string, TreeNode][] = [];
    let first: { error: unknown } | undefined;
    const suppress = (error: unknown): void => void node.suppressed.push(error);
    const fork: Fork = {
      branchFailed(error, reason) {
        if (first) suppress(error);
        else if (!node.isolates) {
          first = { error };
          for (const [, branch] of started) run.cancel(branch, reason);
        }
      },
      suppress,
    };
    for (const [key, call] of Object.entries(branches)) {
      const branch = run.add(node, call);
      branch.fork = fork;
      started.push([key, branch]);
    }
    const values: [string, unknown][] = [];
    for (const [key, branch] of started) {
      const outcome = await branch.settled;
      if (outcome.status === 'completed') values.push([key, outcome.result]);
      else if (node.isolates) values.push([key, undefined]);
      else first ??= { error: outcome.status === 'failed' ? outcome.error : outcome.reason };
    }
    if (first) throw first.error;
    return Object.fromEntries(values) as Joined<B>;
  }

  exitCommander(result?: unknown): void {
    this.commander.requestExit(result);
  }

  #add<R>(ref: WorkRef, parent: TaskNode | undefined): WorkHandle<R> {
    if (parent !== undefined && !(parent instanceof TreeNode))
      throw new TypeError('options.parent must be a node of a commander, such as commander.root');
    return new Handle<R>(this.node.run.add(parent ?? this.node, ref));
  }
}
