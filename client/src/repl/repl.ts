// The conversation loop of the prompt: reads a message, shows the answer as it streams, and repeats. Input, output and
// conversations are passed in, so that a terminal, a pipe and a test run the same loop. After a failed turn the loop reports
// the error and continues; only the user or the end of the input ends it.
import { type Clock, FabricError, isFabricError, newId } from '@fame-fabric/shared';
import { EXIT, escapeLine, printableJson, type Style } from '@fame-fabric/shared/internal';
import type { ChatAgentDescription } from '../chat-operations.ts';
import type { Conversation } from '../conversation.ts';
import { type DoneEvent, isUndecided, type TurnEvent } from '../turn-event.ts';
import { Answer, type AnswerOptions } from './answer.ts';
import { ApprovalQuestions } from './approvals.ts';
import { listText, notInList, pick } from './choose-conversation.ts';
import { type CommandName, parseLine, takesArgument } from './commands.ts';
import { connectionText } from './connection-text.ts';
import { PromptCommands, type PromptCommandsDeps } from './prompt-commands.ts';
import type { ReplInput } from './repl-input.ts';
import type { OpenTurn, SavedConversations } from './saved-conversations.ts';
import {
  failureText,
  finishText,
  modelText,
  resumedText,
  toolCallText,
  toolFailureText,
  unfitOperationsText,
} from './texts.ts';

/** The part of a conversation that the loop uses. */
export type ReplConversation = Pick<
  Conversation,
  | 'id'
  | 'address'
  | 'systemPrompt'
  | 'start'
  | 'describe'
  | 'stream'
  | 'answerApproval'
  | 'history'
  | 'state'
  | 'end'
>;

export interface ReplDeps extends PromptCommandsDeps {
  input: ReplInput;
  /** Receives answers: stdout. */
  write: (text: string) => void;
  /** Creates a conversation without starting it. */
  newConversation: (systemPrompt: string | undefined) => ReplConversation;
  /** Starts a conversation that continues another one after its turn `at`. @default an answer cannot be replaced */
  fork?: ((id: string, at: string) => Promise<ReplConversation>) | undefined;
  /** Keeps conversations that the user left without ending them. @default none are kept */
  saved?: Pick<SavedConversations, 'messageSent' | 'messageSettled' | 'remove' | 'list'> | undefined;
  /** Opens a saved conversation. @default `/resume` has no conversations */
  openConversation?: ((id: string) => ReplConversation) | undefined;
  /** Style of answers. @default that of notes */
  answerStyle?: Style | undefined;
  clock: Clock;
}

export interface ReplOptions {
  /** True on a terminal; otherwise answers go to a file or a program. */
  isInteractive: boolean;
  /**
   * How answers are written: after `A> `, alone, or as one line of JSON each. Without `A> ` the prompt also omits the model from
   * its notes, unless it is the offline one.
   * @default 'prompt'
   */
  answers?: 'prompt' | 'plain' | 'json' | undefined;
  systemPrompt?: string | undefined;
  /** A conversation to continue, and its message without an answer. */
  resumed?: { conversation: ReplConversation; open?: OpenTurn | undefined } | undefined;
  /** The agent of a `fame chat` without an address. */
  defaultAddress: string;
  /** Printed when the user leaves. */
  farewell?: string | undefined;
  /** Width of the terminal that answers are written to. @default answers go to a file or a program */
  columns?: (() => number) | undefined;
  /** Output of the waiting indicator and of reasoning. */
  indicator?: AnswerOptions['indicator'];
}

/** The running turn and its output. */
interface RunningTurn {
  readonly controller: AbortController;
  readonly answer: Answer;
  readonly approvals: ApprovalQuestions;
}

/** Types of the events that report progress before the text of a turn. */
const PROGRESS = ['reasoning', 'waiting'] as const;
/** Longest time to wait for the agent to end the conversation. */
const END_TIMEOUT_MS = 2_000;

