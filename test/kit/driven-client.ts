// A client process that a test drives: one JSON command a line on its standard input, one JSON answer a line on its standard output.
import type { Proc } from './processes.ts';
import { WAIT_LIMIT_MS } from './wait-limit.ts';

export interface Answer {
  seq: number;
  ok: boolean;
  result?: unknown;
  error?: string;
  ms: number;
}

export class DrivenClient {
  readonly proc: Proc;
  #seq = 0;
  #waiting = new Map<number, (answer: Answer) => void>();

  constructor(proc: Proc) {
    this.proc = proc;
    proc.onLine((line) => {
      if (!line.startsWith('{"seq":')) return;
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.seq)?.(answer);
      this.#waiting.delete(answer.seq);
    });
  }

  /** Waits until the client is attached. */
  async ready(timeoutMs?: number): Promise<this> {
    await this.proc.waitFor(/"event": ?"ready"/, timeoutMs);
    return this;
  }

  /** Sends a command and waits for its answer, which may be an error. */
  async ask(verb: string, command: Record<string, unknown>, timeoutMs = WAIT_LIMIT_MS): Promise<Answer> {
    const seq = ++this.#seq;
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(seq, resolve));
    this.proc.write(JSON.stringify({ seq, verb, ...command }));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(this.proc.failure(`did not answer ${verb} within ${timeoutMs} ms`)),
        timeoutMs,
      );
    });
    const gone = this.proc.exited.then(() => {
      throw this.proc.failure(`exited before it answered ${verb}`);
    });
    try {
      return await Promise.race([answer, late, gone]);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(seq);
    }
  }

  /** The result of a command that must succeed. */
  async do<T = unknown>(verb: string, command: Record<string, unknown>, timeoutMs?: number): Promise<T> {
    const answer = await this.ask(verb, command, timeoutMs);
    if (!answer.ok) throw new Error(`${verb} failed: ${answer.error}`);
    return answer.result as T;
  }

  stop(): Promise<unknown> {
    return this.proc.stop('SIGTERM', 2_000);
  }
}
