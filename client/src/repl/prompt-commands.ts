// The commands that leave the conversation as it is: they show or save something, or change a setting of the prompt. `repl.ts` has
// the commands that change the conversation.
import { errorMessage, escapeLine, type Style } from '@fame-fabric/shared/internal';
import type { Conversation } from '../conversation.ts';
import type { TurnUsage } from '../conversation-types.ts';
import { type CommandName, helpText } from './commands.ts';
import type { ReplInput } from './repl-input.ts';
import { historyText, modelText, type ShownMessage, tokensText } from './texts.ts';

export interface PromptCommandsDeps {
  /** Prints notes. */
  input: Pick<ReplInput, 'note'>;
  /** Writes a new file. @throws if the file exists */
  saveFile?: ((path: string, text: string) => Promise<void>) | undefined;
  /** Describes the attached nodes. */
  listAgents: () => Promise<string>;
  /** The switch of envelope tracing. `isBrief` is true if each envelope is a line. */
  trace: { isOn: boolean; isBrief?: boolean };
  /** Reads the messages of a conversation; `undefined` if its agent cannot. @default the messages that the model still sees */
  readMessages?: ((id: string) => Promise<readonly ShownMessage[] | undefined>) | undefined;
  /** The model of the turns. @default that of the agent */
  model?: string | undefined;
  /** True to show the reasoning of the model, false to show only that it thinks. */
  reasoning: { isOn: boolean };
  /** Style of notes. */
  style: Style;
}

/** The part of a conversation that these commands use. */
type ShownConversation = Pick<Conversation, 'id' | 'describe' | 'history'>;

export type PromptCommand = Extract<
  CommandName,
  'help' | 'model' | 'history' | 'save' | 'tokens' | 'agents' | 'reasoning' | 'trace'
>;

export class PromptCommands {
  readonly #deps: PromptCommandsDeps;
  readonly #usage = { prompt_tokens: 0, completion_tokens: 0 };
  #model: string | undefined;

  constructor(deps: PromptCommandsDeps) {
    this.#deps = deps;
    this.#model = deps.model;
  }

  /** Reads the messages of a conversation, oldest first. */
  async messages(conversation: ShownConversation): Promise<readonly ShownMessage[]> {
    return (await this.#deps.readMessages?.(conversation.id)) ?? conversation.history();
  }

  /** The model that the user chose; `undefined` for the agent's own. */
  get model(): string | undefined {
    return this.#model;
  }

  /** Counts the tokens of a turn for `/tokens`. */
  addUsage({ prompt_tokens = 0, completion_tokens = 0 }: TurnUsage): void {
    this.#usage.prompt_tokens += prompt_tokens;
    this.#usage.completion_tokens += completion_tokens;
  }

  /** Runs a command. @throws the errors of the agent and of `listAgents` */
  async run(name: PromptCommand, argument: string, conversation: ShownConversation): Promise<void> {
    switch (name) {
      case 'help':
        return this.#note(helpText());
      case 'model':
        return this.#chooseModel(argument, conversation);
      case 'history':
        return this.#showHistory(argument, conversation);
      case 'save':
        return this.#save(argument, conversation);
      case 'tokens':
        return this.#note(tokensText(this.#usage));
      case 'agents':
        return this.#note(await this.#deps.listAgents());
      case 'reasoning':
        return this.#setReasoning(argument);
      case 'trace':
        return this.#setTrace(argument);
    }
  }

  #setReasoning(argument: string): void {
    const { reasoning } = this.#deps;
    if (argument === 'on' || argument === 'off') reasoning.isOn = argument === 'on';
    else if (argument !== '') this.#note('Use /reasoning on or /reasoning off.');
    this.#note(`The reasoning of the model is ${reasoning.isOn ? 'shown' : 'not shown'}.`);
  }

  #setTrace(argument: string): void {
    const { trace } = this.#deps;
    if (argument === 'on' || argument === 'off') {
      trace.isOn = argument === 'on';
      trace.isBrief = true;
    }
    if (!['', 'on', 'off'].includes(argument)) this.#note('Use /trace on or /trace off.');
    this.#note(`Envelope tracing is ${trace.isOn ? 'on' : 'off'}.`);
  }

  async #chooseModel(name: string, conversation: ShownConversation): Promise<void> {
    const description = await conversation.describe();
    if (name === '') return this.#note(modelText(description, this.#model));
    const { model, models = [] } = description;
    const known = [...new Set([...(model === undefined ? [] : [model]), ...models])];
    if (!known.includes(name)) {
      return this.#note(escapeLine(`The agent has no model ${name}. It has: ${known.join(', ') || 'one'}.`));
    }
    this.#model = name === model ? undefined : name;
    this.#note(this.#deps.style.dim(escapeLine(`${name} answers from now on.`)));
  }

  async #showHistory(argument: string, conversation: ShownConversation): Promise<void> {
    const isCount = /^[1-9]\d{0,8}$/.test(argument);
    if (argument !== '' && !isCount) return this.#note('Use /history or /history N, the number of messages.');
    const messages = await this.messages(conversation);
    this.#note(historyText(isCount ? messages.slice(-Number(argument)) : messages));
  }

  async #save(path: string, conversation: ShownConversation): Promise<void> {
    const { saveFile } = this.#deps;
    if (path === '' || !saveFile) return this.#note('Use /save FILE.');
    const text = historyText(await this.messages(conversation));
    try {
      await saveFile(path, `${text}\n`);
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === 'EEXIST';
      const reason = isTaken ? `${path} exists already. Choose another name.` : errorMessage(error);
      return this.#note(escapeLine(`Not saved: ${reason}`));
    }
    this.#note(escapeLine(`Saved as ${path}.`));
  }

  #note(text: string): void {
    this.#deps.input.note(`${text}\n`);
  }
}
