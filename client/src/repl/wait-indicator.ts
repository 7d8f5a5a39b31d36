// The status that a terminal shows while no text of an answer arrives: moving dots and the seconds, that the model thinks, or when a
// request to the model server is repeated. A timer draws it. It is erased before anything else is written.
import type { Clock, Timer } from '@fame-fabric/shared';
import { cutText, escapeLine, type Style } from '@fame-fabric/shared/internal';
import type { WaitingEvent } from '../turn-event.ts';

export interface WaitIndicatorOptions {
  write: (text: string) => void;
  clock: Clock;
  style: Style;
  /** Width of the terminal. */
  columns: () => number;
}

const FRAMES = ['·  ', '·· ', '···', ' ··', '  ·', '   '];
const FRAME_MS = 160;
/** Wait after which the indicator shows the time. */
const PATIENCE_MS = 3_000;

const REASONS: Readonly<Record<string, string>> = {
  rate_limited: 'rate limited',
  server_failed: 'the model server failed',
  timed_out: 'the model server timed out',
  unreachable: 'no connection to the model server',
};

/** The status of one answer. */
export class WaitIndicator {
  readonly #options: WaitIndicatorOptions;
  #ticker: Timer | undefined;
  /** The status on the screen. */
  #shown = '';
  /** The text that the status stands behind; `undefined` if it has a row of its own. */
  #behind: { readonly column: number } | undefined;
  #frame = 0;
  #isThinking = false;
  #retry: { readonly event: WaitingEvent; readonly at: number } | undefined;

  constructor(options: WaitIndicatorOptions) {
    this.#options = options;
  }

  /** Starts to show the status, with the time since `since`: in the empty row of the cursor, or behind a text. */
  start(since: number, behind?: { readonly column: number }): void {
    if (this.#ticker) return;
    this.#behind = behind;
    this.#frame = 0;
    this.#ticker = this.#options.clock.every(FRAME_MS, () => this.#draw(this.#text(since)));
  }

  /** Erases the status and stops its timer. */
  stop(): void {
    this.#ticker?.stop();
    this.#ticker = undefined;
    this.#draw('');
  }

  /** Shows from the next frame on that the model thinks. */
  think(): void {
    this.#isThinking = true;
    this.#retry = undefined;
  }

  /** Shows from the next frame on when the request to the model server is repeated. */
  wait(event: WaitingEvent): void {
    this.#isThinking = false;
    this.#retry = { event, at: this.#options.clock.monotonic() + event.retry_in_ms };
  }

  /** Shows the dots again. */
  reset(): void {
    this.#isThinking = false;
    this.#retry = undefined;
  }

  #text(since: number): string {
    const now = this.#options.clock.monotonic();
    if (this.#retry && this.#retry.at > now) return retryText(this.#retry.event, this.#retry.at - now);
    const waitedMs = now - since;
    const time = `${Math.floor(waitedMs / 1_000)} s (Ctrl-C stops)`;
    if (this.#isThinking) return `thinking ${time}`;
    const frame = FRAMES[this.#frame++ % FRAMES.length]!;
    if (waitedMs >= PATIENCE_MS) return `${frame} ${time}`;
    return this.#behind ? '' : frame;
  }

  #draw(text: string): void {
    const { write, style, columns } = this.#options;
    const room = columns() - 1;
    const shown = this.#shown;
    // Behind a text the status needs room in its row.
    if (this.#behind) this.#shown = text !== '' && this.#behind.column + text.length < room ? ` ${text}` : '';
    else this.#shown = cutText(text, room, '');
    if (this.#shown === shown) return;
    const painted = this.#shown === '' ? '' : style.dim(this.#shown);
    if (!this.#behind) write(`\r${painted}${this.#shown.length < shown.length ? '\u001b[K' : ''}`);
    else write(`${shown === '' ? '' : `\u001b[${shown.length}D\u001b[K`}${painted}`);
  }
}

const retryText = ({ reason, attempt, attempts }: WaitingEvent, leftMs: number): string =>
  escapeLine(
    `${REASONS[reason] ?? 'waiting'}, again in ${Math.ceil(leftMs / 1_000)} s (${attempt}/${attempts})`,
  );
