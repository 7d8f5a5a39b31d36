// The agent under test: served on a link in memory, with a scripted model and a store, and called as on the wire. It can be
// restarted on the same store.
import { isDeepStrictEqual } from 'node:util';
import { type FabricError, newId } from '@fame-fabric/shared';
import { errorOfCode } from '@fame-fabric/shared/internal';
import type { z } from 'zod';
import type { AgentLink, ServeOptions, Serving } from '../../agent/agent-types.ts';
import type { PriceTable } from '../../model/budget.ts';
import type { ConversationStore } from '../../store/store.ts';
import { FakeLink } from '../../testing/fake-link.ts';
import type { ScriptReply } from '../../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../../testing/scripted-model.ts';
import type { TurnOptions } from '../../turn/turn-options.ts';

interface Served {
  serve(link: AgentLink, options?: ServeOptions): Promise<Serving>;
}

/** A tool of the agent itself. */
export interface OwnTool {
  name: string;
  description: string;
  parameters: z.ZodObject;
  approval?: (args: Record<string, unknown>) => boolean;
  /** Returns the result for the model. */
  execute(args: Record<string, unknown>): string;
}

/** Parts from which an agent under test is built. */
export interface AgentParts {
  model: ScriptedModel;
  store: ConversationStore;
  /** The agent's own tools; only for kinds that have tools. */
  tools?: readonly OwnTool[] | undefined;
  /** Names of models that turns may choose besides the agent's own; only for kinds that take the option. */
  models?: readonly string[] | undefined;
  /** USD for a million tokens, by the name of the model. */
  prices?: PriceTable | undefined;
  /** True if the budget of a conversation is used up after one model call. */
  hasOneCall?: boolean | undefined;
}

/** A kind of agent with conversations. */
export interface AgentKind {
  name: string;
  address: string;
  build(parts: AgentParts): Served | Promise<Served>;
  /** A reply of the model after which the agent answers with a text that contains `text`. */
  says(text: string): ScriptReply;
  /** The agent's answer for `says(text)`. */
  answer(text: string): string;
  /** Messages and replies that end the conversation by themselves, if turns of this kind can do so. */
  ending?: readonly (readonly [message: string, reply: ScriptReply])[];
  /** State of a conversation between its turns. */
  restState: 'working' | 'input-required';
  /** Options of a turn that the agent takes. */
  takes: readonly (keyof TurnOptions)[];
  /** True if `AgentParts.tools` has an effect. */
  hasTools: boolean;
  /** True if a call may be passed to another process. @default false */
  passesCalls?: boolean;
}

export interface StoreKind {
  name: string;
  /** Opens a new store, or with `isAgain` the one that was opened before. */
  open(isAgain: boolean): Promise<ConversationStore>;
  /** True if a restart closes the store. */
  isDurable: boolean;
  /** Removes the files of the store. */
  remove(): void;
}

export interface CallMore {
  principal?: string;
  id?: string;
}

/** A streaming call. */
export interface Following {
  readonly items: Record<string, unknown>[];
  /** Resolves with the items at the end of the stream. Rejects with its error. */
  readonly ended: Promise<Record<string, unknown>[]>;
  /** Resolves when an item matches. Rejects if the stream ends before. */
  until(item: Record<string, unknown>): Promise<Record<string, unknown>>;
  leave(reason?: string): void;
}

type Parts = Omit<Partial<AgentParts>, 'model' | 'store'>;

/** An agent of one kind on a store of one kind. */
export class Subject {
  readonly kind: AgentKind;
  readonly model: ScriptedModel = scriptedModel([]);
  readonly #store: StoreKind;
  readonly #parts: Parts;
  #link = new FakeLink();
  #opened!: ConversationStore;
  #serving!: Serving;

  private constructor(kind: AgentKind, store: StoreKind, parts: Parts) {
    this.kind = kind;
    this.#store = store;
    this.#parts = parts;
  }

  static async open(kind: AgentKind, store: StoreKind, parts: Parts = {}): Promise<Subject> {
    const subject = new Subject(kind, store, parts);
    await subject.#start(false);
    return subject;
  }

  async #start(isAgain: boolean): Promise<void> {
    this.#link = new FakeLink();
    this.#opened = await this.#store.open(isAgain);
    const agent = await this.kind.build({ ...this.#parts, model: this.model, store: this.#opened });
    this.#serving = await agent.serve(this.#link);
  }

  get store(): ConversationStore {
    return this.#opened;
  }

  async close(): Promise<void> {
    await this.#serving.close();
    await this.#opened.close();
  }

  /** Stops the agent and serves it again, as a new process would. */
  async restart(): Promise<void> {
    await this.#serving.close();
    if (this.#store.isDurable) await this.#opened.close();
    await this.#start(true);
  }

  /** Adds replies of the model, as texts of the agent. */
  says(...texts: string[]): void {
    this.model.push(...texts.map((text) => this.kind.says(text)));
  }

  async call<T = Record<string, unknown>>(method: string, params?: unknown, more?: CallMore): Promise<T> {
    const { error, result } = await this.#link.start(this.kind.address, method, params, more).done;
    if (error) throw errorOf(error);
    return result as T;
  }

  stream(method: string, params: unknown, more?: CallMore): Following {
    const items: Record<string, unknown>[] = [];
    const waiting = new Set<() => void>();
    const call = this.#link.start(this.kind.address, method, params, {
      ...more,
      isStream: true,
      onItem(item) {
        items.push(JSON.parse(JSON.stringify(item)));
        for (const check of waiting) check();
      },
    });
    const ended = call.done.then(({ error }) => {
      if (error) throw errorOf(error);
      return items;
    });
    ended.catch(() => {});
    const until = (part: Record<string, unknown>) =>
      new Promise<Record<string, unknown>>((resolve, reject) => {
        const check = (): void => {
          const found = items.find((item) => matches(item, part));
          if (!found) return;
          waiting.delete(check);
          resolve(found);
        };
        waiting.add(check);
        check();
        ended.then(() => reject(new Error(`The stream ended without ${JSON.stringify(part)}`)), reject);
      });
    return { items, ended, until, leave: (reason) => call.cancel(reason) };
  }

  /** Starts a conversation and returns its id. */
  async begin(params: Record<string, unknown> = {}, more?: CallMore): Promise<string> {
    const { id } = await this.call<{ id: string }>('start_task', { id: newId(), ...params }, more);
    return id;
  }

  /** Runs a turn that the model answers with `text`, and returns the turn's id. */
  async turn(
    conversation: string,
    message: string,
    text: string,
    params: Record<string, unknown> = {},
    more?: CallMore,
  ): Promise<string> {
    const turn_id = newId();
    this.says(text);
    const turn = { conversation_id: conversation, user_message: message, turn_id, ...params };
    await this.call('run_turn', turn, more);
    return turn_id;
  }
}

function errorOf({ message, data }: { message: string; data?: unknown }): FabricError {
  const { code, details } = (data ?? {}) as { code?: unknown; details?: Record<string, unknown> };
  return errorOfCode(code, message, details ? { details } : {});
}

const matches = (item: Record<string, unknown>, part: Record<string, unknown>): boolean =>
  Object.entries(part).every(([key, value]) => isDeepStrictEqual(item[key], value));
