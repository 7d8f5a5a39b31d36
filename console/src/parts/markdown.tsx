// Text of unknown origin, such as an answer of a model, shown as Markdown. `marked` only reads the text: its tokens become elements of
// Preact, and no text is ever parsed as HTML. So there is nothing to sanitize.
//
// Invariants:
// I1 Only the elements below exist. HTML in the text is shown as text.
// I2 Nothing is loaded: an image becomes a link.
// I3 A link leads to an http or https URL, opens in a new tab, and passes on neither the page nor its address.
// I4 Control characters and bidirectional controls are visible, so they cannot reorder or hide text.
// I5 The number of elements is limited by the length of the text that is shown at once.
import { Lexer, type Token, type Tokens } from 'marked';
import type { ComponentChildren, JSX } from 'preact';
import { memo } from 'preact/compat';
import { useState } from 'preact/hooks';
import { CopyButton } from './code.tsx';
import { Button } from './form.tsx';
import './markdown.css';

/** Longest text that is shown as Markdown, in characters. The rest is plain. */
export const MAX_MARKDOWN_CHARS = 24_000;
/** Characters of plain text that a click on "Show more" adds. */
const MORE_CHARS = 100_000;
/** Deepest nesting of quotes, lists and emphasis. Deeper content is shown as its source. */
const MAX_DEPTH = 24;
/** Maximum number of runs of `_` and `*` between two blank lines. A long list of names with underscores has fewer. */
const MAX_DELIMITERS = 1_000;

/** Text of unknown origin as Markdown. */
export const Markdown = memo(({ text }: { text: string }) => {
  const head = text.slice(0, MAX_MARKDOWN_CHARS);
  const rest = text.slice(MAX_MARKDOWN_CHARS);
  return (
    <div class="markdown" dir="auto">
      {markdownElements(head)}
      {rest !== '' && <PlainText text={rest} shownChars={0} />}
    </div>
  );
});

/** Text of unknown origin with its line breaks. A long one is shown in parts. */
export function PlainText({ text, shownChars = 20_000 }: { text: string; shownChars?: number }) {
  const [limit, setLimit] = useState(shownChars);
  const missing = text.length - limit;
  return (
    <div class="plain-text" dir="auto">
      {visibleText(text.slice(0, limit))}
      {missing > 0 && (
        <Button onClick={() => setLimit(limit + MORE_CHARS)}>
          Show more ({missing.toLocaleString('en')} characters)
        </Button>
      )}
    </div>
  );
}

// The bidirectional controls of Unicode (UAX 9) and the control characters except tab and line feed.
const CONTROLS = /(?![\t\n])[\p{Cc}\p{Bidi_Control}]/gu;

/** Makes control characters visible: ESC becomes `␛`, U+202E becomes `\u202e`. */
export const visibleText = (text: string): string =>
  text.replaceAll('\r\n', '\n').replace(CONTROLS, (control) => {
    const code = control.charCodeAt(0);
    // U+2400 and the following are pictures of the control characters.
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : `\\u${code.toString(16).padStart(4, '0')}`;
  });

/** Returns the elements of a Markdown text, or the text itself if it cannot be parsed, for example because of thousands of quotes or stars. */
export function markdownElements(text: string): ComponentChildren {
  const shown = visibleText(text);
  if (isTooDeep(shown) || hasTooManyDelimiters(shown)) return shown;
  try {
    return blocks(new Lexer({ gfm: true, breaks: true }).lex(shown), 0);
  } catch {
    return shown;
  }
}

/** True for lines whose prefix nests deeper than any text of a person. The time of the lexer grows with the square of the depth. */
const isTooDeep = (text: string): boolean => /^(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)])){40}/m.test(text);

/** True if the lexer would take seconds: it compares delimiters in pairs, so its time grows with the square of their number. */
const hasTooManyDelimiters = (text: string): boolean =>
  text.split(/\n[ \t]*\n/).some((lines) => (lines.match(/_+|\*+/g)?.length ?? 0) > MAX_DELIMITERS);

const blocks = (tokens: readonly Token[], depth: number): ComponentChildren =>
  tokens.map((token) => block(token, depth));

