// `fame chat [ADDRESS]`: runs the client's prompt on the terminal of this process, or sends one message: that of `-m`, or the
// whole of a pipe.
import { existsSync, fstatSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type Client, createEnvelopePrinter, type EnvelopeTrace } from '@fame-fabric/client';
import {
  chooseConversation,
  completeCommand,
  HistoryFile,
  MessageInput,
  PipedInput,
  Repl,
  type ReplInput,
  readMessages,
  type SavedConversation,
  SavedConversations,
  TerminalInput,
} from '@fame-fabric/client/repl';
import { FabricError, isFabricError, parseAddress, systemClock } from '@fame-fabric/shared';
import { createStyle, type Style } from '@fame-fabric/shared/internal';
import { attach } from '../attach.ts';
import { type ClientConfig, readClientConfig, sentinelOf } from '../config.ts';
import { textFlag } from '../flags.ts';
import { interrupted } from '../interrupt.ts';
import { onStdoutClosed, writeNote, writeOut } from '../output.ts';
import { getNodes } from '../sentinel-http.ts';
import { UsageError, type VerbInput } from '../verb.ts';
import { describeNodes } from './ps.ts';

export async function run(input: VerbInput): Promise<number> {
  const config = readClientConfig(input.env);
  const target = readTarget(input);
  const mode = readMode(input);
  return new ChatProcess(config, mode, textFlag(input, 'system') ?? config.systemPrompt).run(target);
}

/** How messages come in and answers go out. */
interface Mode {
  /** The message of `-m`. */
  message: string | undefined;
  /** True if each line of the pipe is a message. */
  hasLines: boolean;
  isJson: boolean;
  /** The model of the turns; `undefined` for that of the agent. */
  model: string | undefined;
}

/** @throws {UsageError} */
function readMode(input: VerbInput): Mode {
  const message = textFlag(input, 'message');
  const hasLines = input.flags.lines === true;
  const isJson = input.flags.json === true;
  if (message?.trim() === '') throw new UsageError('-m takes a message, not an empty text');
  if (hasLines && message !== undefined) throw new UsageError('-m sends one message, --lines many: use one');
  if (message === undefined && process.stdin.isTTY && (hasLines || isJson)) {
    throw new UsageError(`--${hasLines ? 'lines' : 'json'} needs a pipe${isJson ? ' or -m TEXT' : ''}`);
  }
  const model = textFlag(input, 'model');
  if (model === '') throw new UsageError('--model takes the name of a model');
  return { message, hasLines, isJson, model };
}

/** The conversation that the command line selects. */
interface Target {
  address: string | undefined;
  isResumed: boolean;
  /** The conversation to resume; `undefined` if the user chooses it from a list. */
  id: string | undefined;
}

/** @throws {UsageError} */
function readTarget({ positionals, flags }: VerbInput): Target {
  const isResumed = flags.resume === true;
  // With --resume, an argument without @ is the id of a conversation.
  const address = positionals.find((word) => !isResumed || word.includes('@'));
  const id = positionals.find((word) => word !== address);
  const hasExtra = id !== undefined && (!isResumed || positionals.length - (address ? 1 : 0) > 1);
  if (hasExtra) throw new UsageError(`chat takes no argument "${positionals.at(-1)}"`);
  if (address !== undefined && !isResumed && !address.includes('@')) {
    throw new UsageError(
      `"${address}" is not an address. To send it as a message: -m ${JSON.stringify(address)}`,
    );
  }
  return { address, isResumed, id };
}

type Resumed = Pick<SavedConversation, 'id' | 'address' | 'open'>;

class ChatProcess {
  readonly #config: ClientConfig;
  readonly #systemPrompt: string | undefined;
  readonly #screen = process.stdout.isTTY ? process.stdout : process.stderr;
  readonly #mode: Mode;
  readonly #isInteractive: boolean;
  readonly #style: Style;
  readonly #answerStyle: Style;
  readonly #noteStyle: Style;
  readonly #saved: SavedConversations;
  readonly #trace: { isOn: boolean; isBrief?: boolean };
  readonly #leaving = new AbortController();
  #input: ReplInput | undefined;
  #client: Client | undefined;
  #repl: Repl | undefined;