export class Repl {
  readonly #deps: ReplDeps;
  readonly #options: ReplOptions;
  readonly #answers: 'prompt' | 'plain' | 'json';
  readonly #commands: PromptCommands;
  readonly #left = Promise.withResolvers<void>();
  #conversation: ReplConversation;
  #turn: RunningTurn | undefined;
  /** The last message, with its turn id while the outcome of that turn is unknown. `isAnswered` is true once it completed. */
  #lastMessage: { text: string; turnId?: string; isAnswered?: boolean } | undefined;
  /** Turns of this conversation that completed, oldest first. `undefined` stands for turns of an earlier program. */
  #turnIds: (string | undefined)[];
  /** True if the agent keeps the conversation after this program ends. */
  #isKept: boolean;
  /** True if the agent can hold no conversation. */
  #isUnfit = false;
  /** True if Ctrl-C was pressed once since the last input. */
  #isWarned = false;
  #isInterrupted = false;
  #hasFailed = false;

  constructor(deps: ReplDeps, options: ReplOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#answers = options.answers ?? 'prompt';
    this.#commands = new PromptCommands(deps);
    this.#conversation = options.resumed?.conversation ?? deps.newConversation(options.systemPrompt);
    this.#turnIds = options.resumed ? [undefined] : [];
    // The end of a pipe ends the conversation only if the pipe started it.
    this.#isKept = options.resumed !== undefined || options.isInteractive;
  }

