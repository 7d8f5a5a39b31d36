// A prompt: messages, the offered functions, and the choice among them.
import type { ModelMessage, ToolChoice, ToolSpec } from '../model/model.ts';
import { roughTokens, type TokenCounter } from '../model/tokens.ts';
import type { CompletionFunction } from '../tools/schema/completion-function.ts';
import { textOf } from './chat-message.ts';

export type Functions = readonly CompletionFunction[];
type FunctionChoice<F extends Functions> = 'auto' | 'none' | 'required' | F[number]['name'];

export interface ChatPromptInit<F extends Functions> {
  messages: readonly ModelMessage[];
  functions?: F;
  /** @default the one function, if there is one; `auto`, if there are several */
  functionCall?: FunctionChoice<F>;
  /** The function that is forced if the model makes no call. @default none; `required` is sent instead */
  defaultFunctionCall?: F[number]['name'];
}

const WORDS = new Set(['auto', 'none', 'required']);

export class ChatPrompt<const F extends Functions = Functions> {
  readonly messages: readonly ModelMessage[];
  readonly functions: F;
  /** Tool choice of the first request; `undefined` without functions. */
  readonly choice: ToolChoice | undefined;
  /** Tool choice after replies without a call; `undefined` without functions. */
  readonly insistence: ToolChoice | undefined;

  /** @throws {TypeError} when a choice names no function of the prompt, or two functions share a name */
  constructor(init: ChatPromptInit<F>) {
    this.messages = [...init.messages];
    this.functions = init.functions ?? ([] as unknown as F);
    const names = this.functions.map((fn) => fn.name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice) throw new TypeError(`Two functions of the prompt are named "${twice}". Rename one of them.`);
    for (const name of [init.functionCall, init.defaultFunctionCall]) {
      if (name === undefined || names.includes(name) || (WORDS.has(name) && name === init.functionCall))
        continue;
      const known = names.length > 0 ? names.join(', ') : 'none';
      throw new TypeError(`The prompt has no function "${name}"; its functions: ${known}`);
    }
    if (names.length === 0) return;
    const wanted = init.functionCall ?? (names.length === 1 ? names[0]! : 'auto');
    this.choice = choiceOf(wanted);
    this.insistence = init.defaultFunctionCall ? choiceOf(init.defaultFunctionCall) : insistOn(this.choice);
  }

  /** True if a reply without a call is valid. */
  get takesText(): boolean {
    return this.choice === undefined || this.choice === 'none';
  }

  /** Copies the messages for a request. */
  raw(): ModelMessage[] {
    return [...this.messages];
  }

  specs(): ToolSpec[] {
    return this.functions.map((fn) => fn.spec);
  }

  /** Formats the prompt for people: one block a message, `USER: ...`, and the signatures of the functions. */
  toString(): string {
    const blocks = this.messages.map((message) => `${message.role.toUpperCase()}: ${textOf(message)}`);
    if (this.functions.length > 0) {
      blocks.push(`FUNCTIONS:\n${this.functions.map((fn) => `- ${fn.signature()}`).join('\n')}`);
    }
    return blocks.join('\n\n');
  }

  /** Counts the tokens of the messages and of the function definitions. */
  tokens(count: TokenCounter = roughTokens): number {
    const definitions = this.specs().map(({ function: definition }) => JSON.stringify(definition));
    const all = [
      ...this.messages,
      ...definitions.map((content): ModelMessage => ({ role: 'system', content })),
    ];
    return all.reduce((sum, message) => sum + count(message), 0);
  }
}

const choiceOf = (wanted: string): ToolChoice =>
  WORDS.has(wanted) ? (wanted as 'auto') : { type: 'function', function: { name: wanted } };

const insistOn = (choice: ToolChoice): ToolChoice => (typeof choice === 'object' ? choice : 'required');
