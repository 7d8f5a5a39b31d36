// The text of a prompt. Agents accept text: links and text files become text, and everything else is refused.
import { type ContentBlock, RequestError } from './sdk.ts';

const KINDS = { image: 'an image', audio: 'audio', resource: 'a binary file' } as const;

/** @throws {RequestError} invalid params, for a part that is not text */
export function textOfPrompt(blocks: readonly ContentBlock[]): string {
  return blocks.map((block, at) => textOfBlock(block, at)).join('');
}

function textOfBlock(block: ContentBlock, at: number): string {
  switch (block.type) {
    case 'text':
      return block.text;
    case 'resource_link':
      return `[${block.title ?? block.name}](${block.uri})`;
    case 'resource':
      if ('text' in block.resource) return fileText(block.resource.uri, block.resource.text);
  }
  const kind = KINDS[block.type as keyof typeof KINDS] ?? 'of an unknown type';
  const text = `prompt[${at}] is ${kind}, and the agent takes text only`;
  throw RequestError.invalidParams({ code: 'PARAMS_INVALID', path: ['prompt', at] }, text);
}

/** Puts a file into a fence that the text of the file cannot close. */
function fileText(uri: string, text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/^`{3,}/gm)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return `\n${uri}\n${fence}\n${text}${text.endsWith('\n') ? '' : '\n'}${fence}\n`;
}
