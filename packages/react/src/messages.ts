// The messages of a conversation as a page shows them, built from its events. Every object is immutable: a change replaces the
// message that it concerns and no other, so memoized components render only what has changed.
import type { ConversationEvent } from '@fame-fabric/client';

/** Why a turn failed. `code` never changes its meaning; see docs/errors.md. */
export interface MessageError {
  readonly code: string;
  readonly message: string;
}

export interface UserMessage {
  readonly role: 'user';
  /** Unique in the conversation. */
  readonly id: string;
  readonly turnId: string;
  readonly text: string;
  /** `sending` until the agent has accepted the message. `failed` if it never will; `error` has the reason. */
  readonly state: 'sending' | 'sent' | 'failed';
  readonly error?: MessageError | undefined;
}

export interface AssistantMessage {
  readonly role: 'assistant';
  /** Unique in the conversation. */
  readonly id: string;
  readonly turnId: string;
  /** The whole text so far. */
  readonly text: string;
  /** Text, tool calls and questions in the order in which they happened. */
  readonly parts: readonly MessagePart[];
  /** `waiting` while a person has to approve something. */
  readonly state: 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled';
  readonly error?: MessageError | undefined;
}

export type Message = UserMessage | AssistantMessage;

export interface TextPart {
  readonly type: 'text';
  readonly text: string;
}

/** A tool call. It waits for an approval in the state `waiting`. */
export interface ToolPart {
  readonly type: 'tool';
  readonly id: string;
  readonly name: string;
  /** Absent if they are long. */
  readonly args?: Readonly<Record<string, unknown>> | undefined;
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'refused';
}

/** A used-up budget. `args` has the limit, its unit and the amount spent. */
export interface BudgetPart {
  readonly type: 'budget';
  readonly id: string;
  readonly name: string;
  readonly args?: Readonly<Record<string, unknown>> | undefined;
  readonly state: 'waiting' | 'approved' | 'refused';
}

export type MessagePart = TextPart | ToolPart | BudgetPart;

/** An event of a turn after its start. */
type AnswerEvent = Exclude<ConversationEvent, { type: 'started' | 'turn' | 'ended' }>;

interface Turn {
  readonly user?: UserMessage | undefined;
  readonly answer?: AssistantMessage | undefined;
}

/** Turns that are kept. Older ones are left out of the view; the agent still has them. */
const MAX_TURNS = 500;

/** The messages of one conversation. */
export class Messages {
  /** Turns that the agent has accepted, in its order. */
  readonly #accepted = new Map<string, Turn>();
  /** Messages of this page that the agent has not accepted yet. */
  readonly #pending = new Map<string, UserMessage>();
  #cursor = 0;
  #hasEnded = false;

  /** Cursor of the last event. 0 before the first. */
  get cursor(): number {
    return this.#cursor;
  }

  /** True after the last event of the conversation. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get all(): Message[] {
    const turns = [...this.#accepted.values()].flatMap(({ user, answer }) => [user, answer]);
    return [...turns, ...this.#pending.values()].filter((message) => message !== undefined);
  }

  isAccepted(turnId: string): boolean {
    return this.#accepted.has(turnId);
  }

  /** The messages of this page that are on their way. */
  get unsent(): UserMessage[] {
    return [...this.#pending.values()].filter(({ state }) => state === 'sending');
  }

  /** Adds a message that this page sends. */
  send(turnId: string, text: string): void {
    this.#pending.set(turnId, userMessage(turnId, text, 'sending'));
  }

  /** Marks a message that the agent did not accept. */
  fail(turnId: string, error: MessageError): void {
    const message = this.#pending.get(turnId);
    if (message) this.#pending.set(turnId, { ...message, state: 'failed', error });
  }

  /** Removes a message that the agent did not accept. */
  remove(turnId: string): void {
    this.#pending.delete(turnId);
  }

  /** Applies an event that follows those applied so far. Ignores types that it does not know. */
  apply(event: ConversationEvent): void {
    this.#cursor = event.seq;
    if (event.type === 'ended') this.#hasEnded = true;
    else if (event.type === 'started') this.#addStart(event.messages ?? []);
    else if (event.type === 'turn') this.#accept(event.turn_id, event.user_message);
    else this.#change(event);
  }

  /** Adds the messages that the conversation began with. */
  #addStart(messages: readonly { role: string; content?: unknown }[]): void {
    messages.forEach(({ role, content }, index) => {
      if (typeof content !== 'string' || content === '') return;
      const turnId = `start-${index}`;
      if (role === 'user') this.#accepted.set(turnId, { user: userMessage(turnId, content, 'sent') });
      if (role === 'assistant') {
        const parts = [{ type: 'text', text: content } as const];
        this.#accepted.set(turnId, {
          answer: { ...newAnswer(turnId), text: content, parts, state: 'completed' },
        });
      }
    });
  }

  // An agent that was restored from a backup sends the turn again, from its start.
  #accept(turnId: string, text: string): void {
    this.#pending.delete(turnId);
    const user = text === '' ? undefined : userMessage(turnId, text, 'sent');
    this.#accepted.set(turnId, { user, answer: newAnswer(turnId) });
    for (const oldest of this.#accepted.keys()) {
      if (this.#accepted.size <= MAX_TURNS) break;
      this.#accepted.delete(oldest);
    }
  }

  #change(event: AnswerEvent): void {
    const turn = this.#accepted.get(event.turn_id);
    if (!turn?.answer) return;
    this.#accepted.set(event.turn_id, { ...turn, answer: nextAnswer(turn.answer, event) });
  }
}

