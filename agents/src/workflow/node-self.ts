// What a body is given: its own node and the ways to add work below it.
import type { Commander } from './commander.ts';
import type { Branches, HandlerCall, JobRef, Joined, NodeHandle, NodeRef, Self } from './define.ts';
import { type ForkBranches, Handle, Node } from './node.ts';
import type { TaskNode } from './task-node.ts';

export class NodeSelf implements Self {
  readonly node: Node;

  constructor(node: Node) {
    this.node = node;
  }

  get signal(): AbortSignal {
    return this.node.signal;
  }

  get commander(): Commander {
    return this.node.run.commander;
  }

  get data(): unknown {
    return this.node.data;
  }

  set data(data: unknown) {
    this.node.data = data;
  }

  putJob<R>(job: JobRef<R>, options: { parent?: TaskNode } = {}): NodeHandle<R> {
    return this.#add(job, options.parent);
  }

  call<R>(handler: HandlerCall<R>, options: { parent?: TaskNode } = {}): NodeHandle<R> {
    return this.#add(handler, options.parent);
  }

  async fork<B extends Branches>(branches: B): Promise<Joined<B>> {
    const { node } = this;
    const { run } = node;
    const started: [string, Node][] = [];
    let first: { error: unknown } | undefined;
    const suppress = (error: unknown): void => void node.suppressed.push(error);
    const fork: ForkBranches = {
      failed(error, reason) {
        if (first) suppress(error);
        else if (!node.isolates) {
          first = { error };
          for (const [, branch] of started) run.cancel(branch, reason);
        }
      },
      also: suppress,
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

  #add<R>(ref: NodeRef, parent: TaskNode | undefined): NodeHandle<R> {
    if (parent !== undefined && !(parent instanceof Node))
      throw new TypeError('parent is not a node of a commander');
    return new Handle<R>(this.node.run.add(parent ?? this.node, ref));
  }
}
