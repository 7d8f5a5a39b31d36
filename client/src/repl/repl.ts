// The conversation loop a person sits in front of: read a message, show the answer as it streams, until the end. It knows
// neither terminals nor links: input, output and conversations are handed in, so that a pipe, a terminal and a test are
// the same loop. A failed turn is told and forgotten; only the person, or the end of the input, ends the loop.
import { type Clock, type ErrorCode, FabricError, isFabricError, newId } from '@fame-fabric/shared';
import { connectionText } from '../connection-text.ts';
import { type Conversation, isUndecided } from '../conversation.ts';
import { EXIT, explain } from '../exit-codes.ts';
import { inert } from '../inert-text.ts';
import type { Style } from '../style.ts';
import { Answer, type AnswerOptions } from './answer.ts';
import { helpText, readLine } from './commands.ts';
import type { LeftConversations } from './left-conversations.ts';
import type { ReplInput } from './repl-input.ts';
import { toolLine } from './tool-line.ts';

/** What the loop needs of a conversation. */
export type ReplConversation = Pick<
  Conversation,
  'id' | 'address' | 'systemPrompt' | 'start' | 'describe' | 'stream' | 'history' | 'end'
>;

export interface ReplParts {
  input: ReplInput;
  /** Takes answers: stdout. */
  write: (text: string) => void;
  /** Makes a conversation; it is not started yet. */
  converse: (systemPrompt: string | undefined) => ReplConversation;
  /** Remembers the conversations that are left without being ended; absent where nobody comes back for them. */
  left?: Pick<LeftConversations, 'asked' | 'answered' | 'forget'>;
  /** Describes who is attached. */
  listAgents: () => Promise<string>;
  /** Switches the printing of envelopes. */
  trace: { isOn: boolean };
  style: Style;
  clock: Clock;
}

export interface ReplOptions {
  /** A person watches; else answers go to a file or a program. */
  isInteractive: boolean;
  systemPrompt?: string;
  /** An earlier conversation to go on with, and the message in it that has no answer yet. */
  resumed?: { conversation: ReplConversation; open?: { turnId: string; text: string } | undefined };
  /** Shows that an answer is under way; only where a person watches. */
  indicator?: AnswerOptions['indicator'];
}

/** What the loop says better than the table of errors, which speaks to programs. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  CONVERSATION_UNKNOWN: 'This conversation was ended or removed. /new starts another.',
  CALL_TIMEOUT:
    'No answer came in time. FAME_TURN_TIMEOUT_MS sets how long a turn may take; /agents lists who is attached. (CALL_TIMEOUT)',
};

/** How long leaving waits for the agent to hear of it. */
const GOODBYE_MS = 2_000;

export class Repl {
  readonly #parts: ReplParts;
  readonly #options: ReplOptions;
  #conversation: ReplConversation;
  #running: AbortController | undefined;
  #answer: Answer | undefined;
  /** The last message, with the id of its turn where nobody knows yet how that ended. */
  #last: { text: string; turnId?: string } | undefined;
  #isWarned = false;
  #isInterrupted = false;
  #hasFailed = false;
  /** The conversation stays with the agent, to be gone on with. */
  #stays: boolean;
  readonly #left = Promise.withResolvers<void>();

  constructor(parts: ReplParts, options: ReplOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#conversation = options.resumed?.conversation ?? parts.converse(options.systemPrompt);
    // The end of a pipe ends only what it began: the rest is for the next --resume.
    this.#stays = options.resumed !== undefined && !options.isInteractive;
  }

