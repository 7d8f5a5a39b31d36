// The conversation loop of the prompt: reads a message, shows the answer as it streams, and repeats. Input, output and
// conversations are passed in, so that a terminal, a pipe and a test run the same loop. After a failed turn the loop reports
// the error and continues; only the user or the end of the input ends it.
import { type Clock, FabricError, isFabricError, newId } from '@fame-fabric/shared';
import { EXIT, escapeLine, type Style } from '@fame-fabric/shared/internal';
import type { Conversation } from '../conversation.ts';
import { isUndecided, type TurnEvent } from '../turn-event.ts';
import { Answer, type AnswerOptions } from './answer.ts';
import { ApprovalQuestions } from './approvals.ts';
import { type CommandName, helpText, parseLine } from './commands.ts';
import { connectionText } from './connection-text.ts';
import type { ReplInput } from './repl-input.ts';
import type { OpenTurn, SavedConversations } from './saved-conversations.ts';
import { failureText, historyText, modelText, toolCallText, toolFailureText } from './texts.ts';

/** The part of a conversation that the loop uses. */
export type ReplConversation = Pick<
  Conversation,
  'id' | 'address' | 'systemPrompt' | 'start' | 'describe' | 'stream' | 'answerApproval' | 'history' | 'end'
>;

export interface ReplDeps {
  input: ReplInput;
  /** Receives answers: stdout. */
  write: (text: string) => void;
  /** Creates a conversation without starting it. */
  newConversation: (systemPrompt: string | undefined) => ReplConversation;
  /** Keeps conversations that the user left without ending them. @default none are kept */
  saved?: Pick<SavedConversations, 'messageSent' | 'messageSettled' | 'remove'> | undefined;
  /** Describes the attached nodes. */
  listAgents: () => Promise<string>;
  /** The switch of envelope tracing. */
  trace: { isOn: boolean };
  style: Style;
  clock: Clock;
}

export interface ReplOptions {
  /** True on a terminal; otherwise answers go to a file or a program. */
  isInteractive: boolean;
  systemPrompt?: string | undefined;
  /** A conversation to continue, and its message without an answer. */
  resumed?: { conversation: ReplConversation; open?: OpenTurn | undefined } | undefined;
  /** Output of the waiting indicator. */
  indicator?: AnswerOptions['indicator'];
}

/** The running turn and its output. */
interface RunningTurn {
  readonly controller: AbortController;
  readonly answer: Answer;
  readonly approvals: ApprovalQuestions;
}

/** Longest time to wait for the agent to end the conversation. */
const END_TIMEOUT_MS = 2_000;

export class Repl {
  readonly #deps: ReplDeps;
  readonly #options: ReplOptions;
  readonly #left = Promise.withResolvers<void>();
  #conversation: ReplConversation;
  #turn: RunningTurn | undefined;
  /** The last message, with its turn id while the outcome of that turn is unknown. */
  #lastMessage: { text: string; turnId?: string } | undefined;
  /** True if the agent keeps the conversation after this program ends. */
  #isKept: boolean;
  /** True if Ctrl-C was pressed once since the last input. */
  #isWarned = false;
  #isInterrupted = false;
  #hasFailed = false;

  constructor(deps: ReplDeps, options: ReplOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#conversation = options.resumed?.conversation ?? deps.newConversation(options.systemPrompt);
    // The end of a pipe ends the conversation only if the pipe started it.
    this.#isKept = options.resumed !== undefined && !options.isInteractive;
  }