function nextAnswer(answer: AssistantMessage, event: AnswerEvent): AssistantMessage {
  if (event.type === 'done') {
    const parts = answer.text === '' && event.text !== '' ? withText(answer.parts, event.text) : answer.parts;
    return { ...answer, parts, text: textOf(parts), state: 'completed' };
  }
  if (event.type === 'error') {
    const { code, message } = event;
    return { ...answer, state: code === 'TURN_CANCELLED' ? 'cancelled' : 'failed', error: { code, message } };
  }
  const parts = nextParts(answer.parts, event);
  const isWaiting = parts.some((part) => part.type !== 'text' && part.state === 'waiting');
  return { ...answer, parts, text: textOf(parts), state: isWaiting ? 'waiting' : 'running' };
}

function nextParts(parts: readonly MessagePart[], event: AnswerEvent): readonly MessagePart[] {
  switch (event.type) {
    case 'text':
      return withText(parts, event.text);
    case 'restart':
      return withoutText(parts, event.keep);
    case 'tool_call': {
      const { id = '', name = '', args } = event;
      return withPart(parts, { type: 'tool', id, name, args: args ?? argsOf(parts, id), state: 'running' });
    }
    case 'tool_result': {
      const { id = '', name = '', ok } = event;
      const known = parts.find((part) => part.type === 'tool' && part.id === id);
      const state = known?.type === 'tool' && known.state === 'refused' ? 'refused' : ok ? 'done' : 'failed';
      return withPart(parts, { type: 'tool', id, name, args: argsOf(parts, id), state });
    }
    case 'approval': {
      const { id, kind, name, args } = event;
      return withPart(parts, { type: kind, id, name, args, state: 'waiting' });
    }
    case 'approval_answer':
      return parts.map((part) => {
        if (part.type === 'text' || part.id !== event.id) return part;
        if (part.type === 'budget') return { ...part, state: event.approve ? 'approved' : 'refused' };
        return { ...part, state: event.approve ? 'running' : 'refused' };
      });
    default:
      return parts; // of a later version
  }
}

const argsOf = (parts: readonly MessagePart[], id: string): Readonly<Record<string, unknown>> | undefined =>
  parts.find((part): part is ToolPart => part.type === 'tool' && part.id === id)?.args;

/** Replaces the part with the same id, or appends it. */
function withPart(parts: readonly MessagePart[], part: ToolPart | BudgetPart): readonly MessagePart[] {
  const at = parts.findIndex((other) => other.type === part.type && other.id === part.id);
  return at < 0 ? [...parts, part] : parts.with(at, part);
}

function withText(parts: readonly MessagePart[], text: string): readonly MessagePart[] {
  const last = parts.at(-1);
  return last?.type === 'text'
    ? [...parts.slice(0, -1), { type: 'text', text: last.text + text }]
    : [...parts, { type: 'text', text }];
}

/** Keeps the first `keep` characters of the text, and everything that is not text. */
function withoutText(parts: readonly MessagePart[], keep: number): readonly MessagePart[] {
  let left = keep;
  return parts.flatMap((part): MessagePart[] => {
    if (part.type !== 'text') return [part];
    const text = part.text.slice(0, left);
    left -= text.length;
    return text === '' ? [] : [{ type: 'text', text }];
  });
}

const textOf = (parts: readonly MessagePart[]): string =>
  parts.map((part) => (part.type === 'text' ? part.text : '')).join('');

const userMessage = (turnId: string, text: string, state: UserMessage['state']): UserMessage => ({
  role: 'user',
  id: `${turnId}:user`,
  turnId,
  text,
  state,
});

const newAnswer = (turnId: string): AssistantMessage => ({
  role: 'assistant',
  id: `${turnId}:assistant`,
  turnId,
  text: '',
  parts: [],
  state: 'running',
});
