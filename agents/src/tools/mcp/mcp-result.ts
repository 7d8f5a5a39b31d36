// Converts the result of an MCP tool call to text for the model.
import { asJson } from '../tool-outcome.ts';

/** The used parts of a result. They come from a server, so their types are checked. */
export interface McpResult {
  readonly content?: unknown;
  readonly structuredContent?: unknown;
  readonly isError?: unknown;
}

interface Block {
  readonly type?: unknown;
  readonly text?: unknown;
  readonly data?: unknown;
  readonly mimeType?: unknown;
  readonly uri?: unknown;
  readonly name?: unknown;
  readonly resource?: { readonly text?: unknown; readonly blob?: unknown; readonly uri?: unknown };
}

/**
 * Returns the text of a result: the texts of its parts, separated by blank lines. Images, audio and binary resources are only named,
 * because a text model cannot use them. A result without text becomes its structured content as JSON.
 */
export function textOfResult({ content, structuredContent }: McpResult): string {
  const blocks = Array.isArray(content) ? content : [];
  const texts = blocks.map((block) => textOfBlock((block ?? {}) as Block)).filter((text) => text !== '');
  if (texts.length > 0) return texts.join('\n\n');
  return structuredContent === undefined ? '' : asJson(structuredContent).text;
}

const word = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 256) : 'unknown');

function textOfBlock({ type, text, data, mimeType, uri, name, resource }: Block): string {
  if (type === 'text') return typeof text === 'string' ? text : '';
  if (type === 'image' || type === 'audio') {
    const bytes = typeof data === 'string' ? Math.floor((data.length * 3) / 4) : 0;
    return `[${type} of ${bytes} bytes, ${word(mimeType)}, left out]`;
  }
  if (type === 'resource_link') return `[resource ${word(name)}: ${word(uri)}]`;
  if (type !== 'resource') return `[content of the type ${word(type)}, left out]`;
  if (typeof resource?.text === 'string') return resource.text;
  return `[binary resource ${word(resource?.uri)}, left out]`;
}