  /**
   * Runs until the input ends. Returns the exit code: 0; 130 if interrupted; 1 if the agent holds no conversations, or if a
   * turn failed and the prompt is not interactive.
   * @throws the error of starting the first conversation, such as {NO_ROUTE}
   */
  async run(): Promise<number> {
    const { input } = this.#deps;
    const { isInteractive, resumed } = this.#options;
    input.onInterrupt = () => this.#interrupt();
    await Promise.race([this.#begin(), this.#left.promise]); // the user may leave before a slow agent answers
    if (this.#isUnfit) return EXIT.failure;
    if (resumed?.open && !this.#isInterrupted) await this.#runTurn(resumed.open.text, resumed.open.turnId);
    while (!this.#isInterrupted) {
      const text = await input.read();
      if (text === undefined || !(await this.#handle(text))) break;
    }
    if (this.#isKept && this.#hasMessages) {
      if (this.#answers === 'prompt') this.#noteHowToResume();
    } else await this.#endConversation();
    if (isInteractive && this.#options.farewell) this.#dimNote(this.#options.farewell);
    if (this.#isInterrupted) return EXIT.interrupted;
    if (this.#isUnfit) return EXIT.failure;
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

  #leave(): void {
    this.#isInterrupted = true;
    this.#left.resolve();
    this.#deps.input.close();
  }

  /** Handles a line of input. Returns false if the loop must end. */
  async #handle(input: string): Promise<boolean> {
    this.#isWarned = false;
    const line = parseLine(input);
    if (line.kind === 'message') {
      await this.#runTurn(line.text);
      return !this.#isUnfit;
    }
    if (line.kind === 'unknown') {
      const hint = line.suggestion ? `Did you mean /${line.suggestion}?` : '/help lists the commands.';
      this.#note(escapeLine(`There is no command /${line.name}. ${hint}`));
    }
    if (line.kind !== 'command') return true;
    if (line.argument !== '' && !takesArgument(line.name)) {
      this.#note(`/${line.name} takes no argument.`);
      return true;
    }
    if (line.name === 'leave') this.#isKept = true;
    if (line.name === 'end') {
      this.#isKept = false;
      this.#dimNote('The conversation has ended.');
    }
    if (line.name === 'exit' || line.name === 'leave' || line.name === 'end') return false;
    try {
      await this.#runCommand(line.name, line.argument);
    } catch (error) {
      this.#fail(error);
    }
    return true;
  }

  async #runCommand(name: Exclude<CommandName, 'exit' | 'leave' | 'end'>, argument: string): Promise<void> {
    const { systemPrompt } = this.#conversation;
    switch (name) {
      case 'new':
        return this.#startAnew(systemPrompt);
      case 'system':
        if (argument !== '') return this.#startAnew(argument);
        return this.#note(systemPrompt ?? "The agent's own system prompt. /system TEXT sets another.");
      case 'retry':
        return this.#retry();
      case 'resume':
        return this.#resume(argument);
      default:
        return this.#commands.run(name, argument, this.#conversation);
    }
  }

  // A new answer replaces the last one: the message is sent in a fork from before it. A turn that failed left nothing to replace.
  async #retry(): Promise<void> {
    const last = this.#lastMessage;
    if (last === undefined) return this.#note('There is no message to send again.');
    if (last.isAnswered) await this.#dropLastTurn();
    return this.#runTurn(last.text, last.turnId);
  }

  async #dropLastTurn(): Promise<void> {
    const { fork, newConversation } = this.#deps;
    const isFirst = this.#turnIds.length === 1;
    const before = this.#turnIds.at(-2);
    if (!isFirst && (before === undefined || !fork)) return;
    const previous = this.#conversation;
    let next: ReplConversation;
    try {
      if (isFirst) {
        next = newConversation(previous.systemPrompt);
        await next.start();
      } else next = await fork!(previous.id, before!);
    } catch (error) {
      if (!isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
      return; // an agent without forks keeps both answers
    }
    await this.#endConversation();
    this.#conversation = next;
    this.#turnIds.pop();
  }

  async #startAnew(systemPrompt: string | undefined): Promise<void> {
    const next = this.#deps.newConversation(systemPrompt);
    await next.start();
    await this.#switchTo(next, []);
    this.#isKept = this.#options.isInteractive;
    this.#dimNote('Started a new conversation.');
  }

  async #switchTo(next: ReplConversation, turnIds: (string | undefined)[]): Promise<void> {
    if (this.#hasMessages && this.#isKept) this.#noteHowToResume();
    else await this.#endConversation();
    this.#conversation = next;
    this.#lastMessage = undefined;
    this.#turnIds = turnIds;
  }

  /** Lists the other conversations with this agent, or continues the one with the number or id `wanted`. */
  async #resume(wanted: string): Promise<void> {
    const { saved, openConversation, clock } = this.#deps;
    const { id, address } = this.#conversation;
    const list = saved?.list().filter((one) => one.address === address && one.id !== id) ?? [];
    if (!openConversation || list.length === 0)
      return this.#note('There is no other conversation to continue.');
    if (wanted === '') return this.#note(`${listText(list, clock.now())}\n/resume N continues one of them.`);
    const chosen = pick(list, wanted);
    if (!chosen) return this.#note(notInList(list, wanted));
    const next = openConversation(chosen.id);
    if (await hasEnded(next)) {
      saved?.remove(chosen.id);
      return this.#note(
        'This conversation was ended or removed, or belongs to another principal. /resume lists the others.',
      );
    }
    await this.#switchTo(next, [undefined]);
    this.#isKept = true;
    this.#dimNote(resumedText(await this.#commands.messages(next)));
    if (chosen.open) await this.#runTurn(chosen.open.text, chosen.open.turnId);
  }

  get #hasMessages(): boolean {
    return this.#lastMessage !== undefined || this.#turnIds.length > 0;
  }

  #noteHowToResume(): void {
    const { id, address } = this.#conversation;
    const agent = address === this.#options.defaultAddress ? '' : `${address} `;
    this.#dimNote(`To continue this conversation: npx fame-fabric chat ${agent}--resume ${id}`);
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
      const { model } = this.#commands;
      const options = model === undefined ? undefined : { model };
      const include = turn.answer.showsProgress ? PROGRESS : [];
      const settings = { turnId, onAway, signal, options, include };
      for await (const event of this.#conversation.stream(text, settings)) {
        this.#show(event, turn);
      }
      this.#turnIds.push(turnId);
      this.#lastMessage = { text, isAnswered: true };
      saved?.messageSettled(id);
    } catch (error) {
      turn.approvals.close();
      turn.answer.abandon();
      // A turn without an outcome may still run at the agent. /retry or the next --resume requests its answer.
      if (isUndecided(error)) this.#lastMessage = { text, turnId };
      else saved?.messageSettled(id);
      if (signal.aborted) this.#dimNote('Stopped.');
      else if (
        isFabricError(error, 'METHOD_NOT_FOUND') &&
        this.#turnIds.length === 0 &&
        !this.#commands.model
      )
        this.#refuse(`. ${error.message}`);
      else this.#fail(error, text);
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
    const { style, answerStyle = style, trace, reasoning } = this.#deps;
    const { isInteractive, indicator, columns } = this.#options;
    const isHeld = trace.isOn && isInteractive;
    const write = this.#answers === 'json' ? () => {} : this.#deps.write;
    const prefix = this.#answers === 'prompt' ? 'A> ' : '';
    return new Answer({
      write,
      style: answerStyle,
      prefix,
      columns,
      isHeld,
      showsReasoning: reasoning.isOn,
      indicator: isHeld ? undefined : indicator,
    });
  }

  #show(event: TurnEvent, { answer, approvals }: RunningTurn): void {
    const { isInteractive } = this.#options;
    if (event.type === 'text') answer.add(event.text);
    else if (event.type === 'restart') answer.restart(event.keep);
    else if (event.type === 'reasoning') answer.reason(event.text);
    else if (event.type === 'waiting') answer.wait(event);
    else if (event.type === 'done') this.#end(event, answer);
    else if (event.type === 'approval') approvals.ask(event);
    else if (event.type === 'approval_answer') approvals.answered(event);
    else if (!isInteractive) return;
    else if (event.type === 'tool_call') this.#noteBesideAnswer(`  ${toolCallText(event)}`);
    else if (event.type === 'tool_result' && event.ok === false) {
      this.#noteBesideAnswer(`  ${toolFailureText(event)}`);
    }
  }

  #end(event: DoneEvent, answer: Answer): void {
    answer.end(event.text);
    if (this.#answers === 'json') {
      const { id } = this.#conversation;
      this.#deps.write(`${printableJson({ conversation_id: id, ...event })}\n`);
    }
    const finish = finishText(event);
    if (finish !== undefined) this.#dimNote(finish);
    if (event.usage) this.#commands.addUsage(event.usage);
  }