  /**
   * Runs until the input ends. Returns the exit code: 0; 130 if interrupted; 1 if a turn failed and the prompt is not
   * interactive.
   * @throws the error of starting the first conversation, such as {NO_ROUTE}
   */
  async run(): Promise<number> {
    const { input } = this.#deps;
    const { isInteractive, resumed } = this.#options;
    input.onInterrupt = () => this.#interrupt();
    const started = this.#conversation.start().then(() => this.#showBanner());
    await Promise.race([started, this.#left.promise]); // the user may leave before a slow agent answers
    if (resumed?.open && !this.#isInterrupted) await this.#runTurn(resumed.open.text, resumed.open.turnId);
    while (!this.#isInterrupted) {
      const text = await input.read();
      if (text === undefined || !(await this.#handle(text))) break;
    }
    if (this.#isKept) this.#dimNote(`To continue it: npx fame chat --resume ${this.#conversation.id}`);
    else await this.#endConversation();
    if (this.#isInterrupted) return EXIT.interrupted;
    return this.#hasFailed && !isInteractive ? EXIT.failure : EXIT.ok;
  }

  /** Reports a lost or restored connection to the sentinel. A running turn reports a loss itself. */
  showConnection(isConnected: boolean): void {
    if (isConnected || !this.#turn) this.#noteBesideAnswer(connectionText(isConnected));
  }

  /** Leaves because the terminal is gone. The agent keeps the conversation, and a running turn continues. */
  hangUp(): void {
    this.#isKept = true;
    this.#leave();
  }

  // The first Ctrl-C stops the running turn, or warns. A second one without input in between leaves.
  #interrupt(): void {
    const { isInteractive } = this.#options;
    if (this.#isWarned || (!isInteractive && !this.#turn)) {
      this.#turn?.controller.abort(stopped());
      this.#leave();
      return;
    }
    this.#isWarned = true;
    if (this.#turn) this.#turn.controller.abort(stopped());
    else this.#dimNote('Press Ctrl-C again to leave.');
    if (!isInteractive) this.#leave(); // no further input can be expected
  }

  // On a terminal the user can continue the conversation later.
  #leave(): void {
    this.#isInterrupted = true;
    if (this.#options.isInteractive) this.#isKept = true;
    this.#left.resolve();
    this.#deps.input.close();
  }

  /** Handles a line of input. Returns false if the loop must end. */
  async #handle(input: string): Promise<boolean> {
    this.#isWarned = false;
    const line = parseLine(input);
    if (line.kind === 'message') await this.#runTurn(line.text);
    if (line.kind === 'unknown') {
      const hint = line.suggestion ? `Did you mean /${line.suggestion}?` : '/help lists the commands.';
      this.#note(escapeLine(`There is no command /${line.name}. ${hint}`));
    }
    if (line.kind !== 'command') return true;
    if (line.name === 'exit' || line.name === 'leave') {
      this.#isKept = line.name === 'leave';
      return false;
    }
    try {
      await this.#runCommand(line.name, line.argument);
    } catch (error) {
      this.#fail(error);
    }
    return true;
  }

  async #runCommand(name: Exclude<CommandName, 'exit' | 'leave'>, argument: string): Promise<void> {
    const { systemPrompt } = this.#conversation;
    switch (name) {
      case 'help':
        return this.#note(helpText());
      case 'new':
        return this.#startAnew(systemPrompt);
      case 'system':
        if (argument !== '') return this.#startAnew(argument);
        return this.#note(systemPrompt ?? "The agent's own system prompt. /system TEXT sets another.");
      case 'model':
        return this.#note(modelText(await this.#conversation.describe()));
      case 'history':
        return this.#note(historyText(await this.#conversation.history()));
      case 'agents':
        return this.#note(await this.#deps.listAgents());
      case 'retry':
        if (this.#lastMessage === undefined) return this.#note('There is no message to send again.');
        return this.#runTurn(this.#lastMessage.text, this.#lastMessage.turnId);
      case 'trace':
        return this.#setTrace(argument);
    }
  }

  #setTrace(argument: string): void {
    const { trace } = this.#deps;
    if (argument === 'on' || argument === 'off') trace.isOn = argument === 'on';
    else if (argument !== '') this.#note('Use /trace on or /trace off.');
    this.#note(`Envelope tracing is ${trace.isOn ? 'on' : 'off'}.`);
  }

  async #startAnew(systemPrompt: string | undefined): Promise<void> {
    const next = this.#deps.newConversation(systemPrompt);
    await next.start();
    await this.#endConversation();
    this.#isKept = false;
    this.#conversation = next;
    this.#lastMessage = undefined;
    this.#dimNote('Started a new conversation.');
  }

  async #endConversation(): Promise<void> {
    this.#deps.saved?.remove(this.#conversation.id);
    try {
      await this.#conversation.end({ timeoutMs: END_TIMEOUT_MS });
    } catch (error) {
      // The agent is gone or slow. The user can leave nevertheless.
      if (!isFabricError(error)) throw error;
    }
  }

  async #runTurn(text: string, turnId = newId()): Promise<void> {
    const { saved } = this.#deps;
    const { id, address } = this.#conversation;
    const turn = this.#openTurn();
    this.#turn = turn;
    this.#lastMessage = { text };
    saved?.messageSent(id, address, { turnId, text });
    const { signal } = turn.controller;
    const onAway = (party: 'agent' | 'sentinel'): void =>
      this.#noteBesideAnswer(
        party === 'sentinel' ? connectionText(false) : 'Waiting for the agent to return...',
      );
    try {
      for await (const event of this.#conversation.stream(text, { turnId, onAway, signal })) {
        this.#show(event, turn);
      }
      saved?.messageSettled(id);
    } catch (error) {
      turn.approvals.close();
      turn.answer.abandon();
      // A turn without an outcome may still run at the agent. /retry or the next --resume requests its answer.
      if (isUndecided(error)) this.#lastMessage = { text, turnId };
      else saved?.messageSettled(id);
      if (signal.aborted) this.#dimNote('Stopped.');
      else this.#fail(error);
    } finally {
      turn.approvals.close();
      this.#turn = undefined;
    }
  }

  #openTurn(): RunningTurn {
    const { input, clock } = this.#deps;
    const controller = new AbortController();
    const answer = this.#openAnswer();
    const approvals = new ApprovalQuestions({
      input,
      clock,
      conversation: this.#conversation,
      isInteractive: this.#options.isInteractive,
      note: (text) => this.#noteBesideAnswer(text),
      fail: (error) => answer.interrupt(() => this.#fail(error)),
      hold: () => answer.pause(),
      resume: () => answer.resume(),
      cancel: () => controller.abort(stopped()),
    });
    return { controller, answer, approvals };
  }

  #openAnswer(): Answer {
    const { write, style, trace } = this.#deps;
    const { isInteractive, indicator } = this.#options;
    const isHeld = trace.isOn && isInteractive;
    return new Answer({ write, style, isHeld, indicator: isHeld ? undefined : indicator });
  }

  #show(event: TurnEvent, { answer, approvals }: RunningTurn): void {
    const { isInteractive } = this.#options;
    if (event.type === 'text') answer.add(event.text);
    else if (event.type === 'restart') answer.restart(event.keep);
    else if (event.type === 'done') answer.end(event.text);
    else if (event.type === 'approval') approvals.ask(event);
    else if (event.type === 'approval_answer') approvals.answered(event);
    else if (!isInteractive) return;
    else if (event.type === 'tool_call') this.#noteBesideAnswer(`  ${toolCallText(event)}`);
    else if (event.type === 'tool_result' && event.ok === false) {
      this.#noteBesideAnswer(`  ${toolFailureText(event)}`);
    }
  }

  #fail(error: unknown): void {
    this.#hasFailed = true;
    const canRetry = this.#options.isInteractive && isFabricError(error) && error.retryable;
    const hint = canRetry ? ' /retry sends it again.' : '';
    this.#note(`${this.#deps.style.red('!')} ${failureText(error)}${hint}`);
  }

  async #showBanner(): Promise<void> {
    this.#dimNote(modelText(await this.#conversation.describe()));
    if (this.#options.resumed) this.#dimNote(historyText(await this.#conversation.history()));
    if (this.#options.isInteractive)
      this.#dimNote('Type exit to end, /leave to continue later, /help for more.');
  }

  #note(text: string): void {
    this.#deps.input.note(`${text}\n`);
  }

  #dimNote(text: string): void {
    this.#note(this.#deps.style.dim(text));
  }

  // Writes a note on a separate line, even while an answer is written.
  #noteBesideAnswer(text: string): void {
    if (this.#turn) this.#turn.answer.interrupt(() => this.#dimNote(text));
    else this.#dimNote(text);
  }
}

const stopped = (): FabricError => new FabricError('CALL_CANCELLED', 'Stopped by Ctrl-C');
