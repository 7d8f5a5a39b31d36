// The audit log (FAME_AUDIT_LOG): one line of JSON for each refusal, each attach and each change of the policy. Lines are buffered and
// written in the background, so that a slow disk never delays the router. Lines are dropped if the buffer is full
// or one kind exceeds its rate; the next line has their number. Lines have ids, addresses and rules, never credentials or payloads.
import { type FileHandle, open } from 'node:fs/promises';
import type { Clock, Logger } from '@fame-fabric/shared';
import { cutText, errorMessage, printableJson } from '@fame-fabric/shared/internal';

/** Limit of buffered lines. */
const MAX_BUFFERED = 4_096;
/** Lines in one second. */
const MAX_PER_SECOND = 1_000;
const WINDOW_MS = 1_000;
const MAX_CHARS = 256;

export interface AuditEvent {
  readonly outcome: 'allowed' | 'refused' | 'ended' | 'changed';
  /** Id of the principal. */
  readonly principal?: string | undefined;
  readonly action: string;
  readonly address?: string | undefined;
  /** The rule that decided. */
  readonly rule?: string | undefined;
  /** Path of the node. */
  readonly path?: string | undefined;
  /** IP address of the connection. */
  readonly remote?: string | undefined;
}

/** Receives events for the audit log. */
export interface Audit {
  record(event: AuditEvent): void;
}

export const NO_AUDIT: Audit = Object.freeze({ record() {} });

export interface AuditLogDeps {
  clock: Clock;
  log: Logger;
}

export class AuditLog implements Audit {
  readonly #path: string;
  readonly #deps: AuditLogDeps;
  #file: FileHandle | undefined;
  #mustReopen = false;
  #lines: string[] = [];
  #lost = 0;
  #writing: Promise<void> | undefined;
  #hasFailed = false;
  #windowFrom = Number.NEGATIVE_INFINITY;
  #inWindow = 0;

  private constructor(path: string, deps: AuditLogDeps, file: FileHandle) {
    this.#path = path;
    this.#deps = deps;
    this.#file = file;
  }

  /** Opens the file for appending, with mode 0600 if it is new. @throws the error of the file system */
  static async open(path: string, deps: AuditLogDeps): Promise<AuditLog> {
    return new AuditLog(path, deps, await open(path, 'a', 0o600));
  }

  record(event: AuditEvent): void {
    const { clock } = this.#deps;
    const now = clock.monotonic();
    if (now - this.#windowFrom >= WINDOW_MS) {
      this.#windowFrom = now;
      this.#inWindow = 0;
    }
    if (++this.#inWindow > MAX_PER_SECOND || this.#lines.length >= MAX_BUFFERED) {
      this.#lost++;
      return;
    }
    const fields = Object.entries<string | undefined>({ ...event }).map(([key, value]) => [
      key,
      value === undefined ? undefined : cutText(value, MAX_CHARS),
    ]);
    const lost = this.#lost === 0 ? {} : { lost: this.#lost };
    this.#lost = 0;
    const time = new Date(clock.now()).toISOString();
    this.#lines.push(`${printableJson({ time, ...Object.fromEntries(fields), ...lost })}\n`);
    this.#writing ??= this.#write();
  }

  /** Opens the file again before the next line, after `logrotate` moved it. */
  reopen(): void {
    this.#mustReopen = true;
    this.#writing ??= this.#write();
  }

  /** Writes the buffered lines and closes the file. */
  async close(): Promise<void> {
    if (this.#lost > 0) {
      this.#windowFrom = Number.NEGATIVE_INFINITY;
      this.record({ outcome: 'changed', action: 'Close' });
    }
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
  }

  // Never rejects: lines that cannot be written are counted.
  async #write(): Promise<void> {
    // The lines of one turn of the event loop are written together.
    await Promise.resolve();
    while (this.#lines.length > 0 || this.#mustReopen) {
      const lines = this.#lines;
      this.#lines = [];
      try {
        if (this.#mustReopen) {
          this.#mustReopen = false;
          await this.#file?.close();
          this.#file = undefined;
        }
        this.#file ??= await open(this.#path, 'a', 0o600);
        if (lines.length > 0) await this.#file.appendFile(lines.join(''));
        this.#hasFailed = false;
      } catch (error) {
        this.#lost += lines.length;
        if (!this.#hasFailed) {
          this.#deps.log.error('cannot write the audit log', {
            file: this.#path,
            error: errorMessage(error),
          });
        }
        this.#hasFailed = true;
      }
    }
    this.#writing = undefined;
  }
}
