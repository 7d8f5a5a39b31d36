// The queue of a tree's jobs: one body at a time, in the order in which they were added. Each job starts in its own microtask, so
// that the code that added it can still register callbacks.
import type { TreeNode } from './tree-node.ts';

export class JobQueue {
  readonly #start: (job: TreeNode) => void;
  #jobs: TreeNode[] = [];
  /** The job whose body the queue waits for. */
  #holder: TreeNode | undefined;
  #isScheduled = false;

  constructor(start: (job: TreeNode) => void) {
    this.#start = start;
  }

  add(job: TreeNode): void {
    this.#jobs.push(job);
    this.#schedule();
  }

  /** Ends the wait for this job's body. No effect unless the queue waits for it. */
  release(job: TreeNode): void {
    if (this.#holder !== job) return;
    this.#holder = undefined;
    this.#schedule();
  }

  clear(): void {
    this.#jobs = [];
  }

  #schedule(): void {
    if (this.#isScheduled || this.#holder) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#startNext();
    });
  }

  #startNext(): void {
    if (this.#holder) return;
    let job = this.#jobs.shift();
    // Skip jobs that were cancelled before they started.
    while (job?.bodyDone) job = this.#jobs.shift();
    if (!job) return;
    this.#holder = job;
    this.#start(job);
  }
}