  /**
   * Runs until the input ends. Returns the exit code: 0, 130 when interrupted, and where nobody watches 1 when a turn
   * failed. @throws what starting the first conversation throws, such as {NO_ROUTE}
   */
  async run(): Promise<number> {
    const { input } = this.#parts;
    input.onInterrupt = () => this.#interrupt();
    const begun = this.#conversation.start().then(() => this.#greet());
    await Promise.race([begun, this.#left.promise]); // an agent that does not answer must not keep anybody
    const open = this.#options.resumed?.open;
    if (open && !this.#isInterrupted) await this.#turn(open.text, open.turnId);
    while (!this.#isInterrupted) {
      const text = await input.read();
      if (text === undefined || !(await this.#handle(text))) break;
    }
    if (this.#stays) this.#sayHowToResume();
    else await this.#endConversation();
    if (this.#isInterrupted) return EXIT.interrupted;
    return this.#hasFailed && !this.#options.isInteractive ? EXIT.failure : EXIT.ok;
  }

  #note(text: string): void {
    this.#parts.input.note(`${text}\n`);
  }

  // A note on a line of its own, also in the middle of an answer.
  #aside(text: string): void {
    const write = (): void => this.#note(this.#parts.style.dim(text));
    if (this.#answer) this.#answer.aside(write);
    else write();
  }

  /** The connection to the sentinel is lost, or there again. A running turn tells by itself that it waits. */
  connection(isThere: boolean): void {
    if (isThere || !this.#answer) this.#aside(connectionText(isThere));
  }

  async #greet(): Promise<void> {
    const { style } = this.#parts;
    this.#note(style.dim(await this.#modelLine()));
    if (this.#options.resumed) this.#note(style.dim(await this.#historyText()));
    if (this.#options.isInteractive)
      this.#note(style.dim('Type exit to end, /leave to go on later, /help for more.'));
  }

  #sayHowToResume(): void {
    this.#note(this.#parts.style.dim(`To go on with it: npx fame chat --resume ${this.#conversation.id}`));
  }

  // The first Ctrl-C stops the running turn, or warns; the next one, with nothing entered in between, leaves.
  #interrupt(): void {
    if (this.#isWarned || (!this.#options.isInteractive && !this.#running)) {
      this.#running?.abort(stopped());
      this.#leave();
      return;
    }
    this.#isWarned = true;
    if (this.#running) this.#running.abort(stopped());
    else this.#note(this.#parts.style.dim('Ctrl-C again leaves.'));
    if (!this.#options.isInteractive) this.#leave(); // nobody is there to ask again
  }

  /** The terminal is gone: everything stays as it is, the running turn included. */
  hangUp(): void {
    this.#stays = true;
    this.#leave();
  }

  // Where a person sat in front of it, the conversation can be gone on with.
  #leave(): void {
    this.#isInterrupted = true;
    if (this.#options.isInteractive) this.#stays = true;
    this.#left.resolve();
    this.#parts.input.close();
  }

  /** `false` ends the loop. */
  async #handle(input: string): Promise<boolean> {
    this.#isWarned = false;
    const line = readLine(input);
    if (line.kind === 'message') await this.#turn(line.text);
    else if (line.kind === 'unknown') {
      const hint = line.suggestion ? `Did you mean /${line.suggestion}?` : '/help lists the commands.';
      this.#note(`There is no command /${inert(line.name)}. ${hint}`);
    } else if (line.kind === 'command') {
      if (line.name === 'exit') {
        this.#stays = false;
        return false;
      }
      if (line.name === 'leave') {
        this.#stays = true;
        return false;
      }
      try {
        await this.#command(line.name, line.argument);
      } catch (error) {
        this.#fail(error);
      }
    }
    return true;
  }

  async #command(name: string, argument: string): Promise<void> {
    const { trace, listAgents } = this.#parts;
    if (name === 'help') this.#note(helpText());
    else if (name === 'new') await this.#begin(this.#conversation.systemPrompt);
    else if (name === 'system') {
      if (argument !== '') await this.#begin(argument);
      else
        this.#note(
          this.#conversation.systemPrompt ?? "The agent's own system prompt. /system TEXT sets another.",
        );
    } else if (name === 'model') this.#note(await this.#modelLine());
    else if (name === 'history') this.#note(await this.#historyText());
    else if (name === 'agents') this.#note(await listAgents());
    else if (name === 'retry') {
      if (this.#last === undefined) this.#note('Nothing was asked yet.');
      else await this.#turn(this.#last.text, this.#last.turnId);
    } else if (name === 'trace') {
      if (argument === 'on' || argument === 'off') trace.isOn = argument === 'on';
      else if (argument !== '') this.#note('/trace on, or /trace off.');
      this.#note(`Envelope tracing is ${trace.isOn ? 'on' : 'off'}.`);
    }
  }

  async #begin(systemPrompt: string | undefined): Promise<void> {
    const next = this.#parts.converse(systemPrompt);
    await next.start();
    await this.#endConversation();
    this.#stays = false;
    this.#conversation = next;
    this.#last = undefined;
    this.#note(this.#parts.style.dim('A new conversation.'));
  }

  async #modelLine(): Promise<string> {
    const { model } = await this.#conversation.describe();
    if (typeof model !== 'string') return 'The agent does not say which model answers.';
    if (model !== 'offline') return `Model: ${inert(model)}`;
    return 'Model: offline, a small built-in one. For a real one set OPENAI_API_KEY and start the agent again.';
  }

  async #historyText(): Promise<string> {
    const messages = await this.#conversation.history();
    if (messages.length === 0) return 'Nothing was said yet.';
    return messages.map(({ role, text }) => `${role === 'user' ? 'Q>' : 'A>'} ${inert(text)}`).join('\n');
  }

  async #turn(text: string, turnId = newId()): Promise<void> {
    const { write, style, left } = this.#parts;
    const conversation = this.#conversation;
    const { indicator, isInteractive } = this.#options;
    const running = new AbortController();
    this.#running = running;
    this.#last = { text };
    const isHeld = this.#parts.trace.isOn && isInteractive;
    const answer = new Answer({ write, style, isHeld, ...(indicator && !isHeld ? { indicator } : {}) });
    this.#answer = answer;
    left?.asked(conversation.id, conversation.address, { turnId, text });
    const onAway = (who: 'agent' | 'sentinel'): void =>
      this.#aside(who === 'sentinel' ? connectionText(false) : 'The agent is away. Waiting for it...');
    try {
      for await (const event of conversation.stream(text, { turnId, onAway, signal: running.signal })) {
        if (event.type === 'text') answer.add(event.text);
        else if (event.type === 'restart') answer.restart(event.keep);
        else if (event.type === 'tool_call' && isInteractive) this.#aside(`  ${toolLine(event)}`);
        else if (event.type === 'tool_result' && isInteractive && event.ok === false)
          this.#aside(`  [${inert(event.name ?? 'a tool')} failed]`);
        else if (event.type === 'done') answer.end(event.text);
      }
      left?.answered(conversation.id);
    } catch (error) {
      answer.abandon();
      // What the end of the connection cut off goes on at the agent, and is asked for by /retry, or when somebody comes back.
      if (isUndecided(error)) this.#last = { text, turnId };
      else left?.answered(conversation.id);
      if (running.signal.aborted) this.#note(style.dim('Stopped.'));
      else this.#fail(error);
    } finally {
      this.#running = this.#answer = undefined;
    }
  }

  #fail(error: unknown): void {
    this.#hasFailed = true;
    const { style } = this.#parts;
    const hint = isFabricError(error) ? (HINTS[error.code] ?? explain(error)) : explain(error);
    const retry =
      this.#options.isInteractive && isFabricError(error) && error.retryable ? ' /retry asks again.' : '';
    this.#note(`${style.red('!')} ${inert(hint)}${retry}`);
  }

  async #endConversation(): Promise<void> {
    this.#parts.left?.forget(this.#conversation.id);
    try {
      await this.#conversation.end({ timeoutMs: GOODBYE_MS });
    } catch (error) {
      // The agent is gone, and with it the conversation; leaving is not held up by it.
      if (!isFabricError(error)) throw error;
    }
  }
}

const stopped = (): FabricError => new FabricError('CALL_CANCELLED', 'Stopped by Ctrl-C');
