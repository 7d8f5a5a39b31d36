// Programs of the benchmark that run in processes of their own and answer commands over IPC.
import { type ChildProcess, fork } from 'node:child_process';

interface Request<Command> {
  readonly id: number;
  readonly command: Command;
}
interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** A process that runs `program`, which calls `answerCommands`. */
export class Child<Command> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #nextId = 0;

  constructor(program: string, args: readonly string[] = []) {
    this.#child = fork(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', ({ id, result, error }: Answer) => {
      const waiter = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiter?.resolve(result as never);
      else waiter?.reject(new Error(error));
    });
    this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`${program} exited: ${signal ?? code}`));
      }
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Runs a command and resolves to its result. */
  request<T = void>(command: Command): Promise<T> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.set(id, { resolve: resolve as never, reject });
    this.#child.send({ id, command } satisfies Request<Command>);
    return promise;
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Called in the child process: answers the commands of the parent, and exits with it. */
export function answerCommands<Command>(run: (command: Command) => unknown): void {
  process.on('message', async ({ id, command }: Request<Command>) => {
    let answer: Answer;
    try {
      answer = { id, result: await run(command) };
    } catch (error) {
      answer = { id, error: String(error) };
    }
    process.send?.(answer);
  });
  process.on('disconnect', () => process.exit(0));
}
