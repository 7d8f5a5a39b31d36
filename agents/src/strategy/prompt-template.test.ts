import { describe, expect, it } from 'vitest';
import { PromptTemplate } from './prompt-template.ts';

describe('PromptTemplate', () => {
  const source = 'Dear {{name}}, your {{ item }} costs {{price}}. Bye, {{ name }}! {not} {{ a-b }} {{}}';

  it('AG-41 is filled in steps, and lists the open placeholders in order', () => {
    const template = new PromptTemplate(source);
    expect(template.unfilled).toEqual(['name', 'item', 'price']);
    const half = template.render({ item: 'book', unknown: 'ignored' });
    expect(half.unfilled).toEqual(['name', 'price']);
    expect(template.unfilled).toEqual(['name', 'item', 'price']);
    expect(half.toString()).toBe(
      'Dear {{ name }}, your book costs {{ price }}. Bye, {{ name }}! {not} {{ a-b }} {{}}',
    );
    const full = half.render({ name: 'Ann', price: 12 });
    expect(full.isFilled).toBe(true);
    expect(full.text).toBe('Dear Ann, your book costs 12. Bye, Ann! {not} {{ a-b }} {{}}');
  });

  it('AG-41 has no text while a placeholder is open', () => {
    const half = new PromptTemplate(source).render({ name: 'Ann' });
    expect(() => half.text).toThrow(
      expect.objectContaining({ code: 'PROMPT_UNFILLED', details: { unfilled: ['item', 'price'] } }),
    );
  });

  it('AG-41 never searches values for placeholders, in any step', () => {
    const filled = new PromptTemplate('{{ a }}{{ b }}').render({ a: '{{ b }}{{ c }}$&' });
    expect(filled.unfilled).toEqual(['b']);
    expect(filled.render({ b: '!', c: 'no' }).text).toBe('{{ b }}{{ c }}$&!');
  });

  it('AG-41 takes no value from the prototype', () => {
    expect(new PromptTemplate('{{ toString }}').render({}).unfilled).toEqual(['toString']);
  });
});