function block(token: Token, depth: number): ComponentChildren {
  if (depth > MAX_DEPTH) return token.raw;
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'hr':
      return <hr />;
    case 'heading':
      return <p class={`markdown-heading level-${token.depth}`}>{inline(token.tokens, depth + 1)}</p>;
    case 'paragraph':
      return <p>{inline(token.tokens, depth + 1)}</p>;
    case 'blockquote':
      return <blockquote>{blocks(token.tokens ?? [], depth + 1)}</blockquote>;
    case 'code':
      return <CodeBlock text={token.text} language={token.lang} />;
    case 'list':
      return <List list={token as Tokens.List} depth={depth} />;
    case 'table':
      return <DataTable table={token as Tokens.Table} depth={depth} />;
    case 'text':
      return token.tokens ? <p>{inline(token.tokens, depth + 1)}</p> : decoded(token.raw);
    default:
      return <p>{token.raw}</p>; // HTML
  }
}

function List({ list, depth }: { list: Tokens.List; depth: number }) {
  const items = list.items.map((item, index) => (
    <li key={index}>
      {item.task && <input type="checkbox" checked={item.checked} disabled aria-label="Task" />}
      {item.tokens.map((token) =>
        token.type === 'text' && !item.loose
          ? inline(token.tokens ?? [token], depth + 1)
          : block(token, depth + 1),
      )}
    </li>
  ));
  return list.ordered ? <ol start={Number(list.start) || 1}>{items}</ol> : <ul>{items}</ul>;
}

const DataTable = ({ table, depth }: { table: Tokens.Table; depth: number }) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: wide tables scroll
  <section class="table-box" tabIndex={0} aria-label="Table">
    <table>
      <thead>
        <tr>
          {table.header.map(({ tokens }) => (
            <th scope="col">{inline(tokens, depth + 1)}</th>
          ))}
        </tr>
      </thead>
      <tbody>
        {table.rows.map((row) => (
          <tr>
            {row.map(({ tokens }) => (
              <td>{inline(tokens, depth + 1)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </section>
);

const CodeBlock = ({ text, language }: { text: string; language: string | undefined }) => (
  <div class="code">
    {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, also by the keyboard */}
    <section class="code-text" tabIndex={0} aria-label={language ? `Code in ${language}` : 'Code'} dir="ltr">
      <pre>
        <code>{text}</code>
      </pre>
    </section>
    <CopyButton text={text} label="Copy code" />
  </div>
);

const inline = (tokens: readonly Token[] | undefined, depth: number): ComponentChildren =>
  tokens?.map((token) => inlineElement(token, depth));

function inlineElement(token: Token, depth: number): ComponentChildren {
  if (depth > MAX_DEPTH) return token.raw;
  switch (token.type) {
    case 'strong':
      return <strong>{inline(token.tokens, depth + 1)}</strong>;
    case 'em':
      return <em>{inline(token.tokens, depth + 1)}</em>;
    case 'del':
      return <del>{inline(token.tokens, depth + 1)}</del>;
    case 'codespan':
      return <code>{token.text}</code>;
    case 'br':
      return <br />;
    case 'escape':
      return token.text;
    case 'link':
      return <OuterLink url={token.href}>{inline(token.tokens, depth + 1)}</OuterLink>;
    case 'image':
      return <OuterLink url={token.href}>{`[image: ${token.text || 'no description'}]`}</OuterLink>;
    case 'text':
      return token.tokens ? inline(token.tokens, depth + 1) : decoded(token.raw);
    default:
      return token.raw; // HTML
  }
}

/** A link of unknown origin. Without an http or https URL it is text. */
function OuterLink({ url, children }: { url: string; children: ComponentChildren }): JSX.Element {
  const target = webUrl(url);
  if (target === undefined) return <span>{children}</span>;
  return (
    <a href={target} title={target} target="_blank" rel="noopener noreferrer nofollow ugc">
      {children}
    </a>
  );
}

/** The normalized URL, or `undefined` if it is not one of http or https with a host. */
function webUrl(text: string): string | undefined {
  if (!/^https?:\/\//i.test(text)) return undefined;
  try {
    return new URL(text).href;
  } catch {
    return undefined;
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  '#39': "'",
  nbsp: ' ',
};

/** Text with its common character references decoded. The result is a text node, so it stays inert. */
const decoded = (text: string): string =>
  text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (_, name: string) => ENTITIES[name]!);
