// Tools for models without native ones. The system message describes the tools, and the model writes a call as JSON between two tags
// in its text. This wrapper converts such text to tool calls of the API, and the history back to text. Its output is an ordinary
// stream of chunks.
import { newId } from '@fame-fabric/shared';
import type {
  ChatModel,
  FinishReason,
  ModelChunk,
  ModelMessage,
  ModelRequest,
  ToolSpec,
} from '../../model/model.ts';
import { describeTools } from '../tool-set.ts';
import { TagScanner } from './tag-scanner.ts';

export interface TaggedToolOptions {
  /** @default '<tool>' */
  open?: string;
  /** @default '</tool>' */
  close?: string;
  /** Describes the tools for the model. @default a list of them with the form of a call */
  manual?(tools: readonly ToolSpec[]): string;
}

/** Adds tools to `base` through tagged blocks in its text. A block that is not closed becomes a truncated call. */
export function taggedToolModel(base: ChatModel, options: TaggedToolOptions = {}): ChatModel {
  const open = options.open ?? '<tool>';
  const close = options.close ?? '</tool>';
  if (open === '' || close === '') throw new TypeError('The tags of a tool block must not be empty');
  const manual = options.manual ?? ((tools: readonly ToolSpec[]) => defaultManual(tools, open, close));
  return {
    name: base.name,
    provider: base.provider,
    stream(request, streamOptions) {
      const tools = request.tool_choice === 'none' ? [] : (request.tools ?? []);
      const { tools: _tools, tool_choice: choice, ...rest } = request;
      const messages = asTexts(request.messages, open, close);
      if (tools.length === 0) return base.stream({ ...rest, messages }, streamOptions);
      const instructions = [manual(tools), demand(choice)].filter((text) => text !== '').join('\n\n');
      const source = base.stream({ ...rest, messages: withSystem(messages, instructions) }, streamOptions);
      return { [Symbol.asyncIterator]: () => taggedIterator(source, open, close) };
    },
  };
}

function defaultManual(tools: readonly ToolSpec[], open: string, close: string): string {
  return [
    'You can use these tools:',
    describeTools(tools),
    'To use one, write its call as JSON between the tags, on lines of its own:',
    `${open}{"name": "tool_name", "arguments": {"key": "value"}}${close}`,
    'Write what the user should read outside of the tags. Several calls take several blocks. After your calls, stop: the results come in the next message.',
  ].join('\n');
}

function demand(choice: ModelRequest['tool_choice']): string {
  if (choice === 'required') return 'In your next message you must use a tool.';
  if (typeof choice === 'object')
    return `In your next message you must use the tool ${choice.function.name}.`;
  return '';
}

function withSystem(messages: readonly ModelMessage[], text: string): ModelMessage[] {
  const [first, ...others] = messages;
  if (first?.role !== 'system') return [{ role: 'system', content: text }, ...messages];
  return [{ role: 'system', content: `${first.content}\n\n${text}` }, ...others];
}

/** Converts the history for a model without tools: calls become blocks, the results of one reply become one message. */
function asTexts(messages: readonly ModelMessage[], open: string, close: string): ModelMessage[] {
  const texts: ModelMessage[] = [];
  let results: { id: string; content: string }[] = [];
  const flush = (): void => {
    if (results.length > 0) texts.push({ role: 'user', content: JSON.stringify({ tool_results: results }) });
    results = [];
  };
  for (const message of messages) {
    if (message.role === 'tool') {
      results.push({ id: message.tool_call_id, content: message.content });
      continue;
    }
    flush();
    if (message.role !== 'assistant' || !message.tool_calls?.length) {
      texts.push(message);
      continue;
    }
    const blocks = message.tool_calls.map(({ id, function: { name, arguments: args } }) => {
      // The arguments are the model's own text, unchanged even if they are not JSON.
      return `${open}{"id": ${JSON.stringify(id)}, "name": ${JSON.stringify(name)}, "arguments": ${args}}${close}`;
    });
    const content = [message.content ?? '', ...blocks].filter((part) => part !== '').join('\n');
    texts.push({ role: 'assistant', content });
  }
  flush();
  return texts;
}

