import type { ComponentChildren, VNode } from 'preact';
import { describe, expect, test } from 'vitest';
import { MAX_MARKDOWN_CHARS, markdownElements, visibleText } from './markdown.tsx';

type Props = Record<string, unknown> & { children?: ComponentChildren };

/** Renders components without a DOM. Returns the names and properties of all elements, and the text. */
function render(children: ComponentChildren): { elements: [string, Props][]; text: string } {
  const elements: [string, Props][] = [];
  let text = '';
  const walk = (node: ComponentChildren): void => {
    if (Array.isArray(node)) for (const one of node) walk(one);
    else if (typeof node === 'string' || typeof node === 'number') text += node;
    else if (node && typeof node === 'object' && 'type' in node) {
      const { type, props } = node as VNode<Props>;
      if (typeof type === 'function') {
        // Components with state, such as the copy button, are not part of the text.
        if (type.name === 'CopyButton') return;
        walk((type as (props: Props) => ComponentChildren)(props));
        return;
      }
      elements.push([type as string, props]);
      walk(props.children);
    }
  };
  walk(children);
  return { elements, text };
}
const shown = (markdown: string) => render(markdownElements(markdown));
const names = (markdown: string) => shown(markdown).elements.map(([name]) => name);

test('the usual elements of Markdown', () => {
  expect(names('# Title\n\nA *b* **c** ~~d~~ `e`\n\n- one\n- two\n\n1. first\n\n> quote\n\n---')).toEqual([
    'p',
    'p',
    'em',
    'strong',
    'del',
    'code',
    'ul',
    'li',
    'li',
    'ol',
    'li',
    'blockquote',
    'p',
    'hr',
  ]);
  const table = shown('| a | b |\n|---|---|\n| 1 | 2 |');
  expect(table.elements.map(([name]) => name)).toEqual([
    'section',
    'table',
    'thead',
    'tr',
    'th',
    'th',
    'tbody',
    'tr',
    'td',
    'td',
  ]);
  const code = shown('```ts\nconst a = 1 < 2;\n```');
  expect(code.elements.map(([name]) => name)).toContain('pre');
  expect(code.text).toBe('const a = 1 < 2;');
});

test('line breaks and character references are those of the text', () => {
  expect(shown('a\nb &lt;c&gt; &amp; "d"').text).toBe('ab <c> & "d"');
  expect(names('a\nb')).toEqual(['p', 'br']);
});

describe('hostile text', () => {
  const ALLOWED = new Set(
    'p hr blockquote ul ol li input section table thead tbody tr th td div pre code strong em del br a span'.split(
      ' ',
    ),
  );

  test.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    'a <b onmouseover="alert(1)">b</b>',
    '<svg><animate onbegin=alert(1)>',
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '![x](https://evil.example/pixel.png)',
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](data:text/html;base64,PHNjcmlwdD4=)',
    '[x](vbscript:x)',
    '[x](//evil.example)',
    '[x](/fame/v1/session)',
    '[x]( javascript:alert(1))',
    '<https://a.example onclick=x>',
    '<javascript:alert(1)>',
    '[a]: javascript:alert(1)\n\n[a]',
    '`<img src=x>`',
    '| <img src=x> |\n|---|\n| <script> |',
    '&#106;avascript:alert(1)',
    '[x](https://user:pw@evil.example/?a=1&b="onclick=)',
  ])('%s creates no other element, and loads nothing', (text) => {
    const { elements } = shown(text);
    for (const [name, props] of elements) {
      expect(ALLOWED).toContain(name);
      const attributes = Object.keys(props).filter((key) => key !== 'children');
      expect(attributes.filter((key) => /^on|^src|style|dangerously/i.test(key))).toEqual([]);
      if (name !== 'a') continue;
      expect(props.href).toMatch(/^https?:\/\/[^/]/);
      expect(props).toMatchObject({ target: '_blank', rel: expect.stringContaining('noopener noreferrer') });
    }
    expect(elements.filter(([name]) => name === 'a' && !/https:/.test(text))).toEqual([]);
  });

  test('HTML is shown as text', () => {
    expect(shown('<script>alert(1)</script>').text).toBe('<script>alert(1)</script>');
    expect(shown('a <b>c</b>').text).toBe('a <b>c</b>');
  });

  test('controls are visible', () => {
    expect(visibleText('\u001b[31mred\u0007 \u202egnp.exe\u2066 \r\nx\ty')).toBe(
      '␛[31mred␇ \\u202egnp.exe\\u2066 \nx\ty',
    );
    expect(shown('\u202e**a**').text).toBe('\\u202ea');
    expect(shown('`\u202ea`').text).toBe('\\u202ea');
  });

  test.each([
    ['quotes', '>'.repeat(MAX_MARKDOWN_CHARS)],
    ['spaced quotes', '> '.repeat(MAX_MARKDOWN_CHARS / 2)],
    ['lists', '- '.repeat(MAX_MARKDOWN_CHARS / 2)],
    ['numbers', '1. '.repeat(MAX_MARKDOWN_CHARS / 3)],
    ['brackets', '['.repeat(MAX_MARKDOWN_CHARS)],
    ['images', '!['.repeat(MAX_MARKDOWN_CHARS / 2)],
    ['links', '[a]('.repeat(MAX_MARKDOWN_CHARS / 4)],
    ['stars', '*a '.repeat(MAX_MARKDOWN_CHARS / 3)],
    ['open stars', '*'.repeat(MAX_MARKDOWN_CHARS)],
    ['underscores', '_a'.repeat(MAX_MARKDOWN_CHARS / 2)],
    ['stars and underscores', '*_a'.repeat(MAX_MARKDOWN_CHARS / 3)],
    ['open underscores', '(_a'.repeat(MAX_MARKDOWN_CHARS / 3)],
    ['paragraphs of underscores', `${'(_a'.repeat(1_000)}\n\n`.repeat(8)],
    ['paragraphs of stars and underscores', `${'_a*'.repeat(500)}\n\n`.repeat(16)],
    ['backticks', Array.from({ length: 280 }, (_, n) => '`'.repeat(n)).join(' ')],
    ['tags', '<'.repeat(MAX_MARKDOWN_CHARS)],
    ['comments', '<!--'.repeat(MAX_MARKDOWN_CHARS / 4)],
    ['cells', `${'|'.repeat(2_000)}\n${'|-'.repeat(2_000)}|\n${'|a'.repeat(10_000)}`],
    ['fences', '```\n'.repeat(MAX_MARKDOWN_CHARS / 4)],
    ['one word', 'x'.repeat(MAX_MARKDOWN_CHARS)],
    ['addresses', 'a@b.'.repeat(MAX_MARKDOWN_CHARS / 4)],
  ])('%s are read in bounded time', (_name, text) => {
    // Processor time: other processes do not delay it.
    const start = process.cpuUsage();
    const { elements } = shown(text);
    expect(process.cpuUsage(start).user / 1_000).toBeLessThan(3_000);
    expect(elements.length).toBeLessThan(MAX_MARKDOWN_CHARS);
  });
});