  /** Starts the conversation, unless the agent lists its operations and has no turns. */
  async #begin(): Promise<void> {
    const description = await this.#describeEarly();
    const operations = description && unfitOperationsText(this.#conversation.address, description);
    if (operations !== undefined) return this.#refuse(operations);
    await this.#conversation.start();
    await this.#showBanner(description ?? (await this.#conversation.describe()));
  }

  /** Returns `undefined` if the agent does not answer: the start of the conversation then fails with its reason. */
  async #describeEarly(): Promise<ChatAgentDescription | undefined> {
    try {
      return await this.#conversation.describe();
    } catch (error) {
      if (!isFabricError(error)) throw error;
      return undefined;
    }
  }

  // An agent of version 0.1 does not list its operations, and accepts a task all the same. Its first turn shows that it has none.
  #refuse(reason: string): void {
    this.#isUnfit = true;
    const text = escapeLine(`${this.#conversation.address} holds no conversations${reason}`);
    this.#note(`${this.#deps.style.red('!')} ${text}`);
  }

  #fail(error: unknown, message?: string): void {
    this.#hasFailed = true;
    const { isInteractive } = this.#options;
    const canRetry = isInteractive && isFabricError(error) && error.retryable;
    const hint = canRetry ? ' /retry sends it again.' : '';
    this.#note(`${this.#deps.style.red('!')} ${failureText(error, { message, isInteractive })}${hint}`);
  }

  async #showBanner(description: ChatAgentDescription): Promise<void> {
    if (this.#answers === 'prompt' || description.model === 'offline') this.#dimNote(modelText(description));
    if (this.#answers !== 'prompt') return;
    if (this.#options.resumed) this.#dimNote(resumedText(await this.#commands.messages(this.#conversation)));
    if (this.#options.isInteractive) this.#dimNote('Type exit to leave, /help for more.');
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

/** True if the agent does not know the conversation, or has ended it. */
async function hasEnded(conversation: ReplConversation): Promise<boolean> {
  try {
    const state = await conversation.state();
    return state !== undefined && state !== 'working' && state !== 'input-required';
  } catch (error) {
    if (isFabricError(error, 'CONVERSATION_UNKNOWN')) return true;
    throw error;
  }
}

const stopped = (): FabricError => new FabricError('CALL_CANCELLED', 'Stopped by Ctrl-C');