/** Converts chunks of text into chunks of text and tool calls. Leaving the iterator leaves the source at once. */
function taggedIterator(
  source: AsyncIterable<ModelChunk>,
  open: string,
  close: string,
): AsyncIterator<ModelChunk> {
  const iterator = source[Symbol.asyncIterator]();
  const scanner = new TagScanner(open, close);
  const ready: ModelChunk[] = [];
  let calls = 0;
  let finished = false;
  const pushText = (content: string): void => {
    if (content !== '') ready.push(chunkOf({ content }));
  };
  const pushCall = (block: string, complete: boolean): void => {
    const { name, args } = readBlock(block, complete);
    const index = calls;
    calls += 1;
    ready.push(
      chunkOf({ tool_calls: [{ index, id: `call_${newId()}`, function: { name, arguments: args } }] }),
    );
  };
  const feed = (text: string): void => {
    for (const part of scanner.feed(text)) {
      if (part.kind === 'text') pushText(part.text);
      else pushCall(part.text, true);
    }
  };
  /** Pushes the rest. Returns true if a block was not closed. */
  const flush = (): boolean => {
    finished = true;
    const rest = scanner.end();
    if (rest.kind === 'text') pushText(rest.text);
    else pushCall(rest.text, false);
    return rest.kind === 'block';
  };
  const finish = (reason: FinishReason): void => {
    const cut = flush();
    const mapped = reason === 'stop' && calls > 0 ? 'tool_calls' : reason;
    // A block that was not closed means that the reply was cut off, regardless of the reason that the server gives.
    ready.push(chunkOf({}, cut ? 'length' : mapped));
  };
  const translate = (chunk: ModelChunk): void => {
    for (const choice of chunk.choices ?? []) {
      if ((choice.index ?? 0) !== 0 || finished) continue;
      if (choice.delta?.content) feed(choice.delta.content);
      if (choice.finish_reason) finish(choice.finish_reason);
    }
    if (chunk.usage || chunk.model) ready.push({ ...chunk, choices: [] });
  };
  return {
    async next() {
      for (;;) {
        const chunk = ready.shift();
        if (chunk) return { value: chunk, done: false };
        const step = await iterator.next();
        if (!step.done) translate(step.value);
        else if (!finished) flush();
        else return { value: undefined, done: true };
      }
    },
    async return() {
      await iterator.return?.();
      return { value: undefined, done: true };
    },
  };
}

type Delta = ModelChunk['choices'][number]['delta'];
const chunkOf = (delta: Delta, finish_reason: FinishReason | null = null): ModelChunk => ({
  choices: [{ index: 0, delta, finish_reason }],
});

/** Reads the name and the argument text of a block. Invalid text is passed on unchanged; the check of the arguments refuses it. */
function readBlock(block: string, complete: boolean): { name: string; args: string } {
  if (complete) {
    try {
      const call = JSON.parse(block) as { name?: unknown; arguments?: unknown } | null;
      if (typeof call?.name === 'string') {
        const { name, arguments: args = {} } = call;
        return { name, args: typeof args === 'string' ? args : JSON.stringify(args) };
      }
    } catch {
      // Not JSON: the text becomes the arguments, so that the model gets the position of the fault.
    }
  }
  const name = /"name"\s*:\s*"([^"\\]{1,64})"/.exec(block)?.[1] ?? '';
  if (complete) return { name, args: block };
  const from = /"arguments"\s*:\s*/.exec(block);
  const args = from ? block.slice(from.index + from[0].length) : '';
  // An empty text would count as a call without arguments.
  return { name, args: args.trim() === '' ? '{' : args };
}