  constructor(config: ClientConfig, mode: Mode, systemPrompt: string | undefined) {
    this.#config = config;
    this.#mode = mode;
    this.#systemPrompt = systemPrompt;
    this.#isInteractive = Boolean(process.stdin.isTTY && this.#screen.isTTY && mode.message === undefined);
    this.#style = createStyle(this.#isInteractive && config.hasColours);
    // The screen of the prompt may be stderr, with answers going to a file.
    this.#answerStyle = createStyle(Boolean(process.stdout.isTTY) && this.#style.isOn);
    this.#noteStyle = createStyle(Boolean(process.stderr.isTTY) && config.hasColours);
    this.#trace = { isOn: config.showEnvelopes !== 'off' };
    this.#saved = new SavedConversations(config.dataDir, (reason) =>
      this.#note(`Conversations are not saved: ${reason}\n`),
    );
  }

  async run(target: Target): Promise<number> {
    parseAddress(target.address ?? this.#config.chatAddress); // throws ADDRESS_INVALID
    if (target.isResumed && target.id === undefined) this.#requireSaved();
    const releaseSignals = this.#handleSignals();
    try {
      this.#client = await this.#attach();
      const resumed = target.isResumed ? await this.#chooseConversation(this.#client, target) : undefined;
      const address = target.address ?? resumed?.address ?? this.#config.chatAddress;
      this.#input = this.#openInput();
      onStdoutClosed(() => this.#input?.close());
      this.#repl = this.#openRepl(this.#client, this.#input, address, resumed);
      return await this.#repl.run();
    } finally {
      this.#input?.close();
      releaseSignals();
      await this.#client?.close();
    }
  }

  #note(text: string): void {
    if (this.#input) this.#input.note(text);
    else writeNote(text);
  }

  /** @throws {CONVERSATION_UNKNOWN} */
  #requireSaved(): void {
    if (this.#saved.list().length > 0) return;
    throw new FabricError('CONVERSATION_UNKNOWN', 'There is no conversation to resume');
  }

  async #chooseConversation(client: Client, { id, address }: Target): Promise<Resumed> {
    const all = this.#saved.list().filter((one) => address === undefined || one.address === address);
    const areOpen = id === undefined ? await Promise.all(all.map((one) => this.#isOpen(client, one))) : [];
    const chosen = await chooseConversation({
      saved: all.filter((_, index) => areOpen[index] !== false),
      id,
      address,
      defaultAddress: this.#config.chatAddress,
      now: systemClock.now(),
      writeNote,
      prompt: this.#isInteractive ? (question) => this.#promptOnce(question) : undefined,
    });
    if (id !== undefined && (await this.#isOpen(client, chosen)) === false) {
      const text = `The conversation "${id}" at ${chosen.address} was ended or removed, the id is wrong, or it belongs to another principal. \`npx fame-fabric chat --resume\` lists those that can continue, \`npx fame-fabric conversations show ${id}\` prints one that has ended`;
      throw new FabricError('CONVERSATION_UNKNOWN', text);
    }
    return chosen;
  }

  /** Returns false, and forgets the conversation, if it has ended or the agent does not know it; `undefined` if that is unknown. */
  async #isOpen(
    client: Client,
    { id, address }: Pick<Resumed, 'id' | 'address'>,
  ): Promise<boolean | undefined> {
    try {
      const state = await client.conversation(address, { id, isResumed: true }).state();
      if (state === undefined) return undefined; // the agent has no states
      if (state === 'working' || state === 'input-required') return true;
    } catch (error) {
      if (!isFabricError(error)) throw error;
      if (error.code !== 'CONVERSATION_UNKNOWN') return undefined; // the agent is away
    }
    this.#saved.remove(id);
    return false;
  }

  async #promptOnce(question: string): Promise<string> {
    const lines = createInterface({ input: process.stdin, output: this.#screen });
    const leave = (): void => this.#leaving.abort(interrupted());
    lines.once('SIGINT', leave).once('close', leave);
    try {
      return await lines.question(question, { signal: this.#leaving.signal });
    } catch (error) {
      throw this.#leaving.signal.aborted ? interrupted() : error;
    } finally {
      lines.removeListener('close', leave).close();
    }
  }

  /** Installs the signal handlers. Returns a function that removes them. */
  #handleSignals(): () => void {
    const interrupt = (): void => {
      if (this.#input?.onInterrupt) this.#input.onInterrupt();
      else this.#leaving.abort(interrupted());
    };
    const terminate = (): void => {
      interrupt(); // like Ctrl-C twice: cancel the turn and leave
      interrupt();
    };
    const hangUp = (): void => {
      this.#repl?.hangUp();
      this.#leaving.abort(interrupted());
      void this.#client?.close(); // a running turn continues at the agent
    };
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', terminate);
    process.on('SIGHUP', hangUp);
    return () => {
      process.removeListener('SIGINT', interrupt);
      process.removeListener('SIGTERM', terminate);
      process.removeListener('SIGHUP', hangUp);
    };
  }

  get #answers(): 'prompt' | 'plain' | 'json' {
    if (this.#mode.isJson) return 'json';
    return this.#isInteractive || this.#mode.hasLines ? 'prompt' : 'plain';
  }

  #attach(): Promise<Client> {
    const printer = (mode: 'line' | 'metadata' | 'full'): EnvelopeTrace =>
      createEnvelopePrinter({ write: (block) => this.#note(block), mode, style: this.#noteStyle });
    const printLine = printer('line');
    const printBlock = printer(this.#config.showEnvelopes === 'full' ? 'full' : 'metadata');
    const trace: EnvelopeTrace = (direction, envelope) => {
      const { isOn, isBrief } = this.#trace;
      if (isOn) (isBrief ? printLine : printBlock)(direction, envelope);
    };
    return attach({
      config: this.#config,
      writeNote: (text) => this.#note(this.#noteStyle.dim(text)),
      onConnection: (isConnected) => this.#repl?.showConnection(isConnected),
      trace,
      signal: this.#leaving.signal,
    });
  }

  #openInput(): ReplInput {
    const { message, hasLines } = this.#mode;
    if (!this.#isInteractive) {
      if (hasLines) return new PipedInput(process.stdin, writeNote);
      const source = message === undefined || hasPipedText() ? process.stdin : undefined;
      return new MessageInput({ text: message, source, writeNote });
    }
    const history = new HistoryFile(this.#config.dataDir, (reason) =>
      this.#note(`The history is not kept: ${reason}\n`),
    );
    return new TerminalInput({
      input: process.stdin,
      output: this.#screen,
      prompt: this.#style.cyan('Q> '),
      continuation: this.#style.dim('.. '),
      history: history.load(),
      onMessage: (message) => history.add(message),
      complete: completeCommand,
    });
  }

  #openRepl(client: Client, input: ReplInput, address: string, resumed: Resumed | undefined): Repl {
    const { turnTimeoutMs } = this.#config;
    const indicator = { write: (text: string) => void this.#screen.write(text), clock: systemClock };
    return new Repl(
      {
        input,
        write: writeOut,
        newConversation: (systemPrompt) => client.conversation(address, { turnTimeoutMs, systemPrompt }),
        saved: this.#saved,
        openConversation: (id) => client.conversation(address, { turnTimeoutMs, id, isResumed: true }),
        readMessages: (id) => readMessages(client.conversations(address), id),
        model: this.#mode.model,
        listAgents: async () =>
          describeNodes(await getNodes(sentinelOf(this.#config), { isOfCluster: true })),
        fork: (id, at) => client.conversations(address).fork(id, { at }, { turnTimeoutMs }),
        saveFile: (path, text) => writeFile(path, text, { flag: 'wx', mode: 0o600 }),
        trace: this.#trace,
        reasoning: { isOn: this.#config.showsReasoning },
        style: this.#style,
        answerStyle: this.#answerStyle,
        clock: systemClock,
      },
      {
        isInteractive: this.#isInteractive,
        answers: this.#answers,
        columns: this.#isInteractive && process.stdout.isTTY ? () => process.stdout.columns || 80 : undefined,
        farewell: existsSync(join(this.#config.dataDir, 'run', 'sentinel.json'))
          ? 'The fabric keeps running in the background; `make stop` stops it.'
          : undefined,
        systemPrompt: this.#systemPrompt,
        defaultAddress: this.#config.chatAddress,
        resumed: resumed && {
          conversation: client.conversation(address, { turnTimeoutMs, id: resumed.id, isResumed: true }),
          open: resumed.open,
        },
        indicator: this.#isInteractive ? indicator : undefined,
      },
    );
  }
}

// With -m a program may leave stdin open without ever writing: node gives its children a socket. Pipes of shells and files end.
function hasPipedText(): boolean {
  try {
    const stat = fstatSync(0);
    return stat.isFIFO() || stat.isFile();
  } catch {
    return false; // stdin is closed
  }
}
